"""Checked conversion of observations to tensors with batch and time axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class ObservationSpec:
    """Parts of an observation that an agent reads.

    Attributes:
        image_keys: cameras of the agent.
        frame_stack: number T of stacked frames; with T = 1, images and state may have no time axis.
        state_dim: size D of `state`; 0 without a state.
    """

    image_keys: tuple[str, ...]
    frame_stack: int = 1
    state_dim: int = 0

    @classmethod
    def from_observation(
        cls, observation: Mapping[str, Any], image_keys: Sequence[str], frame_stack: int = 1
    ) -> ObservationSpec:
        """The spec of one observation or of a batch of observations."""
        state = observation.get("state")
        if state is None and not image_keys:
            raise ValueError(
                f"Without cameras an agent needs 'state' in its observations, which hold {sorted(observation)}."
            )
        return cls(tuple(image_keys), frame_stack, 0 if state is None else int(np.shape(state)[-1]))


def to_tensors(observations: Mapping[str, Any], spec: ObservationSpec, device: torch.device) -> tuple[Tensors, bool]:
    """Observations as tensors with batch and time axes.

    Args:
        observations: images (H, W, 3), (B, H, W, 3) or (B, T, H, W, 3) uint8 by camera, and `state` (D,), (B, D) or (B,
            T, D); numpy or torch. With frame_stack T > 1 a single observation is (T, H, W, 3) and (T, D). Stored maps
            of N crops, (N, h, w, C) float16, may take the place of an image.
        spec: parts of the observation to convert.
        device: device of the tensors.

    Returns:
        The images (B, T, H, W, 3) uint8 or maps (B, T, N, h, w, C) float16 and the state (B, T, D) float32 by key, and
        whether it was a single observation without a batch axis.

    Raises:
        ValueError: a key is missing, or an array has the wrong dtype or shape.
    """
    tensors: Tensors = {}
    singles: set[bool] = set()
    for key in spec.image_keys:
        images = _tensor(observations, key, device)
        is_stored = is_stored_map(images)
        if not is_stored and (images.dtype != torch.uint8 or images.ndim < 3 or images.shape[-1] != 3):
            raise ValueError(
                f"Camera {key!r} is {tuple(images.shape)} {_dtype_name(images)}; expected uint8 images (H, W, 3)."
            )
        tensors[key], is_single = _with_batch_and_time(key, images, 4 if is_stored else 3, spec.frame_stack)
        singles.add(is_single)
    if spec.state_dim:
        state = _tensor(observations, "state", device)
        if state.shape[-1:] != (spec.state_dim,):
            raise ValueError(
                f"'state' is {tuple(state.shape)}; this agent reads {spec.state_dim} numbers on the last axis."
            )
        tensors["state"], is_single = _with_batch_and_time("state", state, 1, spec.frame_stack)
        singles.add(is_single)
    if len(singles) > 1 or len({len(tensor) for tensor in tensors.values()}) > 1:
        shapes = {key: tuple(np.shape(observations[key])) for key in tensors}
        raise ValueError(f"The observation's arrays disagree on the batch axis: {shapes}.")
    return tensors, singles.pop()


def _tensor(observations: Mapping[str, Any], key: str, device: torch.device) -> torch.Tensor:
    if key not in observations:
        raise ValueError(f"The observation has no {key!r}; it holds {', '.join(sorted(observations))}.")
    value = as_tensor(observations[key])
    return value.to(device) if value.dtype in (torch.uint8, torch.float16) else float_tensor(value, device)


def float_tensor(values: Any, device: torch.device) -> torch.Tensor:
    """Numbers as float32 on a device; converted before the transfer, because mps has no float64."""
    return as_tensor(values).to(torch.float32).to(device)


def as_tensor(values: Any) -> torch.Tensor:
    """A tensor that shares the memory of its array; read-only arrays, such as those in Ray's object store, are
    copied."""
    if isinstance(values, np.ndarray) and not values.flags.writeable:
        values = values.copy()
    return torch.as_tensor(values)


def is_stored_map(camera: torch.Tensor) -> bool:
    """True for stored maps, False for images."""
    return camera.dtype == torch.float16


def _with_batch_and_time(key: str, x: torch.Tensor, item_ndim: int, frame_stack: int) -> tuple[torch.Tensor, bool]:
    if frame_stack == 1 and x.ndim <= item_ndim + 1:
        x = x.unsqueeze(-item_ndim - 1)
    is_single = x.ndim == item_ndim + 1
    x = x.unsqueeze(0) if is_single else x
    if x.ndim != item_ndim + 2 or x.shape[1] != frame_stack:
        raise ValueError(
            f"{key!r} has shape {tuple(x.shape)}; expected a batch axis and a time axis of {frame_stack} before "
            f"{item_ndim} other axes."
        )
    return x, is_single


def _dtype_name(x: torch.Tensor) -> str:
    return str(x.dtype).removeprefix("torch.")
