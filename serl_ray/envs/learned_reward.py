"""A reward classifier in the place of an env's own reward."""

from __future__ import annotations

import logging
import operator
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import imageio.v3 as imageio
import numpy as np

from serl_ray.files.uris import local_copy
from serl_ray.networks.classifier import RewardClassifier

logger = logging.getLogger(__name__)

Observation = dict[str, np.ndarray]
Gate = Callable[[Observation], bool]

_GATE = re.compile(r"\s*(\w+)\s*\[\s*(\d+)\s*\]\s*([<>])\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*")
_COMPARISONS = {"<": operator.lt, ">": operator.gt}


class LearnedReward(gymnasium.Wrapper):
    """An env whose reward is what a classifier sees: 1 on the step that succeeds, which ends the episode, else 0.

    The env's own reward is not looked at. Where the env ends an episode by a success of its own that the classifier has not seen,
    this is a time-out, from which nothing is learned. `info` gains `success_probability`, and keeps the env's own `success`.

    Args:
        env: its observations hold the classifier's cameras.
        classifier: the folder of a `RewardClassifier`, or its URI.
        success_frames: k, so many frames in a row must be called a success.
        gate: what proprioception must say, too, such as `state[6] > 0.04`; None for nothing.
        positives_dir: folder for the frames of every step that was called a success, as EPISODE/CAMERA/STEP.png, for review;
            those that were none are for `train_classifier.py --hard_negatives`.
    """

    def __init__(
        self,
        env: gymnasium.Env,
        classifier: str,
        success_frames: int = 1,
        gate: str | None = None,
        positives_dir: str | None = None,
    ) -> None:
        super().__init__(env)
        if success_frames < 1:
            raise ValueError(f"success_frames is {success_frames}; it must be at least 1.")
        self.classifier = RewardClassifier.load(local_copy(classifier), device="cpu")
        spaces = env.observation_space.spaces
        if missing := [key for key in self.classifier.image_keys if key not in spaces]:
            raise ValueError(
                f"The classifier {classifier} looks at {', '.join(self.classifier.image_keys)}, but the env shows no "
                f"{', '.join(missing)}; it has {', '.join(spaces)}. Train one on cameras that the env has."
            )
        self._gate = parse_gate(gate, spaces) if gate else None
        self._success_frames = success_frames
        self._positives_dir = Path(positives_dir) if positives_dir else None
        self._episode, self._step, self._in_a_row = "", 0, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, dict[str, Any]]:
        """Begins an episode."""
        self._episode, self._step, self._in_a_row = f"{time.time_ns()}", 0, 0
        return self.env.reset(seed=seed, options=options)

    def step(self, action: np.ndarray) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Executes the action (A + G,) and looks at what has become of it."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._step += 1
        probability, is_positive = self.classifier.predict_success(observation)
        is_positive = is_positive and (self._gate is None or self._gate(observation))
        self._in_a_row = self._in_a_row + 1 if is_positive else 0
        if is_positive and self._positives_dir:
            self._keep(observation)
        succeeded = self._in_a_row >= self._success_frames
        failed = terminated and reward <= 0.0
        truncated = not succeeded and not failed and (truncated or terminated)
        return observation, float(succeeded), succeeded or failed, truncated, info | {"success_probability": probability}

    def _keep(self, observation: Observation) -> None:
        for key in self.classifier.image_keys:
            path = self._positives_dir / self._episode / key / f"{self._step:04d}.png"
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                imageio.imwrite(path, observation[key])
            except OSError as error:
                logger.warning("%s could not be written: %s. Make room; the run goes on.", path, error)


def parse_gate(text: str, spaces: dict[str, gymnasium.Space]) -> Gate:
    """What `KEY[INDEX] > NUMBER` or `KEY[INDEX] < NUMBER` says of an observation.

    Raises:
        ValueError: the text is no such condition, or the observations have no such number.
    """
    match = _GATE.fullmatch(text)
    if match is None:
        raise ValueError(f"The gate {text!r} is no condition such as 'state[6] > 0.04'.")
    key, index, comparison, number = match[1], int(match[2]), _COMPARISONS[match[3]], float(match[4])
    if key not in spaces or len(spaces[key].shape) != 1 or index >= spaces[key].shape[0]:
        vectors = ", ".join(f"{name}[0..{space.shape[0] - 1}]" for name, space in spaces.items() if len(space.shape) == 1)
        raise ValueError(f"The gate {text!r} asks for {key}[{index}]; the env's vectors are {vectors or 'none'}.")
    return lambda observation: bool(comparison(observation[key][index], number))
