"""Rewards from reward classifiers instead of the env."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast, get_args

import gymnasium
import numpy as np

from serl_ray.data.observations import STATE, Observation
from serl_ray.data.positives import LABELLABLE_EPISODES, OperatorLabel, PositivesWriter
from serl_ray.data.rewards import stage_reward
from serl_ray.files.uris import local_copy
from serl_ray.networks.classifier import RewardClassifier

Gate = Callable[[Observation], bool]

_GATE = re.compile(r"\s*(\w+)\s*\[\s*(\d+)\s*\]\s*([<>])\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*")
_COMPARISONS = {"<": operator.lt, ">": operator.gt}


class LearnedReward(gymnasium.Wrapper):
    """Wrapper with a classifier's reward: 1 on the successful step, which ends the episode, else 0.

    The env's own reward is ignored. If the env ends an episode by a success that the classifier has not seen, the
    episode counts as a time-out. `info` gets `success_probability`, and keeps the env's own `success`.

    A task of several stages has a classifier for each. They are reached in order, at most one in a step, and each is
    paid once, by `data.rewards.stage_reward`; the last one is the success. `state` gets one number more at its end, the
    share of stages that are reached, without which the reward would not follow from what the policy sees; `info` gets
    `stage`, their number.

    Args:
        env: env whose observations hold the classifier's cameras.
        classifier: folder or URI of a `RewardClassifier`.
        success_frames: number of consecutive steps that must be classified as a success, in each stage.
        gate: condition on the state that a success must meet as well, such as `state[6] > 0.04`; None for no condition.
        positives_dir: folder for the images of every step classified as a success, and of those that operators label,
            for review; see `data.positives`.
        stages: folders or URIs of the classifiers of the stages before the last one, in their order.

    Attributes:
        classifiers: the classifiers of all stages.
        classifier: the one of the last stage.
    """

    def __init__(
        self,
        env: gymnasium.Env,
        classifier: str,
        success_frames: int = 1,
        gate: str | None = None,
        positives_dir: str | None = None,
        stages: Sequence[str] = (),
    ) -> None:
        super().__init__(env)
        if success_frames < 1:
            raise ValueError(f"success_frames is {success_frames}; it must be at least 1.")
        spaces = _dict_space(env.observation_space)
        self.classifiers = load_classifiers(classifier, stages)
        self.classifier = self.classifiers[-1]
        for name, network in zip((*stages, classifier), self.classifiers, strict=True):
            _check_cameras(name, network, spaces)
        if stages:
            self.observation_space = gymnasium.spaces.Dict(spaces | {STATE: _with_stage(spaces.get(STATE))})
        self._gate = parse_gate(gate, spaces) if gate else None
        self._success_frames = success_frames
        self._positives = PositivesWriter(Path(positives_dir), self.classifier.image_keys) if positives_dir else None
        self._step, self._in_a_row, self._reached = 0, 0, list[int]()  # the steps that reached a stage
        self._numbered: dict[int, list[int]] = {}

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Starts an episode."""
        self._step, self._in_a_row, self._reached = 0, 0, []
        if self._positives:
            self._positives.begin()
        observation, info = self.env.reset(seed=seed, options=options)
        return self._staged(observation), info

    def step(self, action: np.ndarray) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Executes the action (A + G,) and classifies the new observation."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._step += 1
        probability, earned = self._judge(observation)
        info = info | {"success_probability": probability}
        if len(self.classifiers) > 1:
            info["stage"] = len(self._reached)
        succeeded = earned > 0.0 and len(self._reached) == len(self.classifiers)
        failed = terminated and float(reward) <= 0.0
        truncated = not succeeded and not failed and (truncated or terminated)
        return self._staged(observation), earned, succeeded or failed, truncated, info

    def _judge(self, observation: Observation) -> tuple[float, float]:
        """The probability that the running stage is reached, and what is paid for it."""
        last = len(self.classifiers) - 1
        stage = min(len(self._reached), last)  # a recording may linger after the success
        probability, is_positive = self.classifiers[stage].predict_success(observation)
        if stage == last:
            is_positive = is_positive and (self._gate is None or self._gate(observation))
            if self._positives:
                self._positives.add(self._step, observation, float(probability), bool(is_positive))
        self._in_a_row = self._in_a_row + 1 if is_positive else 0
        if self._in_a_row < self._success_frames:
            return probability, 0.0
        if stage < last:
            self._in_a_row = 0
        if stage == len(self._reached):
            self._reached.append(self._step)
        return probability, stage_reward(stage + 1, len(self.classifiers))

    def _staged(self, observation: Observation) -> Observation:
        """The observation with the share of stages that are reached, where there are several."""
        if len(self.classifiers) == 1:
            return observation
        share = np.float32(len(self._reached) / len(self.classifiers))
        return {**observation, STATE: np.append(observation.get(STATE, ()), share).astype(np.float32)}

    def number_episode(self, episode: int) -> None:
        """The running episode has this number for operators; called by their wrapper."""
        oldest = episode - LABELLABLE_EPISODES
        self._numbered = {number: kept for number, kept in self._numbered.items() if number > oldest}
        self._numbered[episode] = self._reached
        if self._positives:
            self._positives.number(episode)

    def paid_before(self, episode: int, step: int) -> float:
        """The sum of the rewards of a numbered episode before one of its steps, which count from 1."""
        reached = [earlier for earlier in self._numbered.get(episode, ()) if earlier < step]
        return sum(stage_reward(number, len(self.classifiers)) for number, _ in enumerate(reached, 1))

    def label_episode(self, episode: int, step: int, label: str) -> None:
        """An operator has labelled a step of an episode; called by their wrapper once the label is final."""
        if self._positives and label in get_args(OperatorLabel):
            self._positives.label(episode, step, cast(OperatorLabel, label))


def load_classifiers(classifier: str, stages: Sequence[str]) -> list[RewardClassifier]:
    """The classifiers of all stages, the last one last.

    Raises:
        FileNotFoundError: there is none in a folder.
        ValueError: two stages have the same one.
    """
    folders = (*stages, classifier)
    for folder in stages:
        if folders.count(folder) > 1:
            raise ValueError(
                f"The classifier {folder} judges two stages of --stage_classifiers and --classifier, and both would be "
                "reached at once: train one for each stage."
            )
    return [RewardClassifier.load(local_copy(folder), device="cpu") for folder in folders]


def _with_stage(space: gymnasium.Space | None) -> gymnasium.spaces.Box:
    """The space of a state (D,), or of none, with one number more in [0, 1]."""
    low, high = (space.low, space.high) if isinstance(space, gymnasium.spaces.Box) else ((), ())
    return gymnasium.spaces.Box(np.append(low, 0.0).astype(np.float32), np.append(high, 1.0).astype(np.float32))


def _check_cameras(name: str, classifier: RewardClassifier, spaces: dict[str, gymnasium.Space]) -> None:
    if missing := [key for key in classifier.image_keys if key not in spaces]:
        raise ValueError(
            f"The classifier {name} needs the cameras {', '.join(classifier.image_keys)}, but the env has no "
            f"{', '.join(missing)}; it has {', '.join(spaces)}. Train one on cameras of the env."
        )


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
