"""What an agent sees of an observation: some cameras, and one `state` vector."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

Observation = Mapping[str, np.ndarray]

STATE = "state"
OBJECT_STATE = "object_state"


def stack_observations(observations: Sequence[Observation]) -> dict[str, np.ndarray]:
    """Observations with the same keys as one, with an axis more in front."""
    return {key: np.stack([observation[key] for observation in observations]) for key in observations[0]}


def default_state_keys(available_keys: Collection[str], image_keys: Sequence[str]) -> tuple[str, ...]:
    """What there is of proprioception and, without a camera, of the privileged object poses."""
    names = (STATE,) if image_keys else (STATE, OBJECT_STATE)
    return tuple(name for name in names if name in available_keys)


def joined_name(state_keys: Sequence[str] | None) -> str:
    """What a vector that was joined of these is called where it is stored; of None, the default, it is the `state`."""
    return STATE if state_keys is None else "+".join(state_keys)


def check_selection(available_keys: Collection[str], image_keys: Sequence[str], state_keys: Sequence[str]) -> None:
    """Raises where a selection is empty or names a key that is not there."""
    if not image_keys and not state_keys:
        raise ValueError("Neither image_keys nor state_keys is given: an agent needs at least one camera or one state vector.")
    missing = [key for key in (*image_keys, *state_keys) if key not in available_keys]
    if missing:
        raise ValueError(
            f"Observation key(s) {', '.join(missing)} not found; there are {', '.join(sorted(available_keys)) or 'none'}. "
            "Choose among these with image_keys (cameras) and state_keys (vectors)."
        )
    if STATE in image_keys:
        raise ValueError(f"{STATE!r} is the name of the state vector: it cannot be among the image_keys {tuple(image_keys)}.")


def select_observations(
    observations: Observation, image_keys: Sequence[str], state_keys: Sequence[str] | None = None
) -> dict[str, np.ndarray]:
    """The agent's observation, of one step or of many at once (any leading dimensions, as in demonstrations).

    Args:
        observations: Cameras (..., H, W, C) and vectors (..., D) by key, as an env returns them or a demonstration holds them;
            vectors may be joined already, and are then found by `joined_name`.
        image_keys: The cameras to keep, in order; their arrays are handed on as they are.
        state_keys: The vectors to join, in order; None chooses by `default_state_keys`.

    Returns:
        The cameras by key and, where `state_keys` is not empty, `state`: float32 (..., D summed over `state_keys`).
    """
    if state_keys is None:
        state_keys = default_state_keys(observations, image_keys)
    elif joined_name(state_keys) in observations:
        state_keys = (joined_name(state_keys),)
    check_selection(observations.keys(), image_keys, state_keys)
    selected = {key: observations[key] for key in image_keys}
    if state_keys:
        selected[STATE] = np.concatenate([observations[key] for key in state_keys], axis=-1, dtype=np.float32)
    return selected
