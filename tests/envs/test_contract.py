import re
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from fake_envs import FakeEnv

from serl_ray.data.rewards import ReturnBound
from serl_ray.envs import check_env, inspect_env

MODE = "single-arm-learned-gripper"
Box, Dict = gymnasium.spaces.Box, gymnasium.spaces.Dict


@pytest.mark.parametrize(
    ("mode", "action_dim"),
    [
        ("single-arm-fixed-gripper", 6),
        ("single-arm-learned-gripper", 4),
        ("dual-arm-fixed-gripper", 12),
        ("dual-arm-learned-gripper", 14),
    ],
)
def test_a_sound_env_has_neither_problems_nor_warnings(mode, action_dim):
    report = inspect_env(FakeEnv(action_dim), mode)
    assert (report.problems, report.warnings) == ([], [])
    assert "Hz" in str(report) and "keeps the contract" in str(report)


def test_the_env_on_the_contract_page_keeps_the_contract():
    page = (Path(__file__).parents[2] / "docs" / "env_contract.md").read_text()
    namespace = {}
    exec(re.search(r"```python\n(.*?)```", page, re.DOTALL).group(1), namespace)
    report = inspect_env(namespace["ReachEnv"](), "single-arm-fixed-gripper", steps=120)
    assert (report.problems, report.warnings) == ([], [])


def with_array(key, change):
    return lambda observation: observation | {key: change(observation[key])}


def with_info(**items):
    return lambda result: (*result[:4], result[4] | items)


def with_result(index, value):
    return lambda result: (*result[:index], value, *result[index + 1 :])


OBSERVATION_FAULTS = {
    "channels first": (
        with_array("front", lambda image: np.moveaxis(image, -1, 0)),
        "`front` has shape (3, 6, 8).*np.moveaxis",
    ),
    "float image": (
        with_array("front", lambda image: (image / 255).astype(np.float32)),
        "`front` is a float32 image. Scale values",
    ),
    "grey image": (
        with_array("front", lambda image: image[..., :1]),
        "`front` has shape (6, 8, 1).*three colour channels.*np.repeat(image, 3, axis=-1)",
    ),
    "depth image": (
        with_array("front", lambda image: image[..., 0].astype(np.float32)),
        "`front` has shape (6, 8).*Scale depth.*np.clip(depth / farthest, 0, 1)",
    ),
    "transparency": (
        with_array("front", lambda image: image[..., [0, 1, 2, 0]]),
        "`front` has shape (6, 8, 4).*image[..., :3]",
    ),
    "time axis": (
        with_array("front", lambda image: image[None]),
        "`front` has shape (1, 6, 8, 3), with a first axis of length 1: leave it out",
    ),
    "wrong size": (
        with_array("front", lambda image: image[:5]),
        "`front` is uint8 (5, 8, 3), its space uint8 (6, 8, 3)",
    ),
    "float64": (
        with_array("state", lambda state: state.astype(np.float64)),
        "`state` is a float64 vector: make it float32",
    ),
    "a number": (with_array("state", lambda state: state[0]), "`state` is a float32: return a numpy array"),
    "a square": (
        with_array("state", lambda state: np.stack([state, state])),
        "`state` has shape (2, 3),.*Flatten a matrix",
    ),
    "NaN": (with_array("state", lambda state: state * np.float32(np.nan)), "`state` holds NaN"),
    "out of its space": (with_array("state", lambda state: state + np.float32(3)), "`state` leaves its space.*-1 to 1"),
    "a list": (with_array("state", lambda state: state.tolist()), "`state` is a list: return a numpy array"),
    "a dict inside": (
        lambda o: {"images": {"front": o["front"]}, "state": o["state"]},
        "`images` is a dict of front: flatten it",
    ),
    "key missing": (
        lambda o: {"state": o["state"]},
        "An observation has the keys state, its space front, object_state",
    ),
    "no dict": (lambda o: o["state"], "An observation is not a dict"),
    "black": (with_array("wrist", lambda image: image * 0), "Camera `wrist` is always black"),
}


@pytest.mark.parametrize("name", OBSERVATION_FAULTS)
def test_observation_problems(name):
    observe, message = OBSERVATION_FAULTS[name]
    assert_told(check_env(FakeEnv(observe=observe), MODE), message)


RESULT_FAULTS = {
    "old API": (lambda result: (*result[:3], result[4]), "step() returns a tuple of 4 (4 is the old gym API)"),
    "reward not finite": (with_result(1, np.inf), "The reward is inf"),
    "reward an array": (with_result(1, np.zeros(1)), "The reward is array([0.])"),
    "reward missing": (with_result(1, None), "The reward is None"),
    "done a number": (with_result(2, 0), "`terminated` is 0: return a bool"),
    "done forever": (with_result(3, True), "Every step ends an episode"),
    "info missing": (with_result(4, None), "info is a NoneType: return a dict"),
    "penalty a bonus": (with_info(grasp_penalty=0.02), "info['grasp_penalty'] is 0.02"),
    "part of an action": (
        with_info(intervene_action=np.zeros(6, np.float32)),
        "info['intervene_action'] is.*float32 (6,)",
    ),
    "action in metres": (with_info(intervene_action=np.full(7, 30, np.float32)), "info['intervene_action'] is"),
    "action not float32": (with_info(intervene_action=np.zeros(7)), "info['intervene_action'] is.*float64"),
}


