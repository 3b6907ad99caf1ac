"""The operators' view of a robot: its cameras, and what has led to what they show."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import gymnasium
import numpy as np

from serl_ray.data.observations import Observation
from serl_ray.teleop.events import StepActor

RENDERED = "render"
"""Name of the camera of an env without cameras, which renders itself."""
SHOWN_CHANNELS = (1, 3, 4)
"""Channels of an image that can be shown."""
SIDES = ("behind", "left", "front", "right")
"""Sides from which a robot can be seen."""


@dataclass(frozen=True, eq=False)
class View:
    """The operators' view of a step.

    A live view shows the robot after the newest step, or amid the one that is under way. It has the number of the
    newest step's view: what is pressed on it is about the newest transition that was executed, and it is as old as
    that.

    Attributes:
        frame: number of the frame, counted from 1; 0 of a live view before the first reset.
        images: images (H, W, 3) uint8 by camera.
        actor: who acted in the step that led to it; `nobody` after a reset.
        executed: executed action (A + G,); None after a reset.
        policy: action (A + G,) that the policy wanted; None after a reset.
        seconds: duration of the step; None after a reset.
        numbers: the policy's and the classifier's opinions of the step, by name, as far as they are known.
        is_live: whether the images are of after the step.
    """

    frame: int
    images: dict[str, np.ndarray]
    actor: StepActor = StepActor.NOBODY
    executed: np.ndarray | None = None
    policy: np.ndarray | None = None
    seconds: float | None = None
    numbers: Mapping[str, float] = field(default_factory=dict)
    is_live: bool = False


def shown_cameras(env: gymnasium.Env) -> list[str]:
    """The cameras of an env, also those that the policy does not see."""
    spaces: Any = env.unwrapped.observation_space
    cameras = [key for key, space in spaces.items() if can_be_shown(space)]
    return cameras or ([RENDERED] if env.render_mode == "rgb_array" else [])


def side_of_cameras(env: gymnasium.Env) -> str:
    """The side from which the cameras look at the robot, by `env.metadata["seen_from"]`.

    Raises:
        ValueError: the env names none of `SIDES`.
    """
    side = env.unwrapped.metadata.get("seen_from", SIDES[0])
    if side not in SIDES:
        raise ValueError(f"metadata['seen_from'] of the env is {side!r}; it is one of {', '.join(SIDES)}.")
    return str(side)


def shown_images(env: gymnasium.Env, observation: Observation, may_render: bool) -> dict[str, np.ndarray]:
    """The newest image (H, W, 3) of every camera of an env; one without cameras is rendered if it may be."""
    with suppress(AttributeError):
        observation = env.get_wrapper_attr("unselected")
    arrays = {key: np.asarray(value) for key, value in observation.items()}
    images = {key: value for key, value in arrays.items() if can_be_shown(value)}
    if not images and env.render_mode == "rgb_array" and may_render:
        images[RENDERED] = np.asarray(env.render())
    return images


def can_be_shown(array: Any) -> bool:
    """True for an image (H, W, C) uint8, or the space of one, in grey or in colours."""
    return bool(
        array.dtype == np.uint8 and len(array.shape) == 3 and array.shape[-1] in SHOWN_CHANNELS and 0 not in array.shape
    )
