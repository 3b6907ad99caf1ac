"""Ways to draw an option's values, by the names that a sweep's file uses."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ray import tune

from serl_ray.utils.options import OptionError, check_names

DRAWS = ("uniform", "loguniform", "randint")
LISTS = ("choice", "grid")


def check_draw(how: Any) -> None:
    """Raises OptionError where `how` is not such as {choice: [1, 2]}, {grid: [1, 2]} or {loguniform: [1e-4, 1e-3]}."""
    if not isinstance(how, dict) or len(how) != 1:
        raise OptionError(
            f"{how!r} is no way to draw: write one of {', '.join((*LISTS, *DRAWS))}, such as {{choice: [1, 2]}}."
        )
    [(kind, values)] = how.items()
    check_names([kind], (*LISTS, *DRAWS), "way to draw")
    if not isinstance(values, list) or not values:
        raise OptionError(f"{kind} is {values!r}; it must be a list.")
    if kind in LISTS:
        if len({json.dumps(value) for value in values}) < len(values):
            raise OptionError(f"{kind} has a value twice: {values}.")
        return
    numbers = int if kind == "randint" else int | float
    if len(values) != 2 or not all(isinstance(value, numbers) and not isinstance(value, bool) for value in values):
        raise OptionError(
            f"{kind} is {values}; it must be two {'whole ' if kind == 'randint' else ''}numbers, the least and the "
            "greatest."
        )
    if values[0] >= values[1] or (kind == "loguniform" and values[0] <= 0):
        raise OptionError(
            f"{kind} is {values}; the least comes first{', and is above 0' if kind == 'loguniform' else ''}."
        )
    if kind != "randint":
        how[kind] = [float(value) for value in values]  # what is drawn is no whole number


def can_draw(how: Mapping[str, list[Any]], value: Any) -> bool:
    """True if a value can be drawn."""
    [(kind, values)] = how.items()
    if kind in LISTS:
        return value in values
    return isinstance(value, int | float) and values[0] <= value <= values[1]


def domain(how: Mapping[str, list[Any]]) -> Any:
    """Tune's domain for a draw; the ends of a range are in it."""
    [(kind, values)] = how.items()
    if kind == "grid":
        return tune.grid_search(values)
    if kind == "choice":
        return tune.choice(values)
    if kind == "randint":
        return tune.randint(values[0], values[1] + 1)
    return getattr(tune, kind)(*values)


def within(how: Mapping[str, list[Any]], value: Any) -> Any:
    """The value, or the end of the range that it lies beyond."""
    [(kind, values)] = how.items()
    return value if kind in LISTS else min(max(value, values[0]), values[1])
