"""The replay buffers of a run, and the demonstrations that fill them."""

from __future__ import annotations

import json
from functools import partial

import gymnasium
import numpy as np
import ray
import ray.data

from serl_ray.data import demos
from serl_ray.data.checks import DemoChecks
from serl_ray.data.counting import count_observations
from serl_ray.data.errors import DemoError
from serl_ray.data.formats.parquet import trunk_of
from serl_ray.data.reading import keep_good, plain_errors
from serl_ray.data.replay.log import LogWriter, ReplayLog
from serl_ray.data.replay.maps import FrameEncoder, encode_demo, frozen_trunk
from serl_ray.data.replay.ring import Horizon, ReplayBuffer
from serl_ray.data.schema import ArraySpec, Segment
from serl_ray.files.uris import suffix
from serl_ray.networks.pretrained import fingerprint
from serl_ray.options.sets import HybridOptions, TrainingOptions
from serl_ray.rllib.demo_rewards import DemoRewards
from serl_ray.rllib.demo_shapes import check_first_demonstration
from serl_ray.types import ActionLayout
from serl_ray.utils.options import Role, names_of

Shared = dict[str, ray.ObjectRef]
"""Datasets of demonstrations in Ray's object store, by `demos_key`."""


def online_buffer(options: HybridOptions, space: gymnasium.spaces.Dict, action_dim: int) -> ReplayBuffer:
    """A ring for the run's own experience. It is no larger than the run, with a row more for each of its episodes."""
    return make_buffer(
        options, space, action_dim, min(options.learning.capacity, 2 * options.schedule.max_steps), "online replay"
    )


def demo_buffer(
    options: HybridOptions,
    space: gymnasium.spaces.Dict,
    action_dim: int,
    log: ReplayLog,
    shared: Shared | None = None,
    promised: int = 0,
) -> ReplayBuffer:
    """A ring with the demonstrations, which are logged, and room for `demo_capacity` more rows before one
    is overwritten; `promised` as for `ReplayBuffer`.

    The demonstrations are counted first, so that a lack of memory is found before they are read into the ring one by
    one.
    """
    num_spare = min(options.demos.demo_capacity, 2 * options.schedule.max_steps)
    make = partial(make_buffer, options, space, action_dim, name="demo replay", promised=promised)
    if not options.demos.demo_paths:
        return make(num_spare)
    checks = None
    if shared is None:
        dataset, checks = demos_as_seen(options, space, action_dim), _checks(options, action_dim)
        num_observations = count_observations(options.demos.demo_paths, options.env.selection().used)
    else:
        dataset = ray.get(shared[demos_key(options)])
        num_observations = sum(len(segment) + 1 for segment in demos.segments(dataset))
    for shard in log.leftovers():  # of a start that has failed while it read
        shard.unlink()
    buffer, writer = make(num_observations + num_spare), LogWriter([log])
    rewards = DemoRewards(options)
    for segment in demos.segments(dataset, checks):
        rewards.add(str(segment.episode), segment.rewards, bool(segment.dones[-1]))
        buffer.add(segment)
        log.append(segment)
        writer.write_if_due()
    rewards.warn_if_hidden()
    return buffer


def add_in_pieces(buffer: ReplayBuffer, segment: Segment) -> None:
    """Adds a segment, which may be longer than the buffer, in pieces that fit."""
    size = buffer.capacity - 1
    for start in range(0, len(segment), size):
        buffer.add(segment.slice(start, min(start + size, len(segment))))


def demos_key(options: TrainingOptions) -> str:
    """A key for what decides how demonstrations look to the agent."""
    values = options.flat()
    return json.dumps([values[name] for name in names_of(type(options), Role.DATA)])


def demos_as_seen(options: TrainingOptions, space: gymnasium.spaces.Dict, action_dim: int) -> ray.data.Dataset:
    """Segments as the agent sees them: its cameras, and its state vectors joined; the rest is left where it was read.

    Iterating over `demos.segments` of it raises a DemoError where a file cannot be read, or where its observations are
    not those of the space.
    """
    check_first_demonstration(options, space, action_dim)
    encode = None
    if encoding := options.encoding():
        _check_trunks(options)
        encode = partial(encode_demo, encoding=encoding)
    return demos.read_demos(
        options.demos.demo_paths,
        observation_specs(options, space),
        action_dim,
        options.env.selection(),
        encode,
        options.demos.skip_bad,
    )


def read_dataset(options: TrainingOptions, space: gymnasium.spaces.Dict, action_dim: int) -> ray.data.Dataset:
    """All demonstrations, read, checked and encoded into Ray's object store; DemoError for one that does not fit,
    warnings for what is odd."""
    with plain_errors(DemoError):
        dataset = keep_good(demos_as_seen(options, space, action_dim).materialize())
    images = {f"observations.{key}" for key in options.env.image_keys}
    vectors = dataset.select_columns([name for name in dataset.columns() if name not in images])
    for _ in demos.segments(vectors, _checks(options, action_dim)):
        pass
    return dataset


def _checks(options: TrainingOptions, action_dim: int) -> DemoChecks:
    grippers = ActionLayout.from_setup(options.env.setup_mode, action_dim).gripper_indices
    return DemoChecks(grippers, options.agent.networks.encoder.normalise_state)


def trunk_of_maps(options: TrainingOptions) -> str | None:
    """The fingerprint of the trunk whose maps a replay holds; None where it holds images, or there are none."""
    encoding = options.encoding()
    return fingerprint(frozen_trunk(encoding["trunk"])) if encoding else None


def _check_trunks(options: TrainingOptions) -> None:
    """Raises DemoError where the experience of another run has maps, and they are of another trunk."""
    ours, trunk = trunk_of_maps(options), options.agent.networks.encoder.trunk
    for file in demos.find_files(options.demos.demo_paths):
        try:
            theirs = trunk_of(file) if suffix(file) == demos.PARQUET else None
        except ValueError:
            continue  # what is wrong with the file is said when it is read
        if theirs not in (None, ours):
            raise DemoError(f"{file}: has maps of another trunk than {trunk!r}. Name the --trunk they were made with.")


def make_buffer(
    options: TrainingOptions, space: gymnasium.spaces.Dict, action_dim: int, capacity: int, name: str, promised: int = 0
) -> ReplayBuffer:
    """An empty ring for observations of this space; `promised` as for `ReplayBuffer`."""
    crop_keys, specs = options.env.image_keys if options.encoding() else (), observation_specs(options, space)
    stack = options.env.frame_stack
    return ReplayBuffer(specs, action_dim, capacity, stack, name, crop_keys, promised, horizon_of(options))


def horizon_of(options: TrainingOptions) -> Horizon:
    """The span of the transitions that a run learns from."""
    return Horizon(options.learning.n_step, options.discount)


def observation_specs(options: TrainingOptions, space: gymnasium.spaces.Dict) -> dict[str, ArraySpec]:
    """Shapes and types of one stored observation: the space's, with maps in place of images where these are encoded."""
    specs = {key: ArraySpec(part.shape, part.dtype) for key, part in space.items()}
    if encoding := options.encoding():
        specs |= dict.fromkeys(options.env.image_keys, ArraySpec(FrameEncoder(**encoding).map_shape, np.float16))
    return specs
