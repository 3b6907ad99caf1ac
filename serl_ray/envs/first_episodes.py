"""Look at the first episodes of a run for what `check-env` would find."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Any

import gymnasium
import numpy as np

from serl_ray.data.episodes import StepResult
from serl_ray.data.observations import Observation
from serl_ray.envs.probe import Recording
from serl_ray.envs.remarks import episode_problems, episode_remarks
from serl_ray.types import ActionLayout

logger = logging.getLogger(__name__)

EPISODES = 3
"""Whole episodes that are looked at."""
MOST_STEPS = 1000
"""Steps after which the look ends, also where fewer episodes have ended."""
IMAGE_INTERVAL = 10
"""Steps between two images of a camera that are kept, beside those at resets and ends."""


class FirstEpisodes(gymnasium.Wrapper):
    """Wrapper that looks at the first episodes, and logs once what is odd about them; it changes nothing.

    It keeps the vectors of all steps and a few images until then, without copying them.

    Args:
        env: env inside a `SelectObservations`.
        layout: layout of the env's action.
        keys: observations that are used.
        is_dense: whether rewards at every step are meant.
        has_scale: whether the agent scales the state itself.
    """

    def __init__(
        self, env: gymnasium.Env, layout: ActionLayout, keys: Collection[str], is_dense: bool, has_scale: bool
    ) -> None:
        super().__init__(env)
        self._layout, self._keys, self._is_dense, self._has_scale = layout, keys, is_dense, has_scale
        self._recording: Recording | None = Recording()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Starts an episode."""
        result = self.env.reset(seed=seed, options=options)
        if (recording := self._recording) is not None:
            recording.starts.append(len(recording.copies))
            self._keep(recording)
            if len(recording.ends) >= EPISODES:
                self._report(recording)
        return result

    def step(self, action: np.ndarray) -> StepResult:
        """Executes the action (A + G,)."""
        result = self.env.step(action)
        if (recording := self._recording) is not None:
            _, reward, terminated, truncated, info = result
            self._keep(recording)
            recording.rewards.append(reward)
            recording.truncations.append(truncated)
            recording.infos.append(dict.fromkeys(info))
            recording.is_end.append(terminated or truncated)
            if terminated or truncated:
                recording.ends.append(len(recording.copies) - 1)
            if len(recording.rewards) >= MOST_STEPS:
                self._report(recording)
        return result

    def _keep(self, recording: Recording) -> None:
        """Adds the newest observation, and drops the images of an earlier one that need not be compared."""
        newest = self.env.get_wrapper_attr("unselected")
        recording.copies.append({key: newest[key] for key in self._keys if key in newest})
        earlier = len(recording.copies) - 3
        is_wanted = earlier in (*recording.starts, *recording.ends) or earlier + 1 in recording.ends
        if earlier > 0 and earlier % IMAGE_INTERVAL and not is_wanted:
            kept = {key: value for key, value in recording.copies[earlier].items() if np.ndim(value) == 1}
            recording.copies[earlier] = kept

    def _report(self, recording: Recording) -> None:
        self._recording = None
        remarks = episode_remarks(recording, self._layout, self._is_dense, self._has_scale)
        for text in [*episode_problems(recording), *remarks]:
            logger.warning("The first episodes of the env %s are odd. %s", type(self.unwrapped).__name__, text)
