"""The discount of a run for which none is given: found from its demonstrations, or the policy that it starts from."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import ray

from serl_ray.data.lengths import episode_lengths
from serl_ray.data.rewards import USUAL_DISCOUNT, discount_for
from serl_ray.options.sets import HybridOptions, TrainingOptions
from serl_ray.rllib.buffers import Shared, demos_key
from serl_ray.rllib.checkpoint import checkpoint_of, read_run


@dataclass(frozen=True)
class FoundDiscount:
    """A discount, and a sentence that says why it is this one."""

    value: float
    reason: str


def find_discount(options: TrainingOptions, shared: Shared | None = None) -> FoundDiscount:
    """The discount of a run: by the rule of `discount_for` from the median length of its demonstrations.

    Without any it is the one with which the policy to start from was trained, or `USUAL_DISCOUNT`.

    Args:
        options: options of the run.
        shared: demonstrations in Ray's object store, whose files this computer may lack.

    Raises:
        FileNotFoundError: there are no demonstrations where the options name them.
    """
    if lengths := _lengths(options, shared):
        steps = median(lengths)
        value = discount_for(steps)
        return FoundDiscount(
            value,
            f"The discount is {value:g}: a success after {steps:g} steps, the median of the demonstrations, is worth "
            f"{value**steps:.2g} in the first step (--discount X: another one).",
        )
    start = options.schedule.init_from if isinstance(options, HybridOptions) else None
    if start and (inherited := saved_discount(Path(start))) is not None:
        return FoundDiscount(inherited, f"The discount is {inherited:g}, with which the policy in {start} was trained.")
    reason = f"The discount is {USUAL_DISCOUNT:g}: there are no demonstrations by whose length to choose it."
    return FoundDiscount(USUAL_DISCOUNT, reason)


def saved_discount(run: Path) -> float | None:
    """The discount in a run's newest checkpoint, or in a checkpoint; None where it holds none.

    Raises:
        FileNotFoundError: there is no checkpoint.
        ValueError: it is damaged.
    """
    value = read_run(checkpoint_of(run))["options"].get("discount")
    return value if isinstance(value, float) else None


def _lengths(options: TrainingOptions, shared: Shared | None) -> list[int]:
    """The transitions of each demonstration."""
    if not options.demos.demo_paths:
        return []
    if shared is None:
        return episode_lengths(options.demos.demo_paths, options.env.selection())
    lengths: Counter[str] = Counter()
    for row in ray.get(shared[demos_key(options)]).select_columns(["episode", "rewards"]).iter_rows():
        lengths[row["episode"]] += len(row["rewards"])
    return list(lengths.values())
