"""What does not go together is said before Ray starts, from the first transition alone."""

import pickle

import numpy as np
import pytest

from serl_ray.data.demos import write_demos
from serl_ray.data.errors import DemoError
from serl_ray.data.formats.hil_serl import read_first_transition
from serl_ray.data.formats.lerobot.writer import LeRobotFormat, write_lerobot
from serl_ray.data.schema import Segment
from serl_ray.options.sets import HybridRun, OfflineRun
from serl_ray.runs.start_check import check_start
from serl_ray.runs.train import train

MODE = "single-arm-learned-gripper"
ONLINE = HybridRun.of(setup_mode=MODE, image_keys=("image",))


def demos(n=6, size=64, action_dim=7, camera="image", **vectors):
    """An episode of somebody's robot: a camera, and a state of 19 numbers where no other vectors are named."""
    rng, last = np.random.default_rng(0), np.arange(n) == n - 1
    observations = {
        key: rng.normal(size=(n + 1, size)).astype(np.float32) for key, size in (vectors or {"state": 19}).items()
    }
    observations[camera] = rng.integers(0, 256, (n + 1, size, size, 3), np.uint8)
    columns = {"rewards": last, "masks": ~last, "dones": last, "truncateds": last & False}
    actions = rng.uniform(-1, 1, (n, action_dim))
    return Segment(
        observations=observations, actions=actions, grasp_penalty=0 * last, intervened=0 * last, episode=0, **columns
    )


def pickled(folder, segment):
    write_demos(folder / "demos.pkl", [segment])
    return folder / "demos.pkl"


def without_time_axes(folder, segment):
    """As simpler recorders write them: no axis of one frame, rewards and flags of Python, no masks."""
    path = pickled(folder, segment)
    transitions = pickle.loads(path.read_bytes())
    for transition in transitions:
        for role in ("observations", "next_observations"):
            transition[role] = {key: array[0] for key, array in transition[role].items()}
        transition["rewards"], transition["dones"] = float(transition["rewards"]), bool(transition["dones"])
        del transition["masks"], transition["truncateds"]
    path.write_bytes(pickle.dumps(transitions, protocol=2))
    return path


def folder_of_pickles(folder, segment):
    return pickled(folder, segment).parent


def parquet(folder, segment):
    write_demos(folder / "demos", [segment])
    return folder / "demos"


def lerobot(folder, segment):
    write_lerobot(folder / "set", [segment], LeRobotFormat("v2.1"))
    return folder / "set"


@pytest.mark.parametrize("write", [pickled, without_time_axes, folder_of_pickles, parquet, lerobot])
def test_demonstrations_of_another_env_are_told_apart(write, tmp_path):
    options = ONLINE.replace(demo_paths=(str(write(tmp_path, demos(action_dim=6))),))
    with pytest.raises(DemoError) as caught:
        check_start(options)
    text = str(caught.value)
    for difference in (
        "actions of 6 numbers, the env's have 7",
        "images of image (64, 64, 3), the env's are (128, 128, 3)",
        "state vectors state 19, the env's are object_state 9, state 8",
        "--env_name your_package.module:Class",
        "serl train-offline",
    ):
        assert difference in text
    assert "\n" not in text


def test_cameras_and_vectors_that_are_not_there_are_named(tmp_path):
    path = str(pickled(tmp_path, demos(camera="side", tcp=6, gripper=1)))
    with pytest.raises(
        DemoError, match=r"for camera side there are side \(64, 64, 3\), the env's are none; state vectors tcp 6"
    ):
        check_start(ONLINE.replace(demo_paths=(path,), image_keys=("side",)))
    with pytest.raises(
        DemoError, match=r"for camera image there are side \(64, 64, 3\), the env's are image \(128, 128, 3\)"
    ):
        check_start(ONLINE.replace(demo_paths=(path,)))
    with pytest.raises(ValueError, match="demos.pkl: .*image not found; there are gripper, side, tcp"):
        check_start(OfflineRun.of(demo_paths=(path,), image_keys=("image",)))
    check_start(OfflineRun.of(demo_paths=(path,), image_keys=("side",), state_keys=("tcp", "gripper")))


