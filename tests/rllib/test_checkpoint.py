"""A run that is saved and goes on is the run that was never interrupted; a checkpoint that does not fit is refused by
name."""

from __future__ import annotations

import shutil
import subprocess
import sys
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from line_demos import record_line_demos
from pyarrow.fs import LocalFileSystem, copy_files
from ray import tune
from small_runs import SMALL
from stores import s3_store

from serl_ray.agents.checkpoint import load_agent
from serl_ray.data.demos import read_file
from serl_ray.data.errors import DemoError
from serl_ray.files.uris import locate
from serl_ray.rllib import SERL, SERLConfig
from serl_ray.rllib.checkpoint import read_run
from serl_ray.runs.folder import RunFolder

MODE = "single-arm-learned-gripper"


pytestmark = pytest.mark.usefixtures("shared_ray")


@pytest.fixture(scope="module")
def demos(tmp_path_factory):
    return record_line_demos(tmp_path_factory.mktemp("demos") / "demos.pkl")


def config(tmp_path, env="LineEnv", **options):
    options = (
        SMALL
        | {"max_steps": 500, "steps_per_iteration": 50, "evaluate_every": 0, "expert_interventions": 0.1}
        | options
    )
    config = SERLConfig().training(env_name=f"line_envs:{env}", setup_mode=MODE, **options)
    return config.debugging(seed=3).keep_replay(tmp_path / "replay")


@pytest.fixture
def build(build, tmp_path):
    numbers = count()

    def build_run(workers=0, envs=1, **options):
        configuration = config(tmp_path / str(next(numbers)), **options)
        return build(configuration.env_runners(num_env_runners=workers, num_envs_per_env_runner=envs))

    return build_run


def assert_equal(ours, theirs):
    ours, theirs = ours.state.tensors(), theirs.state.tensors()
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)


CAMERA = {
    "image_keys": ("front",),
    "env_kwargs": {"cameras": ("front",)},
    "augment_crops": 2,
    "steps_per_iteration": 24,
}
CAMERA |= {"batch_size": 4}


INTERRUPTED = {
    "one": {},
    "two envs": {"envs": 2},
    "full ring": {"capacity": 40},
    "three steps": {"n_step": 3, "success_demos": True, "expert_interventions": 0.0},
    "joined state": {"env": "SplitEnv", "state_keys": ("way", "point"), "demo_paths": ()},
    "maps": CAMERA,
    "maps in bfloat16": CAMERA | {"bfloat16": "on"},
    "stacked maps": CAMERA | {"frame_stack": 2},
    "frames": CAMERA | {"augment_crops": 0, "steps_per_iteration": 22},
    "trained trunk": CAMERA | {"frozen": False, "steps_per_iteration": 22},
}


SLOW = ("maps", "maps in bfloat16", "stacked maps", "frames", "trained trunk")


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(options, id=name, marks=[pytest.mark.slow] * (name in SLOW))
        for name, options in INTERRUPTED.items()
    ],
)
def test_the_update_after_a_restore_is_the_uninterrupted_one_to_the_last_bit(build, demos, tmp_path, options):
    options = {"demo_paths": () if "image_keys" in options else (demos,), **options}
    straight, restored = build(**options), build(**options)
    for _ in range(2):
        straight.train()
    straight.save_checkpoint(str(tmp_path))
    restored.train()  # something to be forgotten
    restored.load_checkpoint(str(tmp_path))
    for algorithm in (straight, restored):
        algorithm._learn(3)
    assert_equal(straight.agent, restored.agent)
    assert restored.learner_steps == straight.learner_steps > 3 and restored.env_steps == straight.env_steps
    assert restored.episodes.metrics() == straight.episodes.metrics()
    assert np.array_equal(
        restored.policy.layout.random(restored.policy.rng, 2), straight.policy.layout.random(straight.policy.rng, 2)
    )


