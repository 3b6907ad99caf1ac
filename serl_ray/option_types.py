"""Whether options have the types that their dataclass declares: one check for every way in that no command line has parsed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from numbers import Integral, Real
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np

TRUTH = (bool, np.bool_)
KINDS: dict[Any, tuple[str, Callable[[Any], bool]]] = {
    bool: ("True or False", lambda value: isinstance(value, TRUTH)),
    int: ("a whole number", lambda value: isinstance(value, Integral) and not isinstance(value, TRUTH)),
    float: ("a finite number", lambda value: isinstance(value, Real) and not isinstance(value, TRUTH) and math.isfinite(value)),
    str: ("a string", lambda value: isinstance(value, str)),
    Path: ("a Path", lambda value: isinstance(value, Path)),
    type(None): ("None", lambda value: value is None),
}
"""What a value of a type is called, and whether something is one."""


def check_types(options: Any) -> None:
    """Raises ValueError with the option, its value and what it must be, for the first field that is not of its type."""
    hints = get_type_hints(type(options))
    for field in fields(options):
        value, hint = getattr(options, field.name), hints[field.name]
        if not fits(value, hint):
            raise ValueError(f"{field.name} is {value!r:.200}, a {type(value).__name__}; it must be {describe(hint, value)}.")


def check_least(options: Any, at_least: Mapping[str, float]) -> None:
    """Raises ValueError with the option, its value and the limit, for the first that is below its least; None never is."""
    for name, least in at_least.items():
        value = getattr(options, name)
        if value is not None and min(value if isinstance(value, list | tuple) else (value,), default=least) < least:
            raise ValueError(f"{name} is {value}; it must be at least {least:g}.")


def fits(value: Any, hint: Any) -> bool:
    """Whether a value is of a type. Lists will do for tuples, as JSON and YAML have no others; a number must be finite."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (UnionType, Union):
        return any(fits(value, part) for part in parts)
    if origin is Literal:
        return any(value is choice or (isinstance(value, str) and value == choice) for choice in parts)
    if origin is tuple:
        return isinstance(value, list | tuple) and all(fits(item, parts[0]) for item in value)
    if origin is dict:
        return isinstance(value, dict) and all(fits(key, parts[0]) for key in value)  # values, from Python, may be anything
    return isinstance(value, hint) if is_dataclass(hint) else KINDS[hint][1](value)


def describe(hint: Any, value: Any = None) -> str:
    """A type in words; of a tuple with the mend where `value` has been given in its place."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (UnionType, Union):
        return " or ".join(describe(part, value) for part in parts)
    if origin is Literal:
        return f"one of {', '.join(map(str, parts))}"
    if origin is tuple:
        mend = f" such as {(value,)!r}" if fits(value, parts[0]) else ""
        return f"a tuple{mend}, each part of it {describe(parts[0])}"
    if origin is dict:
        return "a dict with strings for keys"
    return hint.__name__ if is_dataclass(hint) else KINDS[hint][0]
