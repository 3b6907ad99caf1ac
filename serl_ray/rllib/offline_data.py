"""Demonstrations for offline training: read and encoded once by Ray Data, held out in part, in memory or as a
stream."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial

import gymnasium
import numpy as np
import pyarrow.compute as pc
import ray
import ray.data

from serl_ray.data import demos
from serl_ray.data.errors import DemoError
from serl_ray.data.reading import rows_where
from serl_ray.data.replay.ring import ReplayBuffer
from serl_ray.data.replay.rows import row_bytes
from serl_ray.data.replay.streaming import DemoStream
from serl_ray.data.schema import Segment
from serl_ray.options.sets import OfflineOptions
from serl_ray.rllib.buffers import Shared, demos_key, make_buffer, observation_specs, read_dataset
from serl_ray.rllib.demo_rewards import DemoRewards
from serl_ray.types import Batch
from serl_ray.utils.memory import free_memory

logger = logging.getLogger(__name__)

MAX_HELD_OUT = 50
"""Episodes that are held out at most: they stay in memory."""


@dataclass
class OfflineData:
    """Training and held-out data of offline training.

    Attributes:
        sample: (batch size, random generator) -> a batch.
        held_out: segments of episodes that no batch has.
        num_transitions: number of transitions that are learned from.
        num_bytes: size of these transitions, encoded.
        buffer: buffer that `sample` draws from.
        stream: source of batches if not all demonstrations are in memory.
    """

    sample: Callable[[int, np.random.Generator], Batch]
    held_out: list[Segment]
    num_transitions: int
    num_bytes: int
    buffer: ReplayBuffer
    stream: DemoStream | None = None


def demo_spaces(options: OfflineOptions) -> tuple[gymnasium.spaces.Dict, gymnasium.spaces.Box]:
    """The spaces of an env like the one in which the first demonstration was recorded."""
    [path, *_] = demos.find_files(options.demos.demo_paths)
    first = next(iter(demos.read_file(path, select=options.env.selection())))
    observations = {}
    for key, spec in first.observation_spec.items():
        if key in options.env.image_keys and len(spec.shape) == 3 and spec.shape[-1] != 3:
            raise DemoError(
                f"{path}: camera {key} has images {spec.shape}; the policy sees colours alone, (H, W, 3) without "
                "transparency. Store three channels, or leave the camera out of --image_keys."
            )
        low, high = (0, 255) if spec.dtype == np.uint8 else (-np.inf, np.inf)
        observations[key] = gymnasium.spaces.Box(low, high, spec.shape, spec.dtype)
    return gymnasium.spaces.Dict(observations), gymnasium.spaces.Box(-1.0, 1.0, first.actions.shape[1:], np.float32)


def load_offline_data(
    options: OfflineOptions, space: gymnasium.spaces.Dict, action_dim: int, seed: int, shared: Shared | None = None
) -> OfflineData:
    """Reads, checks and encodes all demonstrations; those that are to be learned from go into a buffer, or stream.

    Raises:
        DemoError: a file does not fit, or nothing is left to learn from.
    """
    dataset = read_dataset(options, space, action_dim) if shared is None else ray.get(shared[demos_key(options)])
    lengths = _checked_lengths(options, dataset)
    held_out = _held_out(list(lengths), options.demos.held_out)
    num_transitions = sum(steps for episode, steps in lengths.items() if episode not in held_out)
    if not num_transitions:
        raise DemoError(f"{len(lengths)} episode(s), all held out: record more demonstrations, or set held_out to 0.")
    judged = list(demos.segments(rows_where(dataset, pc.field("episode").isin(sorted(held_out))))) if held_out else []
    make = partial(make_buffer, options, space, action_dim)
    rows, bytes_a_row = num_transitions + dataset.count(), row_bytes(observation_specs(options, space), action_dim)
    granted = options.demos.memory_gb * 1e9 if options.demos.memory_gb else free_memory() / 2
    streams = options.demos.streaming or rows * bytes_a_row > granted
    logger.info(
        "%d episodes, %d of them held out; %d transitions, %.2f GB, %s.",
        len(lengths), len(held_out), num_transitions, rows * bytes_a_row / 1e9, "streaming" if streams else "in memory",
    )  # fmt: skip
    if streams:
        window = make(max(min(options.demos.window, rows, int(granted / bytes_a_row)), 2), "window")
        stream = DemoStream(dataset, window, held_out, seed)
        return OfflineData(stream.sample, judged, num_transitions, rows * bytes_a_row, window, stream)
    buffer = make(rows + 1, "demo replay")
    for segment in demos.segments(dataset):
        if segment.episode not in held_out:
            buffer.add(segment)
    return OfflineData(buffer.sample, judged, num_transitions, rows * bytes_a_row, buffer)


def _checked_lengths(options: OfflineOptions, dataset: ray.data.Dataset) -> dict[str, int]:
    """Transitions of each episode, after a check of their rewards."""
    rewards = DemoRewards(options)
    for row in dataset.select_columns(["episode", "rewards", "dones"]).iter_rows():
        rewards.add(row["episode"], row["rewards"], bool(row["dones"][-1]))
    rewards.warn_if_hidden()
    return rewards.lengths


def _held_out(episodes: list[str], share: float) -> Collection[str]:
    """A share of the episodes, spread evenly over all; at least one if the share is not 0."""
    if not share:
        return frozenset()
    number = min(max(round(share * len(episodes)), 1), MAX_HELD_OUT)
    return frozenset(episodes[int(place)] for place in np.linspace(0, len(episodes) - 1, number + 2)[1:-1])
