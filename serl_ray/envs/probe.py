"""Recording of everything that an env returns in some steps, which are taken as a run takes them."""

from __future__ import annotations

import copy
import time
import traceback
from dataclasses import dataclass, field
from typing import Any

import gymnasium
import numpy as np

from serl_ray.data.episodes import EnvFault
from serl_ray.envs.border import Border
from serl_ray.envs.guard import Guard
from serl_ray.envs.peers import FINAL_OBSERVATIONS, understood, used_names
from serl_ray.envs.steps import Finding, Keys, array_fault, reset_findings, step_findings

STEP_DEADLINE, RESET_DEADLINE = 30.0, 600.0
"""Time limits in seconds, which are a run's defaults."""
STILL_STEPS = 5
"""Steps with actions of zeros, in the last of which a robot should have come to rest."""


@dataclass
class Recording:
    """Results of an env: observations with those of resets, and one entry per step in the lists from rewards to is_end.

    Attributes:
        observations: the env's own objects; each episode's last one, also where the env has reset itself.
        copies: copies of them, made at once.
        starts: positions of the resets' observations.
        ends: positions of the last observations of episodes.
        findings: findings about all results.
        step_seconds: duration of each step.
        reset_seconds: duration of each reset.
        expert_actions: what `expert_action()` returned before each step, if the env has one.
        expert_error: exception of `expert_action()`.
        changes_actions: whether a step changed the action that it was given.
        peers_names: other projects' names in `info`.
        still: copies of the observations of some last steps, whose actions were zeros.
        failure: fault after which no step was taken.
    """

    observations: list[Any] = field(default_factory=list)
    copies: list[Any] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    rewards: list[Any] = field(default_factory=list)
    terminations: list[Any] = field(default_factory=list)
    truncations: list[Any] = field(default_factory=list)
    infos: list[Any] = field(default_factory=list)
    is_end: list[bool] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    step_seconds: list[float] = field(default_factory=list)
    reset_seconds: list[float] = field(default_factory=list)
    expert_actions: list[np.ndarray] = field(default_factory=list)
    expert_error: str | None = None
    changes_actions: bool = False
    peers_names: set[str] = field(default_factory=set)
    still: list[Any] = field(default_factory=list)
    failure: str | None = None

    def dicts(self) -> list[dict[str, Any]]:
        """The copied observations that are dicts."""
        return [observation for observation in self.copies if isinstance(observation, dict)]

    def by_key(self) -> dict[str, list[Any]]:
        """The copied observations, by key."""
        dicts = self.dicts()
        keys = sorted({key for observation in dicts for key in observation})
        return {key: [observation[key] for observation in dicts if key in observation] for key in keys}

    def vectors(self) -> dict[str, np.ndarray]:
        """The vectors without a fault by key, stacked (observations, D)."""
        return {key: np.stack(values) for key, values in self._sound().items() if values[0].ndim == 1}

    def images(self) -> dict[str, list[np.ndarray]]:
        """The images (H, W, 3) without a fault by camera."""
        return {key: values for key, values in self._sound().items() if values[0].ndim == 3}

    def _sound(self) -> dict[str, list[np.ndarray]]:
        sound = {key: values for key, values in self.by_key().items() if all(map(_is_sound, values))}
        return {key: values for key, values in sound.items() if len({value.shape for value in values}) == 1}

    def problems(self) -> list[str]:
        """The first finding of each kind about each part of a result."""
        first: dict[tuple[str, str | None], str] = {}
        for about, text, kind in self.findings:
            first.setdefault((about, kind), text)
        return list(first.values())

    def by_episode(self, key: str) -> list[list[Any]]:
        """The copied observations under a key, an episode a list, also of episodes without an end."""
        stops = [*self.starts[1:], len(self.copies)]
        parts = (self.copies[start:stop] for start, stop in zip(self.starts, stops, strict=True))
        return [[one[key] for one in part if isinstance(one, dict) and key in one] for part in parts]

    def episode_lengths(self) -> list[int]:
        """The lengths in steps of the finished episodes."""
        return [end - max(start for start in self.starts if start <= end) for end in self.ends]