@pytest.mark.parametrize("name", RESULT_FAULTS)
def test_result_problems(name):
    outcome, message = RESULT_FAULTS[name]
    assert_told(check_env(FakeEnv(outcome=outcome), MODE), message)


SPACE_FAULTS = {
    "nested": (
        {"images": Dict({"front": Box(0, 255, (4, 4, 3), np.uint8)})},
        "`images` is a dict of front: flatten it",
    ),
    "float64": ({"state": Box(-1, 1, (3,), np.float64)}, "`state` is a float64 vector"),
    "channels first": (
        {"front": Box(0, 255, (3, 4, 4), np.uint8)},
        "`front` has shape (3, 4, 4), not (H, W, 3) or (D,)",
    ),
    "discrete": ({"grip": gymnasium.spaces.Discrete(2)}, "`grip` is Discrete: make it a Box"),
}


@pytest.mark.parametrize("name", SPACE_FAULTS)
def test_observation_space_problems(name):
    spaces, message = SPACE_FAULTS[name]
    env = FakeEnv()
    env.observation_space = Dict(spaces)
    assert_told(check_env(env, MODE), message)


@pytest.mark.parametrize(
    ("space", "mode", "message"),
    [
        (Box(-0.1, 0.1, (7,), np.float32), MODE, "ranges from -0.1 to 0.1: make it -1 to 1"),
        (Box(-1, 1, (7,), np.float64), MODE, "The action space is float64"),
        (
            Box(-1, 1, (7,), np.float32),
            "dual-arm-learned-gripper",
            "An action of 7 numbers cannot be dual-arm-learned-gripper",
        ),
        (gymnasium.spaces.Discrete(3), MODE, "The action space is Discrete(3): make it Box"),
    ],
)
def test_action_space_problems(space, mode, message):
    env = FakeEnv()
    env.action_space = space
    assert_told(check_env(env, mode), message)


def test_arrays_written_into_after_they_were_returned():
    frame = np.zeros((6, 8, 3), np.uint8)

    def reuse(observation):
        frame[:] = observation["front"]
        return observation | {"front": frame}

    assert check_env(FakeEnv(observe=reuse), MODE) == [
        "The env changes the array `front` that it returned before: return a copy."
    ]


@pytest.mark.parametrize("reset", [lambda: ({}, {}), lambda seed=None, options=None: {}])
def test_reset_of_the_old_api(reset):
    env = FakeEnv()
    env.reset = reset
    [problem] = check_env(env, MODE)
    assert problem.startswith("reset()")


@pytest.mark.parametrize(
    ("env", "message"),
    [
        (
            FakeEnv(outcome=with_result(1, 0.02)),
            "rewards other than 0 and 1, from 0.02 to 0.02. .*--success_return.*--reward dense",
        ),
        (FakeEnv(outcome=lambda result: (*result[:4], {})), "GripperPenalty"),
        (
            FakeEnv(observe=with_array("front", lambda image: image * 0 + 9)),
            "Camera `front` always shows the same image",
        ),
        (FakeEnv(outcome=lambda result: (result[0], 0.0, result[3], False, result[4])), "terminates after 20 steps"),
    ],
)
def test_warnings_are_no_problems(env, message):
    report = inspect_env(env, MODE)
    assert report.problems == []
    assert_told(report.warnings, message)


@pytest.mark.parametrize(
    ("reward", "says"),
    [(10.0, "a reward of 10 is above max_return, 1"), (0.3, "rewards of up to 0.3 add up to a return of")],
)
def test_rewards_that_contradict_the_bound_are_a_problem(reward, says):
    env = FakeEnv(outcome=with_result(1, reward))
    assert_told(check_env(env, MODE), says)
    report = inspect_env(env, MODE, bound=ReturnBound(None, 0.95))
    assert report.problems == [] and not any("rewards" in warning for warning in report.warnings)


def test_images_that_are_squeezed_are_a_fact():
    report = inspect_env(FakeEnv(), MODE)
    assert_told(report.facts, "Images change their aspect ratio: front 6x8.*are resized to 128x128")


def test_vectors_in_forgotten_units():
    env = FakeEnv(observe=with_array("state", lambda state: state * 0 + 500))
    env.observation_space["state"] = Box(-1e4, 1e4, (3,), np.float32)
    report = inspect_env(env, MODE)
    assert report.problems == []
    assert_told(report.warnings, "`state` reaches 500")


def test_every_fault_of_a_broken_env_is_told_once():
    broken = FakeEnv(
        observe=with_array("state", lambda state: state.astype(np.float64)), outcome=with_info(grasp_penalty=1.0)
    )
    assert len(check_env(broken, MODE)) == 2


def assert_told(messages, pattern):
    """One of the messages has the pattern's pieces (between `.*`), in order."""
    pieces = pattern.split(".*")
    assert any(all(piece in message for piece in pieces) for message in messages), messages
