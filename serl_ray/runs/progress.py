"""Progress of a run: a bar in a terminal, or one line per result elsewhere, such as in the log of a job."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from tqdm import tqdm

SHOWN = {
    "success": "env/success_rate",
    "autonomous": "env/autonomous_success_rate",
    "return": "env/mean_return",
    "eval": "evaluation/success_rate",
    "eval return": "evaluation/mean_return",
    "q": "critic/q_mean",
    "entropy": "actor/entropy",
    "interventions": "env/intervention_rate",
    "action error": "held_out/action_error",
}
SAME = {"env/mean_return": "env/success_rate", "evaluation/mean_return": "evaluation/success_rate"}
"""Returns that are left out where they equal the success rate, as they do with one reward of 1."""


class Progress:
    """Shows results as they come.

    Args:
        total: steps of the run.
        done: steps of an earlier part of the run.
    """

    def __init__(self, total: int, done: int) -> None:
        self._total = total
        self._bar = tqdm(total=total, initial=done, unit="step", dynamic_ncols=True, disable=not sys.stderr.isatty())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()

    def show(self, steps: int, result: Mapping[str, Any]) -> None:
        """A result after so many steps."""
        known = described(result)
        if self._bar.disable:
            print(f"{steps}/{self._total} steps {known}", flush=True)
        else:
            self._bar.update(steps - self._bar.n)
            self._bar.set_postfix_str(known)


def described(result: Mapping[str, Any]) -> str:
    """The known numbers of a result in one line; those of an evaluation name its step."""
    keys = {
        name: key
        for name, key in SHOWN.items()
        if not math.isnan(result[key]) and result[key] != result.get(SAME.get(key, ""))
    }
    if not result["env/intervention_rate"]:
        keys.pop("autonomous", None)
    elif "success" in keys:
        keys = {"success with interventions": keys.pop("success"), **keys}
    at_step = {
        name: f"{name} (step {result['evaluation/at_step']:.0f})"
        for name, key in keys.items()
        if key.startswith("evaluation/")
    }
    return " ".join(f"{at_step.get(name, name)} {result[key]:.2f}" for name, key in keys.items())


def say(text: str) -> None:
    """A line, above the bar where there is one."""
    tqdm.write(text, file=sys.stdout)
    sys.stdout.flush()
