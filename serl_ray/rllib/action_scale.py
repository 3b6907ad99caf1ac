"""The scale of a run's actions: from its demonstrations or the policy that it starts from, kept in its checkpoints."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from serl_ray.data.demo_scale import scale_of_demos
from serl_ray.options.sets import HybridOptions, TrainingOptions
from serl_ray.rllib.agreement import ACTION_SCALE
from serl_ray.rllib.checkpoint import RUN_FILE, checkpoint_of, read_run
from serl_ray.types import ActionScale

logger = logging.getLogger(__name__)


def scale_of_run(options: TrainingOptions, demos_are_shared: bool = False) -> ActionScale | None:
    """The scale by which the actions of a run were mapped to [-1, 1]; None if they were recorded so.

    Args:
        options: options of the run.
        demos_are_shared: whether the demonstrations came through Ray, so that this computer may lack their files.

    Raises:
        ValueError: the demonstrations and the policy to start from have different scales.
    """
    scale = _of_demonstrations(options, demos_are_shared)
    start = options.schedule.init_from if isinstance(options, HybridOptions) else None
    inherited = saved_scale(Path(start)) if start else None
    if scale and inherited and scale != inherited:
        raise ValueError(
            f"{start}: its actions were divided by {inherited.limits}, those of --demo_paths by {scale.limits}. Start "
            "from a policy that was trained on the same conversion."
        )
    if inherited and options.demos.demo_paths and not scale and not demos_are_shared:
        text = (
            "%s: its actions were divided by %s, and those of --demo_paths were not: an action of 1 means two motions."
        )
        logger.warning(text, start, inherited.limits)
    return scale or inherited


def _of_demonstrations(options: TrainingOptions, are_shared: bool) -> ActionScale | None:
    if not options.demos.demo_paths:
        return None
    try:
        return scale_of_demos(options.demos.demo_paths, options.demos.skip_bad)
    except FileNotFoundError:
        if not are_shared:
            raise
        logger.warning(
            "The files of the demonstrations are not here, so that a scale of their actions is not in checkpoints."
        )
        return None


def saved_scale(run: Path) -> ActionScale | None:
    """The scale in a run's newest checkpoint, or in a checkpoint; None if its actions were recorded in [-1, 1].

    Raises:
        FileNotFoundError: there is no checkpoint.
        ValueError: the scale is damaged.
    """
    path = checkpoint_of(run)
    try:
        return from_contract(read_run(path)["contract"])
    except ValueError as error:
        raise ValueError(f"{path / RUN_FILE}: {error}. Take another copy of the checkpoint.") from error


def from_contract(contract: Mapping[str, Any]) -> ActionScale | None:
    """The scale in the contract of a checkpoint; a ValueError where it is damaged."""
    described = contract.get(ACTION_SCALE)
    return None if described is None else ActionScale.from_fields(described)


def to_contract(scale: ActionScale | None) -> dict[str, Any]:
    """The part of a checkpoint's contract that holds a scale."""
    return {ACTION_SCALE: json.loads(scale.to_json()) if scale else None}


def explanation(scale: ActionScale) -> str:
    """Explanation of a scale for a user."""
    return (
        f"The actions of the demonstrations were scaled by a conversion ({'; '.join(scale.lines())}). An env whose "
        "action space has these limits is given actions in its own units; one of -1 to 1 multiplies them itself, "
        "before they go to the robot."
    )
