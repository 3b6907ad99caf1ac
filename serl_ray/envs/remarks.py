"""Warnings about a recording of some steps as a whole: its resets, seeds, scales, interventions and expert."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from serl_ray.data.checks import small_scale
from serl_ray.data.observations import STATE
from serl_ray.envs.peers import PERSON
from serl_ray.envs.probe import Recording
from serl_ray.envs.steps import is_number
from serl_ray.types import GRIPPER_COMMANDS, ActionLayout

JUMP = 3.0
"""Ratio of each last step's move to the longest other one from which an env is suspected to have reset itself."""


def reset_problems(recording: Recording) -> Iterator[str]:
    """The problem of an env that resets itself and keeps the last observation to itself."""
    pairs = [
        (recording.copies[end], recording.copies[end + 1]) for end in recording.ends if end + 1 in recording.starts
    ]
    before = [recording.copies[end - 1] for end in recording.ends if end + 1 in recording.starts]
    if not pairs or not all(isinstance(observation, dict) for pair in pairs for observation in pair):
        return
    if all(_equal(last, first) for last, first in pairs) and not any(
        _equal(last, earlier) for (last, _), earlier in zip(pairs, before, strict=True)
    ):
        yield (
            "The observation of each episode's last step is the next episode's first one, so the env resets itself: "
            "return the last observation, or report it as info['final_obs']."
        )


def remarks(recording: Recording, layout: ActionLayout) -> list[str]:
    """All warnings about a recording of an env with this layout of its actions."""
    return [
        *_jumps(recording),
        *_seeds(recording),
        *_scales(recording),
        *_rewards(recording),
        *_actions(recording),
        *_expert(recording, layout),
    ]


def _jumps(recording: Recording) -> Iterator[str]:
    states = recording.sound_arrays().get(STATE)
    if states is None or len(states) != len(recording.copies) or not recording.ends or list(reset_problems(recording)):
        return
    lengths = np.linalg.norm(np.diff(states, axis=0), axis=1)  # of the move to each observation but the first
    moves = set(range(1, len(states))) - set(recording.starts)
    last = [lengths[end - 1] for end in recording.ends]
    others = [lengths[move - 1] for move in moves - set(recording.ends)]
    if others and min(last) > JUMP * max(others) > 0.0:
        yield (
            "The state jumps in the last step of every episode: if the env resets itself, return the last observation, "
            "or report it as info['final_obs']."
        )


def _seeds(recording: Recording) -> Iterator[str]:
    again = recording.starts[-1] if recording.starts else 0
    if recording.failure is None and again and not _equal(recording.copies[0], recording.copies[again]):
        yield (
            "Two resets with one seed give two observations: draw from self.np_random, after super().reset(seed=seed). "
            "On a robot, evaluations cannot be repeated exactly."
        )


def _scales(recording: Recording) -> Iterator[str]:
    for key, values in recording.sound_arrays().items():
        if values.ndim != 2 or not recording.rewards:
            continue
        if np.all(values == values[0]):
            yield f"`{key}` is the same in all steps: check that its sensor runs."
        elif oddity := small_scale(key, float(np.abs(values).max(initial=0.0))):
            yield oddity


def _rewards(recording: Recording) -> Iterator[str]:
    rewards = [float(reward) if is_number(reward) else 0.0 for reward in recording.rewards]
    goes_on = sum(reward == 1.0 and not is_end for reward, is_end in zip(rewards, recording.is_end, strict=True))
    if goes_on and set(rewards) <= {0.0, 1.0}:
        yield f"The reward is 1 and the episode goes on, in {goes_on} step(s): end it at success (terminated)."


def _actions(recording: Recording) -> Iterator[str]:
    if recording.changes_actions:
        yield "step() changes the action that it is given. It gets a copy of what is stored; scale a copy all the same."
    infos = [info for info in recording.infos if isinstance(info, dict)]
    if len(infos) > 1 and all(PERSON in info for info in infos):
        yield (
            f"There is an {PERSON!r} in every step: leave it out of steps in which nobody intervened, else nothing is "
            "explored."
        )


def _expert(recording: Recording, layout: ActionLayout) -> Iterator[str]:
    if recording.expert_error:
        yield f"expert_action() raised {recording.expert_error}"
    actions = recording.expert_actions
    if odd := [action for action in actions if action.shape != (layout.action_dim,) or action.dtype.kind not in "biuf"]:
        yield (
            f"expert_action() returns {odd[0].dtype} {odd[0].shape}: return the whole action, {layout.action_dim} "
            "numbers."
        )
    elif actions:
        together = np.stack(actions)
        if not np.abs(together).max() <= 1.0:
            yield (
                f"expert_action() reaches {np.abs(together).max():.3g}: return numbers in [-1, 1]; others are clipped."
            )
        grippers = together[:, list(layout.gripper_indices)]
        if odd_grippers := [value for value in grippers.flat if value not in GRIPPER_COMMANDS]:
            text = f"expert_action() gives the gripper {odd_grippers[0]:.3g}"
            yield f"{text}: give -1 (close), 0 (hold) or 1 (open), which are what the policy learns."


def _equal(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> bool:
    """True if two observations have the same vectors, or without vectors the same images."""
    if not isinstance(first, dict) or not isinstance(second, dict):
        return True
    vectors = [key for key, value in first.items() if np.ndim(value) == 1] or list(first)
    return all(key in second and np.array_equal(first[key], second[key]) for key in vectors)
