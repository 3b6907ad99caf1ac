"""Rewards from a reward classifier instead of the env."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast, get_args

import gymnasium
import numpy as np

from serl_ray.data.observations import Observation
from serl_ray.data.positives import OperatorLabel, PositivesWriter
from serl_ray.files.uris import local_copy
from serl_ray.networks.classifier import RewardClassifier

Gate = Callable[[Observation], bool]

_GATE = re.compile(r"\s*(\w+)\s*\[\s*(\d+)\s*\]\s*([<>])\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*")
_COMPARISONS = {"<": operator.lt, ">": operator.gt}


class LearnedReward(gymnasium.Wrapper):
    """Wrapper with a classifier's reward: 1 on the successful step, which ends the episode, else 0.

    The env's own reward is ignored. If the env ends an episode by a success that the classifier has not seen, the
    episode counts as a time-out. `info` gets `success_probability`, and keeps the env's own `success`.

    Args:
        env: env whose observations hold the classifier's cameras.
        classifier: folder or URI of a `RewardClassifier`.
        success_frames: number of consecutive steps that must be classified as a success.
        gate: condition on the state that a success must meet as well, such as `state[6] > 0.04`; None for no condition.
        positives_dir: folder for the images of every step classified as a success, and of those that operators label,
            for review; see `data.positives`.
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
        spaces = _dict_space(env.observation_space)
        if missing := [key for key in self.classifier.image_keys if key not in spaces]:
            raise ValueError(
                f"The classifier {classifier} needs the cameras {', '.join(self.classifier.image_keys)}, but the env "
                f"has no {', '.join(missing)}; it has {', '.join(spaces)}. Train one on cameras of the env."
            )
        self._gate = parse_gate(gate, spaces) if gate else None
        self._success_frames = success_frames
        self._positives = PositivesWriter(Path(positives_dir), self.classifier.image_keys) if positives_dir else None
        self._step, self._in_a_row = 0, 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Starts an episode."""
        self._step, self._in_a_row = 0, 0
        if self._positives:
            self._positives.begin()
        return self.env.reset(seed=seed, options=options)

    def step(self, action: np.ndarray) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Executes the action (A + G,) and classifies the new observation."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._step += 1
        probability, is_positive = self.classifier.predict_success(observation)
        is_positive = is_positive and (self._gate is None or self._gate(observation))
        self._in_a_row = self._in_a_row + 1 if is_positive else 0
        if self._positives:
            self._positives.add(self._step, observation, float(probability), bool(is_positive))
        succeeded = self._in_a_row >= self._success_frames
        failed = terminated and float(reward) <= 0.0
        truncated = not succeeded and not failed and (truncated or terminated)
        return (
            observation,
            float(succeeded),
            succeeded or failed,
            truncated,
            info | {"success_probability": probability},
        )

    def number_episode(self, episode: int) -> None:
        """The running episode has this number for operators; called by their wrapper."""
        if self._positives:
            self._positives.number(episode)

    def label_episode(self, episode: int, step: int, label: str) -> None:
        """An operator has labelled a step of an episode; called by their wrapper once the label is final."""
        if self._positives and label in get_args(OperatorLabel):
            self._positives.label(episode, step, cast(OperatorLabel, label))


def _dict_space(space: gymnasium.Space) -> dict[str, gymnasium.Space]:
    if not isinstance(space, gymnasium.spaces.Dict):
        raise ValueError(
            f"The observation space is {type(space).__name__}, not a Dict of arrays: see docs/env_contract.md."
        )
    return dict(space.items())


def parse_gate(text: str, spaces: dict[str, gymnasium.Space]) -> Gate:
    """The condition `KEY[INDEX] > NUMBER` or `KEY[INDEX] < NUMBER` as a function of an observation.

    Raises:
        ValueError: the text is not such a condition, or the observations have no such number.
    """
    match = _GATE.fullmatch(text)
    if match is None:
        raise ValueError(f"The gate {text!r} is not a condition such as 'state[6] > 0.04'.")
    key, index, comparison, number = match[1], int(match[2]), _COMPARISONS[match[3]], float(match[4])
    sizes = {
        name: space.shape[0] for name, space in spaces.items() if space.shape is not None and len(space.shape) == 1
    }
    if index >= sizes.get(key, 0):
        vectors = ", ".join(f"{name}[0..{size - 1}]" for name, size in sizes.items())
        raise ValueError(f"The gate {text!r} asks for {key}[{index}]; the env's vectors are {vectors or 'none'}.")
    return lambda observation: bool(comparison(observation[key][index], number))
