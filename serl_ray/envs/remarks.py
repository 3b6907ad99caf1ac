"""Findings about a recording of some steps as a whole, by `check-env` or of a run's first episodes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from serl_ray.data.checks import large_scale, small_scale
from serl_ray.data.observations import STATE
from serl_ray.data.scales import uneven_scales
from serl_ray.data.schema import EXECUTED
from serl_ray.envs.probe import STILL_STEPS, Recording
from serl_ray.envs.steps import is_number
from serl_ray.types import GRIPPER_COMMANDS, ActionLayout

JUMP = 3.0
"""Ratio of each last step's move to the longest other one from which an env is suspected to have reset itself."""

RESTLESS = 0.5
"""Share of a usual step's change from which a robot under actions of zeros is said to move."""


def episode_problems(recording: Recording) -> list[str]:
    """The faults of whole episodes that break training."""
    return [*_one_step_episodes(recording), *_lost_ends(recording), *_black_cameras(recording)]


def episode_remarks(
    recording: Recording, layout: ActionLayout, is_dense: bool = False, has_scale: bool = False
) -> list[str]:
    """The oddities of whole episodes that training survives, with their effects.

    Args:
        recording: steps with whatever actions.
        layout: layout of the env's action.
        is_dense: whether rewards at every step are meant.
        has_scale: whether the agent scales the state itself.
    """
    return [
        *_still_cameras(recording),
        *_still_vectors(recording),
        *([] if has_scale else _scales(recording)),
        *_missing_penalties(recording, layout),
        *_time_limits(recording),
        *_jumps(recording),
        *([] if is_dense else _rewards(recording)),
        *_actions(recording),
    ]


def check_remarks(recording: Recording, layout: ActionLayout) -> list[str]:
    """The oddities that show where two resets had one seed, the scripted expert was asked, and zeros were sent."""
    return [*_seeds(recording), *_expert(recording, layout), *_restless(recording)]


def _restless(recording: Recording) -> Iterator[str]:
    """The remark on a robot that goes on moving under actions of zeros."""
    if len(recording.still) < STILL_STEPS or not all(isinstance(one, dict) for one in recording.still):
        return
    for key, values in recording.vectors().items():
        first, last = (recording.still[place].get(key) for place in (0, -1))
        if key != STATE or np.shape(first) != values[0].shape or np.shape(last) != values[0].shape:
            continue
        usual = float(np.median(np.linalg.norm(np.diff(values, axis=0), axis=1)))
        # Noise does not add up, and a robot that comes to rest does not go far.
        moved = float(np.linalg.norm(np.subtract(last, first, dtype=np.float64))) / (STILL_STEPS - 1)
        if moved > RESTLESS * usual > 0.0:
            yield (
                f"`{key}` changes by {moved:.3g} a step under actions of zeros, and by {usual:.3g} in a usual step: "
                "zeros must keep the robot still, because an operator's hold sends them."
            )


def _one_step_episodes(recording: Recording) -> Iterator[str]:
    if len(recording.rewards) > 1 and all(recording.is_end):
        yield "Every step ends an episode: set terminated for success and failure, truncated for the time limit."


def _lost_ends(recording: Recording) -> Iterator[str]:
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


def _black_cameras(recording: Recording) -> Iterator[str]:
    yield from (
        f"Camera `{key}` is always black: check that it is switched on, its lens is uncovered and the scene is lit."
        for key, images in recording.images().items()
        if not any(image.any() for image in images)
    )


def _still_cameras(recording: Recording) -> Iterator[str]:
    for key, images in recording.images().items():
        episodes = [episode for episode in recording.by_episode(key) if len(episode) > 1]
        if not any(image.any() for image in images) or not recording.rewards:
            continue
        if _is_still(images):
            yield f"Camera `{key}` always shows the same image: check that it sees the scene and that its driver runs."
        elif episodes and all(map(_is_still, episodes)):
            yield (
                f"Camera `{key}` shows the image of the reset in all steps of its episode: take a new one in every "
                "step."
            )


def _still_vectors(recording: Recording) -> Iterator[str]:
    for key, values in recording.vectors().items():
        if recording.rewards and np.all(values == values[0]):
            yield f"`{key}` is the same in all steps: check that its sensor runs."


def _scales(recording: Recording) -> Iterator[str]:
    for key, values in recording.vectors().items():
        sizes = np.abs(values)
        largest, usual = float(sizes.max(initial=0.0)), float(np.median(sizes, axis=0).max(initial=0.0))
        is_still = bool(recording.rewards) and bool(np.all(values == values[0]))
        if uneven := uneven_scales(key, values.min(axis=0), values.max(axis=0)):
            yield uneven
        else:
            found = large_scale(key, largest, usual), None if is_still else small_scale(key, largest)
            yield from filter(None, found)


def _missing_penalties(recording: Recording, layout: ActionLayout) -> Iterator[str]:
    infos = [info for info in recording.infos if isinstance(info, dict)]
    if layout.num_grippers and any("grasp_penalty" not in info for info in infos):
        yield "info lacks `grasp_penalty`, so the gripper may chatter: wrap the env in wrappers.GripperPenalty."


def _time_limits(recording: Recording) -> Iterator[str]:
    lengths = recording.episode_lengths()
    is_same = 1 < len(lengths) < len(recording.rewards) and len(set(lengths)) == 1
    is_rewarded = any(is_number(reward) and reward for reward in recording.rewards)
    if is_same and not is_rewarded and not any(recording.truncations):
        yield f"Every episode terminates after {lengths[0]} steps: report time limits as truncated, so they bootstrap."


def _jumps(recording: Recording) -> Iterator[str]:
    states = recording.vectors().get(STATE)
    if states is None or len(states) != len(recording.copies) or not recording.ends or list(_lost_ends(recording)):
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


def _rewards(recording: Recording) -> Iterator[str]:
    rewards = [float(reward) if is_number(reward) else 0.0 for reward in recording.rewards]
    goes_on = sum(reward == 1.0 and not is_end for reward, is_end in zip(rewards, recording.is_end, strict=True))
    if goes_on and set(rewards) <= {0.0, 1.0}:
        yield f"The reward is 1 and the episode goes on, in {goes_on} step(s): end it at success (terminated)."


def _actions(recording: Recording) -> Iterator[str]:
    if recording.changes_actions:
        yield "step() changes the action that it is given. It gets a copy of what is stored; scale a copy all the same."
    infos = [info for info in recording.infos if isinstance(info, dict)]
    if len(infos) > 1 and all(EXECUTED in info for info in infos):
        yield (
            f"There is an {EXECUTED!r} in every step: leave it out of steps in which nobody intervened, else nothing "
            "is explored."
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


def _is_still(images: Sequence[np.ndarray]) -> bool:
    return all(np.array_equal(image, images[0]) for image in images[1:])


def _equal(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> bool:
    """True if two observations have the same vectors, or without vectors the same images."""
    if not isinstance(first, dict) or not isinstance(second, dict):
        return True
    arrays = [key for key, value in first.items() if isinstance(value, np.ndarray)]
    vectors = [key for key in arrays if first[key].ndim == 1] or arrays
    return all(key in second and np.array_equal(first[key], second[key]) for key in vectors)
