"""Small envs for tests: one that keeps the contract, with places to break it."""

from collections.abc import Callable

import gymnasium
import numpy as np

Observation = dict[str, np.ndarray]


class FakeEnv(gymnasium.Env):
    """Noise for observations; succeeds at a step in 15 and lasts at most 20 steps.

    Args:
        action_dim: Of the action space.
        observe: Changes every observation that is returned.
        outcome: Changes every (observation, reward, terminated, truncated, info) that is returned.
    """

    def __init__(
        self,
        action_dim: int = 7,
        observe: Callable[[Observation], Observation] = lambda observation: observation,
        outcome: Callable[[tuple], tuple] = lambda result: result,
    ) -> None:
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (action_dim,), np.float32)
        self.observation_space = gymnasium.spaces.Dict(
            {
                "front": gymnasium.spaces.Box(0, 255, (6, 8, 3), np.uint8),
                "wrist": gymnasium.spaces.Box(0, 255, (4, 4, 3), np.uint8),
                "state": gymnasium.spaces.Box(-1.0, 1.0, (3,), np.float32),
                "object_state": gymnasium.spaces.Box(-2.0, 2.0, (2,), np.float32),
            }
        )
        self._made = dict(self.observation_space.items())  # what it returns, whatever a test declares it to be
        self.observe, self.outcome = observe, outcome
        self.executed: list[np.ndarray] = []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self._observation(), {}

    def step(self, action):
        self.executed.append(np.array(action))
        self.steps += 1
        success = bool(self.np_random.random() < 1 / 15)
        return self.outcome((self._observation(), float(success), success, self.steps == 20, {"grasp_penalty": 0.0}))

    def expert_action(self):
        action = np.full(self.action_space.shape, 0.25, np.float32)
        action[[-1, len(action) // 2 - 1]] = 0.0  # the grippers of one arm and of two
        return action

    def _observation(self):
        return self.observe(
            {
                key: self.np_random.integers(0, 256, space.shape, np.uint8)
                if space.dtype == np.uint8
                else self.np_random.uniform(space.low, space.high).astype(np.float32)
                for key, space in self._made.items()
            }
        )


class Spaceless(gymnasium.Env):
    """Has forgotten what it takes and gives."""


class Spaced(FakeEnv):
    """A sound env with another action space, or other observation spaces."""

    def __init__(self, action_space: gymnasium.Space | None = None, **spaces: gymnasium.Space) -> None:
        super().__init__()
        self.action_space = action_space or self.action_space
        self.observation_space = gymnasium.spaces.Dict({**self.observation_space.spaces, **spaces})


def make_fake(action_dim: int = 7) -> FakeEnv:
    return FakeEnv(action_dim)


def not_an_env() -> str:
    return "no env"
