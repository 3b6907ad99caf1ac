"""`check-env` reports what a run would meet, moves nothing that it must not, and keeps what it found."""

from __future__ import annotations

import threading

import gymnasium
import numpy as np
import pytest
from fake_envs import FakeEnv
from gymnasium.spaces import Box

from serl_ray.cli.main import main
from serl_ray.envs import inspect_env, optional_methods
from serl_ray.envs.probe import STILL_STEPS

MODE = "single-arm-learned-gripper"


class Counting(FakeEnv):
    """Counts its resets, and what it was asked to do."""

    def __init__(self, **kwargs) -> None:
        super().__init__(**kwargs)
        self.resets: list[dict] = []

    def reset(self, *, seed=None, options=None):
        self.resets.append({"seed": seed, "options": options})
        return super().reset(seed=seed)


def told(messages, text) -> bool:
    return any(text in message for message in messages)


def limits(low, high, dims):
    lows, highs = -np.ones(7, np.float32), np.ones(7, np.float32)
    lows[dims], highs[dims] = low, high
    return Box(lows, highs)


@pytest.mark.parametrize(
    ("space", "problem"),
    [
        (limits(-0.05, 0.05, range(7)), "The action space ranges from -0.05 to 0.05: make it -1 to 1"),
        (limits(0, 1, [6]), "ranges from 0 to 1 in dimension 6, a gripper: make it -1 (close) to 1 (open)"),
        (limits(-0.05, 0.05, [0, 1, 2]), "ranges from -0.05 to 0.05 in dimension 0, 1, 2: make it -1 to 1, and scale"),
        (limits(-np.inf, np.inf, [3]), "ranges from -inf to inf in dimension 3: make it -1 to 1"),
        (gymnasium.spaces.Discrete(3), "make it Box(-1, 1"),
        (Box(-1, 1, (7,), np.float64), "The action space is float64"),
    ],
)
def test_nothing_moves_where_the_action_space_is_wrong(space, problem):
    env = Counting()
    env.action_space = space
    report = inspect_env(env, MODE)
    assert told(report.problems, problem)
    assert (env.resets, env.executed) == ([], []) and told(report.facts, "neither reset nor moved")


def test_each_limit_is_named_with_its_dimensions():
    space = limits(0, 1, [6])
    space.low[:3], space.high[:3] = -0.1, 0.1
    env = FakeEnv()
    env.action_space = space
    assert len(inspect_env(env, MODE).problems) == 2


def test_the_env_is_reset_and_stepped_as_in_a_run():
    env = Counting(outcome=lambda result: (*result[:2], False, False, result[4]))
    inspect_env(env, MODE, steps=7, seed=3)
    assert env.resets == [{"seed": 3, "options": None}] * 2 and len(env.executed) == 7 + STILL_STEPS
    assert {float(action[6]) for action in env.executed} <= {-1.0, 0.0, 1.0}


def test_a_reset_follows_each_end_once():
    env = Counting(outcome=lambda result: (*result[:2], False, len(env.executed) % 5 == 0, result[4]))
    inspect_env(env, MODE, steps=10)
    assert [reset["seed"] for reset in env.resets] == [0, None, 0]


@pytest.mark.parametrize("call", ["step", "reset"])
def test_what_was_found_is_kept_when_the_env_raises(call, monkeypatch):
    env = FakeEnv(outcome=lambda result: (result[0], 0.02, *result[2:]))
    sound = getattr(env, call)

    def failing(*args, **kwargs):
        if len(env.executed) >= 4:
            raise ConnectionError("the robot does not answer")
        return sound(*args, **kwargs)

    setattr(env, call, failing)
    report = inspect_env(env, MODE, steps=8)
    [problem] = report.problems
    assert problem.startswith(f"The env's {call} raised ConnectionError: the robot does not answer (line ")
    assert __file__ in problem and told(report.warnings, "rewards other than 0 and 1") and told(report.facts, "Hz")


def test_the_chosen_cameras_are_looked_at():
    assert told(inspect_env(FakeEnv(), MODE, image_keys=["side"]).problems, "side not found; there are front")
    assert told(
        inspect_env(FakeEnv(), MODE, image_keys=["object_state"]).problems, "`object_state` is among the image_keys"
    )
    assert told(inspect_env(FakeEnv(), MODE, state_keys=["force"]).problems, "force not found")
    report = inspect_env(FakeEnv(), MODE, image_keys=["front"], state_keys=["state", "object_state"])
    assert (report.problems, report.warnings) == ([], [])
    report = inspect_env(FakeEnv(), MODE, image_keys=["front"], state_keys=["object_state"])
    assert not told(report.warnings, "There is no valid `state`")


def test_what_nobody_uses_is_a_warning():
    def observe(observation):
        return observation | {"depth": np.ones((6, 8, 1), np.float32)}

    env = FakeEnv(observe=observe)
    env.observation_space = gymnasium.spaces.Dict(
        {**env.observation_space.spaces, "depth": Box(0, 9, (6, 8, 1), np.float32)}
    )
    assert told(inspect_env(env, MODE).problems, "`depth` has shape (6, 8, 1)")
    report = inspect_env(env, MODE, image_keys=["front"])
    assert report.problems == [] and told(report.warnings, "`depth` has shape (6, 8, 1), not (H, W, 3)")


