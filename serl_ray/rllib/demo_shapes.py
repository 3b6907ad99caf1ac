"""Comparison of the first demonstration's shapes with those of an env or a policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import gymnasium

from serl_ray.data.demos import find_files, first_segment
from serl_ray.data.errors import DemoError
from serl_ray.data.observations import default_state_keys, joined_name
from serl_ray.data.reference import DemoReference, read_reference
from serl_ray.options.sets import TrainingOptions

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Shapes:
    """Shapes of the actions and observations of demonstrations, an env or a policy.

    Attributes:
        action_dim: numbers of an action.
        observations: shapes by key: cameras (H, W, C), vectors (D,), stored maps of more axes.
        is_selected: whether `state` is the agent's state already, joined of its vectors.
    """

    action_dim: int
    observations: Mapping[str, Shape]
    is_selected: bool = False

    def cameras(self) -> str:
        return self._list(3)

    def vectors(self) -> str:
        return self._list(1)

    def _list(self, axes: int) -> str:
        found = {key: shape for key, shape in self.observations.items() if len(shape) == axes}
        return ", ".join(f"{key} {_text(shape)}" for key, shape in found.items()) or "none"

    def state_dim(self, options: TrainingOptions) -> int | None:
        """Numbers of the state that the agent sees; None where a vector of it is missing."""
        if self.is_selected:
            return self.observations.get("state", (0,))[-1]
        shapes = [self.observations.get(key) for key in state_keys_of(options, self.observations)]
        return None if None in shapes else sum(shape[-1] for shape in shapes if shape)


def check_first_demonstration(options: TrainingOptions, space: gymnasium.spaces.Dict, action_dim: int) -> None:
    """Raises DemoError where the first transition is not one of an env with these spaces, as the agent sees them."""
    if (first := first_shapes(options)) and options.env.env_name:
        check_same(*first, Shapes(action_dim, {key: part.shape for key, part in space.items()}, True), options)


def reference_of_run(options: TrainingOptions, demos_are_shared: bool) -> DemoReference | None:
    """The demonstrations to which a run's first episodes are compared.

    None without any, for those that a sweep's trials share, whose files may be elsewhere, and for those that cannot be
    read, of which the run says why when it reads them all.
    """
    if not options.demos.demo_paths or demos_are_shared:
        return None
    try:
        return read_reference(options.demos.demo_paths, options.env.selection(), options.demos.skip_bad)
    except (DemoError, FileNotFoundError):
        return None


def first_shapes(options: TrainingOptions) -> tuple[str, Shapes] | None:
    """The first file of demonstrations and what it begins with.

    None without demonstrations, and where those that do not fit are skipped, and counted when they are read.
    """
    if not options.demos.demo_paths:
        return None
    path = find_files(options.demos.demo_paths)[0]
    if options.demos.skip_bad:
        return None
    try:
        segment = first_segment(path)
    except DemoError:  # perhaps of something that the agent does not see
        segment = first_segment(path, options.env.selection().used)
    shapes = {key: spec.shape for key, spec in segment.observation_spec.items()}
    return path, Shapes(segment.actions.shape[1], shapes)


def check_same(path: str, demos: Shapes, env: Shapes, options: TrainingOptions) -> None:
    """Raises DemoError where demonstrations at a path differ from an env."""
    if found := differences(demos, env, options, "the env's"):
        stages = "With --stage_classifiers the env's state ends with the stage: record with the same classifiers. "
        raise DemoError(
            f"{path}: these are not demonstrations of the env {options.env.env_name} with these options: "
            f"{'; '.join(found)}. {stages if options.reward.stage_classifiers else ''}Name the env in which they were "
            "recorded, --env_name your_package.module:Class, with its --setup_mode, --image_keys and --state_keys; or "
            "learn from them without an env: serl train-offline."
        )


def differences(ours: Shapes, theirs: Shapes, options: TrainingOptions, whose: str) -> list[str]:
    """Differences between two shapes in the parts that the agent reads, each with both values."""
    found = []
    if ours.action_dim != theirs.action_dim:
        found.append(f"actions of {ours.action_dim} numbers, {whose} have {theirs.action_dim}")
    for key in options.env.image_keys:
        shapes = [side.observations.get(key) for side in (ours, theirs)]
        if None in shapes:
            found.append(f"for camera {key} there are {ours.cameras()}, {whose} are {theirs.cameras()}")
        elif (
            len({len(shape) for shape in shapes}) == 1 and shapes[0] != shapes[1]
        ):  # maps are compared when they are read
            found.append(f"images of {key} {_text(shapes[0])}, {whose} are {_text(shapes[1])}")
    states = [side.state_dim(options) for side in (ours, theirs)]
    if states[0] != states[1]:
        found.append(f"state vectors {ours.vectors()}, {whose} are {theirs.vectors()}")
    return found


def state_keys_of(options: TrainingOptions, available: Mapping[str, Shape]) -> tuple[str, ...]:
    """The vectors that the agent's state is joined from, among those that there are."""
    if options.env.state_keys is None:
        return default_state_keys(available, options.env.image_keys)
    name = joined_name(options.env.state_keys)
    return (name,) if name in available else tuple(options.env.state_keys)


def _text(shape: Shape) -> str:
    return f"({', '.join(map(str, shape))})" if len(shape) > 1 else str(shape[0])