@pytest.mark.slow
def test_with_workers_counters_and_data_agree(build, demos, tmp_path):
    algorithm, restored = build(workers=2, demo_paths=(demos,)), build(workers=1, demo_paths=(demos,))
    for _ in range(2):
        algorithm.train()
    algorithm.save_checkpoint(str(tmp_path))
    restored.load_checkpoint(str(tmp_path))
    for name in ("env_steps", "learner_steps", "interventions"):
        assert getattr(restored, name) == getattr(algorithm, name) > 0
    assert len(restored.online) == restored.env_steps and len(restored.demos) == len(algorithm.demos)
    restored.train()
    assert restored.env_steps == len(restored.online) > algorithm.env_steps


JOINED = {"env": "SplitEnv", "state_keys": ("way", "point")}


@pytest.mark.slow
def test_another_process_makes_the_same_next_update(build, demos, tmp_path):
    straight = build(demo_paths=(demos,))
    straight.train()
    straight.save_checkpoint(str(tmp_path / "checkpoint"))
    script = (
        "import sys; from pathlib import Path; from serl_ray.cluster.start import start_ray\n"
        "from serl_ray.agents.checkpoint import save_agent; from serl_ray.rllib import SERL\n"
        "start_ray(0)\n"
        "restored = SERL.from_checkpoint(sys.argv[1], env_name='line_envs:LineEnv', demo_paths=(sys.argv[2],))\n"
        "restored._learn(3); save_agent(restored.agent, Path(sys.argv[3])); restored.stop()\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "checkpoint"), demos, str(tmp_path / "agent")]
    subprocess.run(command, check=True)
    straight._learn(3)
    assert_equal(straight.agent, load_agent(tmp_path / "agent", straight.agent.device))


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, CAMERA | {"steps_per_iteration": 50}, JOINED], ids=["state", "maps", "joined"])
def test_a_run_s_experience_is_a_data_set_for_the_next(build, tmp_path, options):
    first = build(**options)
    first.train()
    first.save_checkpoint(str(tmp_path / "checkpoint"))
    experience = (str(tmp_path / "checkpoint" / "replay" / "online"),)
    second = build(demo_paths=experience, **options)
    assert len(second.demos) == 50
    ours, theirs = (
        buffer.sample(64, np.random.default_rng(0))["observations"] for buffer in (first.online, second.demos)
    )
    assert all(np.array_equal(ours[key], theirs[key]) for key in ours)
    shards = (tmp_path / "checkpoint" / "replay" / "demos").glob("*.parquet")
    assert sum(len(segment) for shard in shards for segment in read_file(str(shard))) == first.interventions


def test_a_state_that_was_joined_of_other_vectors_is_no_data_for_the_next_run(build, tmp_path):
    first = build(**JOINED)
    first.train()
    first.save_checkpoint(str(tmp_path))
    with pytest.raises(DemoError, match=r"state vectors way\+point 4, the env's are state 4"):
        build(env="SplitEnv", state_keys=("point", "way"), demo_paths=(str(tmp_path / "replay" / "online"),))


def test_a_run_does_not_begin_among_another_s_experience(build, tmp_path):
    build().train()
    with pytest.raises(FileExistsError, match="no checkpoint, but experience of another run"):
        RunFolder(tmp_path / "0", keep=1).check(resume=False)


def test_maps_of_another_trunk_are_refused(build, tmp_path, monkeypatch):
    first = build(**CAMERA)
    first.train()
    first.save_checkpoint(str(tmp_path))
    monkeypatch.setattr("serl_ray.rllib.buffers.fingerprint", lambda trunk: "another")
    with pytest.raises(DemoError, match="has maps of another trunk than 'random'"):
        build(demo_paths=(str(tmp_path / "replay" / "online"),), **CAMERA)