def test_what_the_agent_does_not_see_may_be_anything(tmp_path):
    path = pickled(tmp_path, demos(size=128, state=8, object_state=9))
    transitions = pickle.loads(path.read_bytes())
    for transition in transitions:
        for role in ("observations", "next_observations"):
            transition[role] = {"depth": np.zeros((1, 4, 4), np.uint16), **transition[role]}
    path.write_bytes(pickle.dumps(transitions))
    path = str(path)
    check_start(ONLINE.replace(demo_paths=(path,)))
    with pytest.raises(DemoError, match="depth"):
        check_start(ONLINE.replace(demo_paths=(path,), image_keys=("depth",)))


def test_demonstrations_of_the_env_pass(tmp_path):
    path = str(pickled(tmp_path, demos(size=128, state=8, object_state=9)))
    check_start(ONLINE.replace(demo_paths=(path,)))
    check_start(ONLINE.replace(demo_paths=(path,), image_keys=()))
    check_start(OfflineRun.of(env_name="tabletop", demo_paths=(path,), image_keys=("image",)))
    small = str(parquet(tmp_path, demos(size=64, state=8)))
    check_start(ONLINE.replace(demo_paths=(small,), env_kwargs={"image_size": 64}))


MISSING = {
    "no path": ((), "demo_paths is empty"),
    "an empty path": (("",), "'': no demonstrations there"),
    "no file": (("{}/no.pkl",), "no.pkl: no demonstrations there"),
    "an empty folder": (("{}",), "no demonstrations there"),
    "an empty list": (("{}/none.pkl",), "none.pkl: expected a list of transitions, found an empty list"),
    "a file of nothing": (("{}/zero.pkl",), "zero.pkl: cut off, or not a pickle"),
}


@pytest.mark.parametrize("name", MISSING)
def test_missing_demonstrations_are_said_before_ray_starts(name, tmp_path):
    paths, says = MISSING[name]
    if "file" in name or "list" in name:
        (tmp_path / "none.pkl").write_bytes(pickle.dumps([]))
        (tmp_path / "zero.pkl").write_bytes(b"")
    options = OfflineRun.of(demo_paths=tuple(path.format(tmp_path) for path in paths))
    with pytest.raises((ValueError, FileNotFoundError), match=says):
        train(options.replace(save_dir=tmp_path / "run"))
    assert not (tmp_path / "run" / "logs").exists(), "nothing has begun"


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_no_more_of_a_pickle_is_read_than_its_first_transition(protocol, tmp_path):
    path = without_time_axes(tmp_path, demos())
    transitions = pickle.loads(path.read_bytes())
    data = pickle.dumps(transitions, protocol=protocol)
    path.write_bytes(data[: len(data) // 2])  # what follows is lost
    segment = read_first_transition(str(path))
    assert len(segment) == 1 and np.array_equal(segment.actions[0], transitions[0]["actions"])
    assert np.array_equal(segment.observations["image"][1], transitions[0]["next_observations"]["image"])


@pytest.mark.usefixtures("shared_ray")
def test_an_env_of_ones_own_is_compared_before_its_demonstrations_are_read(tmp_path):
    path = pickled(tmp_path, demos(action_dim=6))
    options = HybridRun.of(
        env_name="line_envs:LineEnv", setup_mode=MODE, demo_paths=(str(path),), hidden_dims=(8,), max_steps=4
    )
    check_start(options)  # which does not make it: it might be a robot
    says = (
        "of the env line_envs:LineEnv .*actions of 6 numbers, the env's have 7; "
        "state vectors state 19, the env's are state 4"
    )
    with pytest.raises(DemoError, match=says):
        train(options.replace(save_dir=tmp_path / "run"))
