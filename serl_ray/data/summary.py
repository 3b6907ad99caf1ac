"""Summary of demonstrations in numbers and plots, gathered segment by segment."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from serl_ray.data.checks import DemoChecks, Gripper, Range, gripper_oddities
from serl_ray.data.demos import is_pickle
from serl_ray.data.formats.layout import VERSION
from serl_ray.data.formats.lerobot.features import is_image
from serl_ray.data.formats.lerobot.folder import folder_of
from serl_ray.data.schema import ArraySpec, Segment
from serl_ray.types import GRIPPER_COMMANDS

BINS = np.linspace(-1, 1, 42)
"""Edges of the histograms of actions; zero is the centre of the middle bin."""
STRIP_EPISODES, STRIP_FRAMES = 3, 8
MOST_VALUES = 6
"""Number of different rewards that are listed."""


@dataclass
class Summary:
    """Statistics of episodes; consecutive segments of one episode count as one episode.

    Attributes:
        checks: what is odd, gathered at the same time.
        grippers: gripper dimensions of the actions; None for those with only the values -1, 0 and 1.
        lengths: lengths of the episodes in steps.
        specs: different observation specs of the episodes.
        returns: sums of the rewards of the episodes.
        num_intervened: number of transitions with an intervention.
        num_terminated: number of episodes that ended by success or failure.
        num_timed_out: number of episodes that ended by a time-out.
    """

    checks: DemoChecks = field(default_factory=DemoChecks)
    grippers: Sequence[int] | None = None
    lengths: list[int] = field(default_factory=list)
    specs: list[dict[str, ArraySpec]] = field(default_factory=list)
    returns: list[float] = field(default_factory=list)
    num_intervened: int = 0
    num_terminated: int = 0
    num_timed_out: int = 0
    _successes: list[bool] = field(default_factory=list)
    _rewards: _Rewards = field(default_factory=lambda: _Rewards())
    _episode: str | int | None = None
    _strips: list[dict[str, np.ndarray]] = field(default_factory=list)
    _actions: list[_Dimension] = field(default_factory=list)

    @property
    def num_transitions(self) -> int:
        return sum(self.lengths)

    @property
    def success_share(self) -> float:
        """The share of episodes whose last reward is above 0."""
        return float(np.mean(self._successes))

    def add(self, segment: Segment) -> None:
        """Adds a segment."""
        self.checks.add(segment)
        if segment.episode == self._episode and segment.first_step > 0:
            self.lengths[-1] += len(segment)
            self.returns[-1] += float(segment.rewards.sum())
            self._successes[-1] = bool(segment.rewards[-1] > 0)
        else:
            self.lengths.append(len(segment))
            self.returns.append(float(segment.rewards.sum()))
            self._successes.append(bool(segment.rewards[-1] > 0))
            if len(self._strips) < STRIP_EPISODES:
                self._strips.append(_strip(segment))
        self._episode = segment.episode
        if segment.observation_spec not in self.specs:
            self.specs.append(segment.observation_spec)
        self._rewards.add(segment.rewards)
        self.num_intervened += int(segment.intervened.sum())
        self.num_terminated += bool(segment.dones[-1] and segment.masks[-1] == 0)
        self.num_timed_out += bool(segment.dones[-1] and segment.masks[-1] == 1)
        missing = segment.actions.shape[1] - len(self._actions)
        self._actions += [_Dimension() for _ in range(missing)]
        for dimension, numbers in zip(self._actions, segment.actions.T, strict=False):
            dimension.add(numbers)

    def lines(self) -> Iterator[str]:
        """The summary as text."""
        yield from self._episode_lines()
        for index, specs in enumerate(self.specs):
            if index:
                yield "other episodes have"
            for key, spec in specs.items():
                yield f"observation {key}: {spec}"
                yield from _range_lines(key, self.checks.vectors.get(key))
        for index, dimension in enumerate(self._actions):
            text = f"action[{index}]   {dimension.low:+.3f} to {dimension.high:+.3f}"
            if self._is_gripper(index):
                gripper = dimension.gripper
                text += (
                    f", gripper: closes {gripper.closes}, holds {gripper.holds}, opens {gripper.opens}, "
                    f"{gripper.switches / len(self.lengths):.1f} switches an episode"
                )
                text += f", {gripper.num_off} off -1, 0 and 1, such as {gripper.off:.3g}" if gripper.num_off else ""
            yield text
        yield from (f"odd: {oddity}" for oddity in self.oddities())

    def _episode_lines(self) -> Iterator[str]:
        """Lengths, rewards, ends and interventions as text."""
        total = len(self.lengths)
        rewarded = f"{sum(self._successes)} of {total}"
        num_open = total - self.num_terminated - self.num_timed_out
        yield f"{total} episodes, {self.num_transitions} transitions"
        yield f"length      {_spread(self.lengths)}"
        yield f"success     {self.success_share:.2f} of the episodes (a reward above 0 at the end), {rewarded}"
        yield self._rewards.line()
        yield f"return      {_spread(self.returns)}"
        yield f"ends        {self.num_terminated} terminated, {self.num_timed_out} timed out, {num_open} without an end"
        yield f"intervened  {self.num_intervened / self.num_transitions:.2f} of the transitions"

    def oddities(self) -> Iterator[str]:
        """Warnings about what is odd about the demonstrations, in one line each."""
        yield from self.checks.warnings()
        for index, dimension in enumerate(self._actions):
            if self._is_gripper(index):
                yield from gripper_oddities(f"action[{index}]", dimension.gripper)

    def draw(self, path: str | Path) -> None:
        """Plots histograms of lengths and actions, and images of a few episodes with a row per episode and camera."""
        strips = [
            (f"episode {e}, {key}", images) for e, strip in enumerate(self._strips) for key, images in strip.items()
        ]
        figure = Figure(figsize=(12, 4 + 1.5 * len(strips)), layout="constrained")
        above, *below = figure.subfigures(
            2 if strips else 1, 1, height_ratios=[4, 1.5 * len(strips)] if strips else [1], squeeze=False
        )[:, 0]
        left, right = above.subplots(1, 2)
        left.hist(self.lengths, bins=min(30, max(self.lengths)))
        left.set(xlabel="length (steps)", ylabel="episodes")
        shares = np.stack([dimension.counts / dimension.counts.sum() for dimension in self._actions])
        heat_map = right.imshow(shares, aspect="auto", extent=(-1, 1, len(shares) - 0.5, -0.5), cmap="magma")
        right.set(xlabel="action", ylabel="dimension", yticks=range(len(shares)))
        above.colorbar(heat_map, ax=right, label="share of the transitions")
        if strips:
            axes = below[0].subplots(len(strips), 1, squeeze=False)[:, 0]
            for axis, (title, images) in zip(axes, strips, strict=True):
                axis.imshow(np.concatenate(list(images), axis=1), cmap="gray")
                axis.set_title(title, fontsize=8)
                axis.axis("off")
        figure.savefig(path, dpi=100)

    def _is_gripper(self, index: int) -> bool:
        if self.grippers is not None:
            return index in self.grippers
        dimension = self._actions[index]
        return dimension.is_ternary and dimension.low < dimension.high


@dataclass
class _Rewards:
    """Statistics of rewards.

    Attributes:
        values: the different rewards; no longer complete when there are more than MOST_VALUES.
    """

    low: float = np.inf
    high: float = -np.inf
    values: set[float] = field(default_factory=set)

    def add(self, rewards: np.ndarray) -> None:
        self.low, self.high = min(self.low, float(rewards.min())), max(self.high, float(rewards.max()))
        if len(self.values) <= MOST_VALUES:
            self.values.update(np.unique(rewards).tolist())

    def line(self) -> str:
        """The range and, where they are few, the values."""
        few = ", ".join(f"{value:g}" for value in sorted(self.values))
        which = f"the values {few}" if len(self.values) <= MOST_VALUES else f"more than {MOST_VALUES} values"
        return f"reward      min {self.low:g}, max {self.high:g}; {which}"


@dataclass
class _Dimension:
    """Statistics of one action dimension."""

    low: float = np.inf
    high: float = -np.inf
    is_ternary: bool = True
    counts: np.ndarray = field(default_factory=lambda: np.zeros(len(BINS) - 1))
    gripper: Gripper = field(default_factory=Gripper)

    def add(self, numbers: np.ndarray) -> None:
        self.low, self.high = min(self.low, float(numbers.min())), max(self.high, float(numbers.max()))
        self.is_ternary &= bool(np.isin(numbers, GRIPPER_COMMANDS).all())
        self.counts += np.histogram(numbers.clip(-1, 1), BINS)[0]
        self.gripper.add(numbers)


def _spread(numbers: Sequence[float]) -> str:
    return f"min {min(numbers):g}, median {np.median(numbers):g}, max {max(numbers):g}"


def _range_lines(key: str, found: Range | None) -> Iterator[str]:
    """The range of each number of a vector."""
    if found is not None:
        for index, (low, high) in enumerate(zip(found.low, found.high, strict=True)):
            yield f"{f'{key}[{index}]':<11} {low:+.3f} to {high:+.3f}"


def _strip(segment: Segment) -> dict[str, np.ndarray]:
    """A few images of every camera of an episode, (at most STRIP_FRAMES, H, W, C)."""
    chosen = np.unique(np.linspace(0, len(segment), STRIP_FRAMES).round().astype(int))
    return {key: segment.observations[key][chosen] for key, spec in segment.observation_spec.items() if is_image(spec)}


def format_of(file: str) -> str:
    """The format and version of a demonstration file, in words."""
    if is_pickle(file):
        return "HIL-SERL pickle"
    folder = folder_of(file)
    return f"Parquet version {VERSION}" if folder is None else f"LeRobot {folder.version}"
