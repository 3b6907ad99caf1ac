"""Look at the first episodes of a run for what `check-env` would find, and for what differs from demonstrations."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from typing import Any

import gymnasium
import numpy as np

from serl_ray.data.episodes import EnvFault, StepResult
from serl_ray.data.observations import Observation
from serl_ray.data.reference import DemoReference
from serl_ray.data.schema import EXECUTED
from serl_ray.envs.probe import Recording
from serl_ray.envs.remarks import episode_problems, episode_remarks
from serl_ray.envs.robot_checks.courses import course_checks
from serl_ray.envs.robot_checks.habits import demo_rate_check, gripper_checks, start_checks
from serl_ray.envs.robot_checks.result import RobotCheck
from serl_ray.envs.robot_checks.trials import RobotTrial
from serl_ray.envs.robot_checks.views import view_checks
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
        reference: demonstrations of the agent's observations, to be compared with; None without any.
        control_hz: steps per second that the env is kept to; None for no limit.

    Raises:
        EnvFault: a camera's red and blue are certainly swapped against the demonstrations, at each reset.
    """

    def __init__(
        self,
        env: gymnasium.Env,
        layout: ActionLayout,
        keys: Collection[str],
        is_dense: bool,
        has_scale: bool,
        reference: DemoReference | None = None,
        control_hz: float | None = None,
    ) -> None:
        super().__init__(env)
        self._reference, self._swapped, self._control_hz = reference, "", control_hz
        self._trials: list[RobotTrial] = []
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
            if self._reference:
                self._compare_start(self._reference, result[0])
            if len(recording.ends) >= EPISODES:
                self._report(recording)
        return result

    def step(self, action: np.ndarray) -> StepResult:
        """Executes the action (A + G,)."""
        result = self.env.step(action)
        if (recording := self._recording) is not None:
            observation, reward, terminated, truncated, info = result
            self._keep(recording)
            if self._trials:
                self._trials[-1].actions.append(np.array(info.get(EXECUTED, action)))
                self._trials[-1].observations.append(_vectors(observation))
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

    def _compare_start(self, reference: DemoReference, observation: Observation) -> None:
        """Compares the first reset with the demonstrations; EnvFault where nothing can be learned from both."""
        if not self._trials:
            found = [*view_checks(reference, [observation]), *start_checks(reference, [observation])]
            self._say([*found, *demo_rate_check(self._control_hz, reference.rate)])
            self._swapped = " ".join(check.text for check in found if check.is_certain)
        self._trials.append(RobotTrial("episode", observations=[_vectors(observation)]))
        if self._swapped:
            raise EnvFault("wrong_result", self._swapped)

    def _say(self, checks: Iterable[RobotCheck]) -> None:
        """Logs what differs from the demonstrations."""
        for check in checks:
            if check.verdict == "wrong":
                logger.warning("The env and the demonstrations differ. %s", check.text)

    def _report(self, recording: Recording) -> None:
        self._recording = None
        if self._reference:
            courses = [trial.course() for trial in self._trials if trial.actions]
            self._say(course_checks(self._reference, courses, self._layout))
            self._say(gripper_checks(self._reference, courses, self._layout))
        self._trials, self._reference = [], None
        remarks = episode_remarks(recording, self._layout, self._is_dense, self._has_scale)
        for text in [*episode_problems(recording), *remarks]:
            logger.warning("The first episodes of the env %s are odd. %s", type(self.unwrapped).__name__, text)


def _vectors(observation: Observation) -> dict[str, np.ndarray]:
    return {key: np.array(value) for key, value in observation.items() if np.ndim(value) == 1}
