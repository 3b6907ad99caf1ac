"""The border between a run and an env that anybody may have written."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gymnasium
import numpy as np

from serl_ray.data.episodes import EnvFault, StepResult
from serl_ray.data.observations import Observation
from serl_ray.envs.peers import understood
from serl_ray.envs.steps import (
    Finding,
    Keys,
    Spaces,
    check_reset,
    check_signature,
    check_step,
    owned,
    owned_observation,
)

logger = logging.getLogger(__name__)


class Border(gymnasium.Wrapper):
    """Innermost wrapper of an env, which checks each reset and step once; all that passes it is a copy, in both
    directions.

    Deviations that it can put right are logged once. Other projects' names are read as the contract's
    (`peers.understood`).

    Args:
        env: env as its author has written it.
        keys: observations that are used; None for all.

    Raises:
        EnvFault: `reset` takes no seed or no options.
    """

    def __init__(self, env: gymnasium.Env, keys: Keys = None) -> None:
        super().__init__(env)
        self._spaces, self._keys, self._said = spaces_of(env), keys, set[str]()
        self._name = type(env.unwrapped).__name__
        with self._named():
            check_signature(env)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Starts an episode.

        Raises:
            EnvFault: the env returned something that is no first observation.
        """
        result = self.env.reset(seed=seed, options=options)
        with self._named():
            self._say(check_reset(result, self._spaces, self._keys))
        observation, info = result
        return owned_observation(observation, self._spaces), dict(info)

    def step(self, action: np.ndarray) -> StepResult:
        """Executes a copy of the action (A + G,).

        Raises:
            EnvFault: the env returned something that would spoil the experience.
        """
        result: Any = self.env.step(np.array(action))
        with self._named():
            self._say(check_step(action, result, self._spaces, self._keys))
        return owned(understood(result), self._spaces)

    def _say(self, findings: list[Finding]) -> None:
        for about, text, _ in findings:
            if about not in self._said:
                self._said.add(about)
                logger.warning("The env %s deviates from the contract: %s", self._name, text)

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Says which env is at fault."""
        try:
            yield
        except EnvFault as fault:
            raise EnvFault(fault.kind, f"The env {self._name} breaks the contract: {fault}") from None


def bordered(env: gymnasium.Env) -> gymnasium.Env:
    """The env, inside a border unless there is one in it."""
    inner = env
    while isinstance(inner, gymnasium.Wrapper) and not isinstance(inner, Border):
        inner = inner.env
    return env if isinstance(inner, Border) else Border(env)


def spaces_of(env: gymnasium.Env) -> Spaces:
    """The spaces of the observations by key; none if they are no dict."""
    space = env.observation_space
    return dict(space.items()) if isinstance(space, gymnasium.spaces.Dict) else {}