def record(env: gymnasium.Env, keys: Keys, actions: np.ndarray, seed: int) -> Recording:
    """Results of an env for the actions (steps, A + G) and for two resets with `seed`, one at each end.

    The env is reset at the end of an episode. Some actions of zeros follow the others, as an operator's hold sends
    them. A fault of the env ends the recording, which keeps what came before.
    """
    probe = Probe(env, keys)
    guard = Guard(probe, STEP_DEADLINE, RESET_DEADLINE)
    recording = probe.recording
    try:
        guard.reset(seed=seed, options=None)
        for left, action in zip(reversed(range(len(actions))), actions, strict=True):
            probe.ask_expert()
            guard.step(action)
            if left and recording.is_end[-1]:
                guard.reset(seed=None, options=None)
        if not recording.is_end[-1]:
            probe.is_still = True
            _keep_still(guard, np.zeros_like(actions[0]))
        guard.reset(seed=seed, options=None)
    except EnvFault as fault:
        recording.failure = f"{fault}{_place(fault)}"
    return recording


def _keep_still(guard: Guard, zeros: np.ndarray) -> None:
    """Executes actions (A + G,) of zeros, up to the end of the episode."""
    for _ in range(STILL_STEPS):
        _, _, terminated, truncated, _ = guard.step(zeros)
        if _is_true(terminated) or _is_true(truncated):
            return


class Probe(Border):
    """A border that records everything and lets it pass, in place of raising the first fault.

    Attributes:
        recording: what it has recorded.
        is_still: whether the steps are those of actions of zeros, whose observations are kept apart.
    """

    def __init__(self, env: gymnasium.Env, keys: Keys) -> None:
        super().__init__(env, keys)
        self.recording = Recording()
        self.is_still = False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Starts an episode, and records its first observation."""
        begin = time.perf_counter()
        result: Any = self.env.reset(seed=seed, options=options)
        self.recording.reset_seconds.append(time.perf_counter() - begin)
        self._note(list(reset_findings(result, self._spaces, self._keys)), "reset")
        self.recording.starts.append(len(self.recording.copies))
        self._keep(result[0])
        return result

    def step(self, action: np.ndarray) -> Any:
        """Executes a copy of the action (A + G,), and records the result."""
        recording, given = self.recording, np.array(action)
        if self.is_still:
            result: Any = self.env.step(given)
            recording.still.append(copy.deepcopy(understood(result)[0]))
            return result
        begin = time.perf_counter()
        result = self.env.step(given)
        recording.step_seconds.append(time.perf_counter() - begin)
        recording.changes_actions |= not np.array_equal(given, action)
        self._note(list(step_findings(np.shape(action), result, self._spaces, self._keys)), "step")
        observation, reward, terminated, truncated, info = understood(result)
        self._keep(observation)
        recording.rewards.append(reward)
        recording.terminations.append(terminated)
        recording.truncations.append(truncated)
        recording.infos.append(info)
        is_end = _is_true(terminated) or _is_true(truncated)
        recording.is_end.append(is_end)
        if is_end:
            recording.ends.append(len(recording.copies) - 1)
        if isinstance(result[4], dict):
            names = set(used_names(result[4]))
            recording.peers_names |= names if is_end else names - set(FINAL_OBSERVATIONS)
        return result

    def ask_expert(self) -> None:
        """Records the action of the env's scripted expert, if it has one."""
        expert_action = getattr(self.unwrapped, "expert_action", None)
        if not callable(expert_action) or self.recording.expert_error:
            return
        try:
            self.recording.expert_actions.append(np.array(expert_action()))
        except Exception as error:
            self.recording.expert_error = f"{type(error).__name__}: {error}"

    def _note(self, findings: list[Finding], whole: str) -> None:
        """Keeps the findings; a result that is no result at all ends the recording."""
        for about, text, kind in findings:
            if about == whole and kind:
                raise EnvFault(kind, text)
        self.recording.findings += findings

    def _keep(self, observation: Any) -> None:
        self.recording.observations.append(observation)
        self.recording.copies.append(copy.deepcopy(observation))


def _is_sound(value: Any) -> bool:
    return (
        isinstance(value, np.ndarray)
        and array_fault(value.shape, value.dtype) is None
        and (value.dtype.kind != "f" or bool(np.isfinite(value).all()))
    )


def _is_true(flag: Any) -> bool:
    try:
        return bool(flag)
    except ValueError:  # an array of several
        return bool(np.any(flag))


def _place(fault: EnvFault) -> str:
    """The line of code that raised the fault's cause, if there is one."""
    if fault.__cause__ is None:
        return ""
    frame = traceback.extract_tb(fault.__cause__.__traceback__)[-1]
    return f" (line {frame.lineno} of {frame.filename})"