def test_rllib_saves_and_restores(build, tmp_path):
    algorithm = build()
    algorithm.train()
    algorithm.save(str(tmp_path / "saved"))
    restored = build()
    restored.restore(str(tmp_path / "saved"))
    with pytest.raises(ValueError, match="in the env 'line_envs:LineEnv'.*run its code"):
        SERL.from_checkpoint(tmp_path / "saved")
    described = SERL.from_checkpoint(tmp_path / "saved", env_name="line_envs:LineEnv")
    for other in (restored, described):
        assert_equal(algorithm.agent, other.agent)
        assert other.env_steps == len(other.online) == 50
    described.stop()
    for refused in (restored.save_to_path, restored.restore_from_path):
        with pytest.raises(ValueError, match="pickles"):
            refused(str(tmp_path / "saved"))
    (tmp_path / "saved" / "_dict_checkpoint.pkl").write_bytes(b"cos\nsystem\n(S'touch owned'\ntR.")
    with pytest.raises(ValueError, match="holds a pickle, which could run code"):
        restored.restore(str(tmp_path / "saved"))
    with pytest.raises(ValueError, match="holds a pickle, which could run code"):
        restored.restore(tune.Checkpoint((tmp_path / "saved").as_uri()))
    with s3_store("saved") as uri:
        for name in ("_dict_checkpoint.pkl", "run.json"):
            files, target = locate(uri(f"run/{name}"))
            copy_files(str(tmp_path / "saved" / name), target, LocalFileSystem(), files)
        files, folder = locate(uri("run"))
        with pytest.raises(ValueError, match="holds a pickle, which could run code"):
            restored.restore(tune.Checkpoint(folder, filesystem=files))


def test_a_checkpoint_names_no_folder_to_write_to_or_read(build, tmp_path):
    algorithm = build(episodes_dir=str(tmp_path / "episodes"))
    algorithm.save_checkpoint(str(tmp_path / "saved"))
    with pytest.raises(ValueError, match=r"names episodes_dir '.*', and may be anybody's.*episodes_dir=\.\.\."):
        SERL.from_checkpoint(tmp_path / "saved", env_name="line_envs:LineEnv")
    described = SERL.from_checkpoint(tmp_path / "saved", env_name="line_envs:LineEnv", episodes_dir=None)
    assert described.options.collecting.episodes_dir is None
    described.stop()


def test_experience_that_is_stored_after_a_checkpoint_comes_back_once(build, tmp_path):
    algorithm = build(training_starts=400)
    algorithm.save_checkpoint(str(tmp_path / "first"))
    algorithm.train()
    replay = Path(algorithm.config.replay_dir)
    again = build(training_starts=400)
    shutil.copytree(replay, again.config.replay_dir, dirs_exist_ok=True)
    again.load_checkpoint(str(tmp_path / "first"))
    assert again.recover() == 50 == len(again.online) == again.env_steps == again.policy.global_timestep
    assert again.interventions == algorithm.interventions == len(again.demos)
    assert again.recover() == 0
    ours, theirs = (buffer.sample(64, np.random.default_rng(0)) for buffer in (algorithm.online, again.online))
    assert np.array_equal(ours["actions"], theirs["actions"])


def test_other_demonstrations_or_another_trunk_are_refused(build, demos, tmp_path):
    algorithm = build(demo_paths=(demos,))
    algorithm.save_checkpoint(str(tmp_path / "state"))
    with pytest.raises(
        ValueError, match="began with .* of demonstrations, and has them; those of --demo_paths are now 0"
    ):
        build().load_checkpoint(str(tmp_path / "state"))
    algorithm = build(**CAMERA)
    algorithm.save_checkpoint(str(tmp_path / "maps"))
    other = build(**CAMERA)
    next(other.agent.networks.encoder.trunk.parameters()).data += 1.0
    with pytest.raises(ValueError, match="with another trunk than 'random': name the same --trunk"):
        other.load_checkpoint(str(tmp_path / "maps"))


@pytest.mark.slow
def test_tune_saves_and_restores(tmp_path):
    space = config(tmp_path, max_steps=1000).to_dict()
    stop = {"env/steps": 100}
    checkpoints = tune.CheckpointConfig(checkpoint_frequency=1, num_to_keep=1)
    run = tune.RunConfig(name="tuned", storage_path=str(tmp_path), stop=stop, checkpoint_config=checkpoints, verbose=0)
    first = tune.Tuner(SERL, param_space=space, run_config=run).fit()[0]
    assert first.metrics["env/steps"] == 100 and read_run(Path(first.checkpoint.path))["counters"]["env_steps"] == 100
    restored = SERLConfig.from_dict(space).build_algo()
    restored.restore(first.checkpoint.path)
    assert restored.env_steps == len(restored.online) == 100
    restored.stop()
