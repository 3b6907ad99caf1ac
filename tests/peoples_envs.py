"""Envs as people have them: each has a habit of its own, and a diary of what really happened."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import gymnasium
import numpy as np


class Entry(NamedTuple):
    """A step that was made: observations as they were, and the action that was executed."""

    observation: dict[str, np.ndarray]
    action: np.ndarray
    reward: float
    terminated: bool
    truncated: bool
    next_observation: dict[str, np.ndarray]
    by_person: bool


class Contract(gymnasium.Env):
    """Keeps the contract. Success comes at a step in 15; the state begins with the episode's and the step's number."""

    horizon, state_dim, cameras, may_succeed = 20, 4, {}, True

    def __init__(self) -> None:
        images = {key: gymnasium.spaces.Box(0, 255, (*size, 3), np.uint8) for key, size in self.cameras.items()}
        vector = gymnasium.spaces.Box(-np.inf, np.inf, (self.state_dim,), np.float32)
        self.observation_space = gymnasium.spaces.Dict({"state": vector, **images})
        self.action_space = gymnasium.spaces.Box(-1, 1, (7,), np.float32)
        self.diary: list[Entry] = []
        self.episode = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.episode, self.steps = self.episode + 1, 0
        self.now = self.observe()
        return self.shown(self.now), {}

    def step(self, action):
        executed, by_person = self.executed(np.array(action))
        self.steps += 1
        success = self.may_succeed and bool(self.np_random.random() < 1 / 15)
        truncated = not success and self.steps >= self.horizon
        before, self.now = self.now, self.observe()
        self.diary.append(Entry(before, executed, self.reward(success), success, truncated, self.now, by_person))
        return self.shown(self.now), self.reward(success), success, truncated, {"grasp_penalty": 0.0}

    def observe(self) -> dict[str, np.ndarray]:
        """The true observation, in arrays of its own."""
        state = self.np_random.uniform(-1, 1, self.state_dim).astype(np.float32)
        state[:2] = self.episode / 100, self.steps / 100
        images = {key: self.np_random.integers(0, 256, (*size, 3), np.uint8) for key, size in self.cameras.items()}
        return {"state": state, **images}

    def shown(self, observation: dict[str, np.ndarray]) -> Any:
        """What the env returns for the true observation."""
        return {key: value.copy() for key, value in observation.items()}

    def executed(self, action: np.ndarray) -> tuple[np.ndarray, bool]:
        """The executed action, and whether a person chose it."""
        return action, False

    def reward(self, success: bool) -> float:
        return float(success)


class Registered(Contract):
    """Has a gymnasium id, which sets its time limit."""

    horizon = 10**9


gymnasium.register("PeoplesReach-v0", entry_point=Registered, max_episode_steps=12)


class AutoReset(Contract):
    """Resets itself as gymnasium 1's vector envs do, at the same step."""

    def step(self, action):
        observation, reward, terminated, truncated, info = super().step(action)
        if terminated or truncated:
            info["final_obs"] = observation
            observation, _ = self.reset()
        return observation, reward, terminated, truncated, info


class OldAutoReset(Contract):
    """Resets itself as gymnasium 0.29's AutoResetWrapper does; a person acts in each last step."""

    def step(self, action):
        *result, info = super().step(action)
        if result[2] or result[3]:
            info["intervene_action"] = np.full(7, 0.5, np.float32)
            self.diary[-1] = self.diary[-1]._replace(action=info["intervene_action"].copy(), by_person=True)
            final, (result[0], new_info) = result[0], self.reset()
            info = {**new_info, "final_observation": final, "final_info": info}
        return *result, info


class Dense(Contract):
    """Rewards every step, and never ends by success."""

    may_succeed = False

    def reward(self, success: bool) -> float:
        return -float(np.abs(self.now["state"][2:]).sum())


class TwentyHz(Contract):
    """Says at what time each step began."""

    def __init__(self) -> None:
        super().__init__()
        self.times: list[float] = []

    def step(self, action):
        self.times.append(time.monotonic())
        return super().step(action)


class Horizon300(Contract):
    horizon, may_succeed = 300, False


class ThreeCameras(Contract):
    cameras = {"front": (24, 32), "side": (16, 16), "wrist": (12, 20)}


class FortyNumbers(Contract):
    """A state of 40 float64 numbers in one buffer, an action that is scaled in place, and flags of numpy."""

    state_dim = 40

    def __init__(self) -> None:
        super().__init__()
        self.buffer = np.zeros(40)

    def shown(self, observation):
        self.buffer[:] = observation["state"]
        return {"state": self.buffer}

    def step(self, action):
        observation, reward, terminated, truncated, info = super().step(action)
        action *= 0.05
        return observation, np.float64(reward), np.bool_(terminated), np.bool_(truncated), info


class SlowReset(Contract):
    """Takes its time for a reset, and returns the observation in which the robot stands then."""

    def reset(self, **kwargs):
        time.sleep(0.01)
        return super().reset(**kwargs)


class LeRobotKeys(Contract):
    """A person who acts in some steps, under LeRobot's names; one buffer holds whatever was executed."""

    def __init__(self) -> None:
        super().__init__()
        self.device = np.zeros(7, np.float32)

    def executed(self, action):
        self.is_person = self.steps % 4 == 1
        self.device[:] = np.full(7, self.steps / 100) if self.is_person else action
        return self.device.copy(), self.is_person

    def step(self, action):
        *result, info = super().step(action)
        keys = {"is_intervention": self.is_person, "teleop_action": self.device, "succeed": result[2]}
        return *result, info | keys
