"""Envs that misbehave in the ways that robots do."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np
import ray
from line_envs import LineEnv


class FaultyEnv(LineEnv):
    """A point on its way to a goal, which is hindered.

    Args:
        fault: what happens, by the name of a method.
        every: how many episodes there are to one in which it does, at its third step.
    """

    def __init__(self, fault: str, every: int = 2, action_dim: int = 7) -> None:
        super().__init__(action_dim)
        self._fault, self._every, self._episodes = getattr(self, fault), every, 0

    def reset(self, *, seed=None, options=None):
        self._episodes += 1
        _observation, info = super().reset(seed=seed)
        self.goal = self.point + 3.0  # more than two steps away
        return self._observe(), info

    def step(self, action):
        result = super().step(action)
        if self.steps == 3 and self._episodes % self._every == 0:
            return self._fault(*result)
        return result

    def error(self, *result):
        raise ConnectionError("the robot does not answer")

    def timeout(self, *result):
        time.sleep(3600)

    def not_finite(self, observation, *rest):
        return {"state": observation["state"] * np.nan}, *rest

    def reward_not_finite(self, observation, reward, *rest):
        return observation, float("inf"), *rest

    def wrong_shape(self, observation, *rest):
        return {"state": observation["state"][:3]}, *rest

    def no_observation(self, observation, *rest):
        return {}, *rest

    def no_flag(self, observation, reward, terminated, truncated, info):
        return observation, reward, None, truncated, info

    def no_info(self, *result):
        return *result[:4], None

    def wrong_intervention(self, observation, reward, terminated, truncated, info):
        return observation, reward, terminated, truncated, {"intervene_action": np.full(3, 0.5)}


class BlockedEnv(LineEnv):
    """Blocks for good, once, as a driver does that lets no signal through; `marker` says that it has."""

    def __init__(self, marker: str) -> None:
        super().__init__()
        self._marker = Path(marker)

    def step(self, action):
        if self.steps == 2 and not self._marker.exists():
            self._marker.touch()
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
            time.sleep(3600)
        return super().step(action)


class ReportingEnv(LineEnv):
    """Writes the first action that it is given into a file of its process."""

    def __init__(self, folder: str) -> None:
        super().__init__()
        self._folder = Path(folder)

    def step(self, action):
        file = self._folder / f"{os.getpid()}.npy"
        if not file.exists():
            np.save(file, np.concatenate([self._observe()["state"], action]))
        return super().step(action)


class SwitchedEnv(LineEnv):
    """Cannot be made once the file `off` is there."""

    def __init__(self, off: str) -> None:
        super().__init__()
        if Path(off).exists():
            raise ConnectionError("the robot is switched off")


class NodeEnv(LineEnv):
    """Leaves a file that names the node on which it was made."""

    def __init__(self, folder: str) -> None:
        super().__init__()
        (Path(folder) / f"node-{ray.get_runtime_context().get_node_id()}").touch()


class UnpluggedEnv(LineEnv):
    """Does not answer after some episodes, until a file is there."""

    def __init__(self, plug: str, action_dim: int = 7) -> None:
        super().__init__(action_dim)
        self._plug, self._episodes = Path(plug), 0

    def reset(self, *, seed=None, options=None):
        self._episodes += 1
        if self._episodes > 4 and not self._plug.exists():
            raise ConnectionError("the robot is not plugged in")
        return super().reset(seed=seed)
