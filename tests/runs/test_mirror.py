"""Runs at a URI: a store of S3's kind on this machine, and a folder."""

import json
import shutil

import numpy as np
import pytest
from pyarrow.fs import FileSelector, copy_files
from sealing import reseal
from small_runs import SMALL
from stores import s3_store

from serl_ray.agents.checkpoint import load_agent
from serl_ray.files.uris import locate
from serl_ray.rllib import SERLConfig
from serl_ray.rllib.checkpoint import checkpoint_of, checkpoints_of
from serl_ray.runs.folder import RunFolder
from serl_ray.runs.mirror import Mirror, local_run

pytestmark = pytest.mark.usefixtures("shared_ray")


@pytest.fixture(scope="module")
def store():
    with s3_store("runs") as uri:
        yield uri("a/run")


@pytest.fixture
def build(build):
    def build_run(folder):
        options = SMALL | {"steps_per_iteration": 30, "evaluate_every": 0}
        config = SERLConfig().training(env_name="line_envs:LineEnv", **options)
        return build(config.keep_replay(folder.path / "replay"))

    return build_run


@pytest.mark.parametrize("kind", [pytest.param("s3", marks=pytest.mark.slow), "file"])
def test_another_machine_goes_on_from_the_mirror(kind, store, build, tmp_path):
    uri = store if kind == "s3" else (tmp_path / "far away").as_uri()
    folder = RunFolder(tmp_path / "run", keep=2, mirror=Mirror(uri))
    folder.check(resume=False)
    algorithm = build(folder)
    for _ in range(4):
        algorithm.train()
        folder.save(algorithm)
    files, root = locate(uri)
    there = {info.base_name for info in files.get_file_info(FileSelector(f"{root}/checkpoints"))}
    assert there == {path.name for path in checkpoints_of(folder.path)}
    elsewhere = RunFolder(tmp_path / "elsewhere", keep=2, mirror=Mirror(uri))
    with pytest.raises(FileExistsError, match="holds a run already. Choose another --mirror"):
        elsewhere.check(resume=False)
    elsewhere.check(resume=True)
    restored = build(elsewhere)
    restored.load_checkpoint(str(checkpoint_of(elsewhere.path)))
    assert restored.env_steps == len(restored.online) == 120
    ours, theirs = algorithm.agent.state.tensors(), restored.agent.state.tensors()
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)
    restored.train()
    elsewhere.save(restored)
    with pytest.raises(
        FileExistsError, match=f"000000150, of another run or .*Remove {folder.path}, so that .* another --mirror"
    ):
        folder.check(resume=True)
    policy = load_agent(checkpoint_of(local_run(uri)) / "agent", "cpu").networks.state_dict()
    assert all(np.array_equal(policy[name], tensor) for name, tensor in restored.agent.networks.state_dict().items())


def test_a_shard_travels_once(build, tmp_path, monkeypatch):
    folder = RunFolder(tmp_path / "run", keep=2, mirror=Mirror((tmp_path / "far away").as_uri()))
    pushed = []

    def note_and_copy(source, target, *file_systems, **options):
        pushed.append(str(source).rsplit("/", 1)[-1])
        copy_files(source, target, *file_systems, **options)

    monkeypatch.setattr("serl_ray.runs.mirror.copy_files", note_and_copy)
    algorithm = build(folder)
    for _ in range(3):
        algorithm.train()
        folder.save(algorithm)
    shards = [name for name in pushed if name.endswith(".parquet")]
    assert len(shards) == len(set(shards)) == 3


def test_a_mirror_that_is_not_reached_does_not_stop_a_run(build, tmp_path, caplog):
    folder = RunFolder(tmp_path / "run", keep=2, mirror=Mirror((tmp_path / "far away").as_uri()))
    (tmp_path / "far away").write_text("no folder")
    algorithm = build(folder)
    algorithm.train()
    folder.save(algorithm)
    assert "could not be reached" in caplog.text and len(checkpoints_of(folder.path)) == 1
    (tmp_path / "far away").unlink()
    algorithm.train()
    folder.save(algorithm)
    shutil.rmtree(folder.path)
    folder.check(resume=True)
    assert checkpoint_of(folder.path).name == "step-000000060"


