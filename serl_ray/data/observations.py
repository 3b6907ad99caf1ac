"""The agent's part of an observation: the chosen cameras, and one `state` vector."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

Observation = Mapping[str, np.ndarray]
Keep = Callable[[Collection[str]], Collection[str]]
"""Function from the keys of recorded observations to those that are read; a ValueError where one is missing."""

STATE = "state"
OBJECT_STATE = "object_state"
CHANNELS = (1, 3, 4)
"""Numbers of channels of an image in a file: grey, RGB, RGB with transparency."""


def stack_observations(observations: Sequence[Observation]) -> dict[str, np.ndarray]:
    """Several observations with the same keys as one observation, stacked on a new first axis."""
    return {key: np.stack([observation[key] for observation in observations]) for key in observations[0]}


def default_state_keys(available_keys: Collection[str], image_keys: Sequence[str]) -> tuple[str, ...]:
    """The default vectors of the state: proprioception and, without cameras, the privileged object poses."""
    names = (STATE,) if image_keys else (STATE, OBJECT_STATE)
    return tuple(name for name in names if name in available_keys)


def joined_name(state_keys: Sequence[str] | None) -> str:
    """Stored name of the vector joined from these keys; `state` for None, the default."""
    return STATE if state_keys is None else "+".join(state_keys)


def check_selection(available_keys: Collection[str], image_keys: Sequence[str], state_keys: Sequence[str]) -> None:
    """Raises ValueError for an empty selection or a missing key."""
    if not image_keys and not state_keys:
        raise ValueError(
            "Neither image_keys nor state_keys is given: an agent needs at least one camera or one state vector."
        )
    missing = [key for key in (*image_keys, *state_keys) if key not in available_keys]
    if missing:
        raise ValueError(
            f"Observation key(s) {', '.join(missing)} not found; there are "
            f"{', '.join(sorted(available_keys)) or 'none'}. Choose from them with image_keys (cameras) and state_keys "
            "(vectors)."
        )
    if STATE in image_keys:
        raise ValueError(
            f"{STATE!r} is the name of the state vector: it cannot be among the image_keys {tuple(image_keys)}."
        )


def image_fix(shape: Sequence[int], dtype: np.dtype) -> str:
    """Advice on making an array of this shape and dtype, meant as an image, one of (H, W, 3) uint8; empty for such an
    image."""
    if not shape:
        return "Make a single number a vector of length 1."
    if len(shape) == 4:
        return "Give one image (H, W, 3); the replay buffer stacks images."
    if len(shape) == 2:
        return _GREY.format("image[..., None]") if dtype == np.uint8 else f"Flatten a matrix, matrix.ravel(). {_DEPTH}"
    if len(shape) != 3:
        return "Give an image (H, W, 3)."
    if shape[-1] not in CHANNELS and shape[0] in CHANNELS and shape[0] < shape[-1]:
        return "Put the channels last, np.moveaxis(image, 0, -1)."
    if dtype.kind == "f" and shape[-1] == 3:
        return "Scale values in [0, 1] to bytes, (255 * image).astype(np.uint8)."
    if dtype != np.uint8:
        return _DEPTH
    if shape[-1] == 1:
        return _GREY.format("image")
    return {3: "", 4: "Leave out transparency, image[..., :3]."}.get(shape[-1], "Give three colour channels.")


_GREY = "Give a grey image three colour channels, np.repeat({}, 3, axis=-1)."
_DEPTH = (
    "Scale depth to bytes, (255 * np.clip(depth / farthest, 0, 1)).astype(np.uint8), and repeat it in three colour "
    "channels."
)


def squeezed_cameras(shapes: Mapping[str, tuple[int, ...]], image_size: tuple[int, int]) -> str | None:
    """A sentence on the cameras whose aspect ratio changes when they are resized; None without any.

    Args:
        shapes: shape (..., H, W, C) of the images of each camera.
        image_size: height and width in pixels of the trunk's input.
    """
    height, width = image_size
    squeezed = [
        f"{key} {shape[-3]}x{shape[-2]}" for key, shape in shapes.items() if shape[-3] * width != shape[-2] * height
    ]
    if not squeezed:
        return None
    return (
        f"Images change their aspect ratio: {', '.join(squeezed)} (height x width) are resized to {height}x{width}. To "
        "keep it, let the env cut out or pad a square; it must be the same in demonstrations."
    )


def keep_all(keys: Collection[str]) -> Collection[str]:
    """All keys: a `Keep`."""
    return keys


@dataclass(frozen=True)
class Selection:
    """The agent's part of observations: the images of some cameras, and one vector joined from others.

    Attributes:
        image_keys: cameras to keep, in order; their arrays are not changed.
        state_keys: vectors to join, in order; None for `default_state_keys`.
    """

    image_keys: Sequence[str]
    state_keys: Sequence[str] | None = None

    def used(self, available_keys: Collection[str]) -> tuple[str, ...]:
        """The keys of the cameras and vectors that the selection takes: a `Keep`.

        Raises:
            ValueError: a key is missing, or none is selected.
        """
        return (*self.image_keys, *self._vectors(available_keys))

    def __call__(self, observations: Observation) -> dict[str, np.ndarray]:
        """The agent's observation, for one step or any leading dimensions of steps.

        Args:
            observations: images (..., H, W, C) and vectors (..., D) by key, from an env or a demonstration.

        Returns:
            The images by key and, unless `state_keys` is empty, `state` float32 (..., D summed over `state_keys`).
        """
        vector_keys = self._vectors(observations)
        selected = {key: observations[key] for key in self.image_keys}
        if vector_keys:
            vectors = [np.asarray(observations[key]) for key in vector_keys]
            _check_joinable(vector_keys, vectors)
            selected[STATE] = np.concatenate(vectors, axis=-1, dtype=np.float32)
        return selected

    def _vectors(self, available_keys: Collection[str]) -> Sequence[str]:
        """The keys of the vectors to join; a vector that is joined already is found by `joined_name`."""
        keys = self.state_keys
        if keys is None:
            keys = default_state_keys(available_keys, self.image_keys)
        elif joined_name(keys) in available_keys:
            keys = (joined_name(keys),)
        check_selection(available_keys, self.image_keys, keys)
        return keys


def _check_joinable(keys: Sequence[str], vectors: Sequence[np.ndarray]) -> None:
    if not all(vector.ndim for vector in vectors) or len({vector.shape[:-1] for vector in vectors}) > 1:
        found = ", ".join(f"{key} {vector.shape}" for key, vector in zip(keys, vectors, strict=True))
        raise ValueError(
            f"The state cannot be joined of {found}: each must be a vector (D,) in each step. Make a single number a "
            "vector of length 1, and flatten a matrix."
        )