def test_the_command_looks_at_the_cameras_too(capsys):
    flags = ["check-env", "--env_name", "fake_envs:FakeEnv", "--image_keys"]
    assert main([*flags, "side"]) == 1
    assert "side not found" in capsys.readouterr().out
    assert main([*flags, "front", "wrist"]) == 0


def test_durations_are_measured():
    facts = "\n".join(inspect_env(FakeEnv(), MODE).facts)
    assert "Hz (a step takes" in facts and "ms in the median of 50" in facts and "A reset takes" in facts


class Unseeded(FakeEnv):
    def reset(self, **kwargs):
        return super().reset()


def test_a_seed_that_is_ignored():
    assert told(inspect_env(Unseeded(), MODE).warnings, "Two resets with one seed give two observations")


class Deterministic(FakeEnv):
    """Its state counts its steps; an episode has five."""

    def _observation(self):
        state = np.full(3, self.steps / 5, np.float32)
        return super()._observation() | {"state": state, "object_state": state[:2]}

    def step(self, action):
        observation, *_ = super().step(action)
        return observation, 0.0, False, self.steps == 5, {"grasp_penalty": 0.0}


class SelfResetting(Deterministic):
    def step(self, action):
        observation, reward, terminated, truncated, info = super().step(action)
        if truncated:
            observation, _ = self.reset()
        return observation, reward, terminated, truncated, info


class Reporting(Deterministic):
    def step(self, action):
        observation, reward, terminated, truncated, info = super().step(action)
        if truncated:
            info["final_obs"] = observation
            observation, _ = self.reset()
        return observation, reward, terminated, truncated, info


def test_an_env_that_resets_itself_is_compared():
    assert told(inspect_env(SelfResetting(), MODE).problems, "the next episode's first one, so the env resets itself")
    assert not told(inspect_env(Deterministic(), MODE).problems, "resets itself")
    report = inspect_env(Reporting(), MODE)
    assert report.problems == [] and told(report.facts, "final_obs")
    assert not told(report.warnings, "resets itself")


def test_a_state_that_jumps_at_every_end():
    class Jumping(Deterministic):
        def _observation(self):
            state = np.full(3, self.steps / 100 + 0.01 * self.episode % 0.03, np.float32)
            return super()._observation() | {"state": state}

        episode = 0

        def reset(self, **kwargs):
            self.episode += 1
            return super().reset(**kwargs)

        def step(self, action):
            observation, reward, terminated, truncated, info = super().step(action)
            if truncated:
                observation = observation | {"state": observation["state"] - 0.9}
            return observation, reward, terminated, truncated, info

    assert told(inspect_env(Jumping(), MODE).warnings, "The state jumps in the last step of every episode")


def scaled(factor):
    def observe(observation):
        return observation | {"state": (factor * observation["state"]).astype(np.float32)}

    return FakeEnv(observe=observe)


def test_a_state_that_is_too_small_or_stands_still():
    assert told(inspect_env(scaled(0.01), MODE).warnings, "`state` never exceeds 0.01: scale it to about 1")
    assert told(inspect_env(scaled(0.0), MODE).warnings, "`state` is the same in all steps")


def outcome(**changes):
    def change(result):
        named = dict(zip(("observation", "reward", "terminated", "truncated", "info"), result, strict=True))
        return tuple({**named, **changes}.values())

    return FakeEnv(outcome=change)


def test_a_success_that_does_not_end_the_episode():
    assert told(
        inspect_env(outcome(reward=1.0, terminated=False), MODE).warnings, "The reward is 1 and the episode goes on"
    )
    assert not told(inspect_env(FakeEnv(), MODE).warnings, "goes on")


def test_an_intervention_in_every_step():
    always = outcome(info={"grasp_penalty": 0.0, "intervene_action": np.zeros(7, np.float32)})
    assert told(inspect_env(always, MODE).warnings, "an 'intervene_action' in every step")


def test_names_that_are_understood_are_facts():
    keys = {"is_intervention": False, "teleop_action": np.zeros(7, np.float32), "succeed": False}
    assert told(inspect_env(outcome(info=keys), MODE).facts, "understood: is_intervention, succeed, teleop_action")


def test_an_action_that_is_changed_in_place():
    class Scaling(FakeEnv):
        def step(self, action):
            result = super().step(action)
            action *= 0.5
            return result

    report = inspect_env(Scaling(), MODE)
    assert report.problems == [] and told(report.warnings, "step() changes the action that it is given")


@pytest.mark.parametrize(
    ("action", "says"),
    [
        (np.zeros(6, np.float32), "expert_action() returns float32 (6,): return the whole action, 7 numbers"),
        (np.r_[np.zeros(6), 0.4], "expert_action() gives the gripper 0.4: give -1 (close), 0 (hold) or 1 (open)"),
        (np.r_[30.0, np.zeros(6)], "expert_action() reaches 30"),
        (np.r_[np.nan, np.zeros(6)], "expert_action() reaches nan"),
        (None, "expert_action() returns object ()"),
    ],
)
def test_a_wrong_expert(action, says):
    env = FakeEnv()
    env.expert_action = lambda: action
    report = inspect_env(env, MODE)
    assert report.problems == [] and told(report.warnings, says)