def test_only_what_was_kept_here_is_deleted_there(build, tmp_path):
    store = tmp_path / "far away"
    (store / "checkpoints" / "step-000009000").mkdir(parents=True)
    folder = RunFolder(tmp_path / "run", keep=1, mirror=Mirror(store.as_uri()))
    algorithm = build(folder)
    for _ in range(2):
        algorithm.train()
        folder.save(algorithm)
    assert {path.name for path in (store / "checkpoints").iterdir()} == {"step-000000060", "step-000009000"}


def test_a_mirror_with_another_run_s_experience_is_refused(build, tmp_path):
    ours, others = (
        RunFolder(tmp_path / name, keep=1, mirror=Mirror((tmp_path / f"{name}'s").as_uri())) for name in "ab"
    )
    for folder in (ours, others):
        algorithm = build(folder)
        algorithm.train()
        folder.save(algorithm)
    ours.check(resume=True)
    ours.mirror = others.mirror
    with pytest.raises(FileExistsError, match="step-000000030, of another run .*without what led there"):
        ours.check(resume=True)


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory):
    """A mirror with two checkpoints."""
    folder = tmp_path_factory.mktemp("mirrored")
    run = RunFolder(folder / "run", keep=2, mirror=Mirror((folder / "store").as_uri()))
    options = {
        "training_starts": 200,
        "max_steps": 500,
        "hidden_dims": (8, 8),
        "steps_per_iteration": 30,
        "evaluate_every": 0,
    }
    algorithm = (
        SERLConfig().training(env_name="line_envs:LineEnv", **options).keep_replay(run.path / "replay").build_algo()
    )
    for _ in range(2):
        algorithm.train()
        run.save(algorithm)
    algorithm.stop()
    return folder / "store"


def replace_log(state):
    state["replay"]["../../../evil"] = state["replay"].pop("online")


def absolute_log(state):
    state["replay"]["/evil"] = []


def changed(change):
    def edit(checkpoint):
        state = json.loads((checkpoint / "run.json").read_text())
        change(state)
        (checkpoint / "run.json").write_text(json.dumps(state))
        reseal(checkpoint)

    return edit


@pytest.mark.parametrize(
    "damage",
    [
        lambda checkpoint: (checkpoint / "run.json").write_text("{"),
        lambda checkpoint: (checkpoint / "run.json").unlink(),
        lambda checkpoint: (checkpoint / "agent" / "agent.json").unlink(),
        lambda checkpoint: max((checkpoint.parents[1] / "replay" / "online").iterdir()).unlink(),
        lambda checkpoint: checkpoint.rename(checkpoint.with_name("step-000000060.bak")),
        changed(replace_log),
        changed(absolute_log),
        changed(lambda state: state["replay"].update(online=[".."])),
    ],
    ids=[
        "half of run.json",
        "no run.json",
        "half of the agent",
        "no shard",
        "another name",
        "a path",
        "absolute",
        "a parent",
    ],
)
def test_the_newest_is_a_whole_checkpoint(mirrored, tmp_path, damage):
    store = tmp_path / "store"
    shutil.copytree(mirrored, store)
    assert Mirror(store.as_uri()).newest() == "step-000000060"
    damage(store / "checkpoints" / "step-000000060")
    run = RunFolder(tmp_path / "run", keep=2, mirror=Mirror(store.as_uri()))
    run.check(resume=True)
    assert [path.name for path in checkpoints_of(run.path)] == ["step-000000030"]
    assert {path.name for path in tmp_path.iterdir()} == {"store", "run"}


def test_a_copy_that_is_cut_off_is_made_again(mirrored, tmp_path, monkeypatch):
    run, store = mirrored.with_name("run"), tmp_path / "store"
    with monkeypatch.context() as patch:

        def cut(source, target, *file_systems):
            with open(target, "wb") as file:
                file.write(b"half of it")
            raise OSError("No space left on device")

        patch.setattr("serl_ray.runs.mirror.copy_files", cut)
        with pytest.raises(OSError, match="No space left"):
            Mirror(store.as_uri()).push(run)
    Mirror(store.as_uri()).push(run)
    [*shards] = (run / "replay" / "online").iterdir()
    assert all((store / "replay" / "online" / shard.name).read_bytes() == shard.read_bytes() for shard in shards)
    assert Mirror(store.as_uri()).newest() == "step-000000060"
