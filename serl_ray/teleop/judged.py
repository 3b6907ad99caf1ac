"""Episodes with what operators said of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from serl_ray.data.schema import Segment
from serl_ray.teleop.events import Ending, Verdict

TERMINAL = (Ending.SUCCESS, Ending.FAILURE)
"""Endings after which nothing of value follows; after all others the values bootstrap, as at a time-out."""


def judged(segment: Segment, verdict: Verdict | None) -> Segment | None:
    """The last segment of an episode with what operators said of it; None where nothing of it is left.

    A label belongs to the transition that led to the displayed frame: later ones are cut off. Where operators ended the
    episode without a label, it is truncated after its last transition.

    Args:
        segment: last segment of the episode.
        verdict: what operators said; None for an episode that ended by itself.
    """
    if verdict is None:
        return segment
    stop = min(verdict.steps - segment.first_step, len(segment))
    if verdict.ending is Ending.DISCARD or stop <= 0:
        return None
    kept = segment.slice(0, stop)
    is_terminal = verdict.ending in TERMINAL
    rewards = {Ending.SUCCESS: 1.0 - verdict.paid, Ending.FAILURE: 0.0, Ending.VETO: 0.0}
    success = {Ending.SUCCESS: True, Ending.FAILURE: False, Ending.VETO: False}.get(verdict.ending, kept.success)
    return replace(
        kept,
        rewards=_with_last(kept.rewards, rewards.get(verdict.ending, kept.rewards[-1])),
        masks=_with_last(kept.masks, 0.0 if is_terminal else 1.0),
        dones=_with_last(kept.dones, True),
        truncateds=_with_last(kept.truncateds, not is_terminal),
        success=success,
    )


def _with_last(values: np.ndarray, last: float) -> np.ndarray:
    return np.append(values[:-1], np.array(last, values.dtype))