def test_an_expert_that_raises():
    env = FakeEnv()
    env.expert_action = lambda: 1 / 0
    assert told(inspect_env(env, MODE).warnings, "expert_action() raised ZeroDivisionError: division by zero")


class Point(FakeEnv):
    """A point that each action moves; one that drifts also moves under zeros, in the direction of the last action."""

    def __init__(self, drifts) -> None:
        super().__init__()
        self.drifts, self.position, self.heading = drifts, np.zeros(3), np.ones(3)
        self.observe = lambda observation: observation | {"state": self.position.astype(np.float32)}

    def step(self, action):
        self.heading = action[:3] if np.any(action) or not self.drifts else self.heading
        self.position = self.position + 0.1 * self.heading
        observation, _, _, truncated, info = super().step(action)
        return observation, 0.0, False, truncated, info


@pytest.mark.parametrize("drifts", [True, False])
def test_a_robot_that_moves_under_zeros_is_named(drifts):
    report = inspect_env(Point(drifts), MODE, steps=47)
    assert told(report.warnings, "zeros must keep the robot still") == drifts


def test_noise_is_no_motion():
    assert not told(inspect_env(FakeEnv(), MODE).warnings, "zeros")


def test_what_a_pause_calls_must_be_callable_without_arguments():
    env = FakeEnv()
    env.hold, env.stop = lambda seconds: None, lambda: None
    assert [text for text in inspect_env(env, MODE).warnings if "()" in text] == [
        "hold() needs arguments, and is called without any while operators hold the robot."
    ]


@pytest.mark.parametrize("fault", ["raises", "returns nothing"])
def test_a_fault_under_zeros_is_a_problem_and_no_crash(fault):
    class Tired(FakeEnv):
        def step(self, action):
            if not np.any(action):
                return 1 / 0 if fault == "raises" else None
            return super().step(action)

    problems = inspect_env(Tired(), MODE, steps=5).problems
    assert told(problems, "ZeroDivisionError" if fault == "raises" else "step")


def converting(convert):
    env = FakeEnv()
    env.twist_to_action = convert
    return env


DRAWN = np.random.default_rng(1)
WRONG_TWISTS = {
    "a motion of its own": (lambda arm, twist, frame: twist + 0.25, "makes 0.25 of a twist of zeros: return zeros"),
    "another number": (lambda arm, twist, frame: np.append(twist, 0), "it must be 6 finite numbers"),
    "NaN": (lambda arm, twist, frame: twist * np.nan, "it must be 6 finite numbers"),
    "an error": (lambda arm, twist: twist, "twist_to_action has failed (TypeError"),
    "chance": (lambda arm, twist, frame: twist * DRAWN.uniform(), "makes two actions of one twist"),
    "the tool alone": (
        lambda arm, twist, frame: {"tool": twist}[frame],
        "twist_to_action has failed (KeyError: 'base'",
    ),
}


@pytest.mark.parametrize("name", WRONG_TWISTS)
def test_what_a_device_drives_is_checked(name):
    convert, problem = WRONG_TWISTS[name]
    problems = inspect_env(converting(convert), MODE).problems
    assert len(problems) == 1 and problem in problems[0]


def test_a_sound_twist_to_action_is_no_problem():
    asked = set()

    def convert(arm, twist, frame):
        asked.add((arm, frame))
        twist *= 2.0  # it may use the array
        return twist[::-1]

    assert inspect_env(converting(convert), MODE).problems == []
    assert asked == {(0, "base"), (0, "tool")}


FRONT = np.zeros((6, 8, 3), np.uint8)
THREAD = threading.current_thread()


def bound_to_its_thread():
    if threading.current_thread() is not THREAD:
        raise RuntimeError("no context here")
    return {"front": FRONT}


LIVE = {
    "sound": (lambda: {"front": FRONT, "wrist": FRONT}, None),
    "an unknown camera": (lambda: {"back": FRONT}, "live_frames() shows back; the env's cameras are"),
    "floats": (lambda: {"front": FRONT / 255}, "it must be uint8 (H, W, 3)"),
    "nothing": (lambda: None, "live_frames() returned None"),
    "a thread": (bound_to_its_thread, "fails in another thread than that of step(): RuntimeError: no context here"),
    "never": (lambda: threading.Event().wait(60), "has not returned after"),
}


@pytest.mark.parametrize("name", LIVE)
def test_live_frames_are_asked_for_in_another_thread(name, monkeypatch):
    monkeypatch.setattr(optional_methods, "LONGEST_SECONDS", 0.5)
    env = FakeEnv()
    env.live_frames, problem = LIVE[name]
    problems = inspect_env(env, MODE).problems
    assert (problem is None and problems == []) or (len(problems) == 1 and problem in problems[0])
