"""Typed groups of options: declared once, checked whenever they are made, named without their group."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypeVar, Union, get_args, get_origin

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

T = TypeVar("T")


class OptionError(ValueError):
    """An unknown name or a wrong value: one line with the option, its value, the limit and the fix."""


class Role(Enum):
    """What an option decides beside its own effect; attached to its type by `Annotated`."""

    MUST_MATCH = auto()
    """A checkpoint with another value has other networks and cannot be loaded."""
    PATH = auto()
    """It names a file or folder; a checkpoint, which may come from anybody, does not decide it."""
    DATA = auto()
    """It decides what stored demonstrations or frames look like; runs that agree on it can share them."""
    FIXED = auto()
    """It cannot change while a run goes on."""
    INTERNAL = auto()
    """It has no flag and no key: only Python code sets it."""
    POSITIONAL = auto()
    """A command line gives its value without a flag."""


@dataclass(frozen=True)
class Alias:
    """A second spelling of an option's flag that was promised; attached to its type by `Annotated`."""

    name: str


class Options(BaseModel):
    """A group of options, or a set of groups.

    The sentence below a field is its help. Instances are frozen; lists are accepted where tuples are declared, and strings
    where paths are.

    Raises:
        OptionError: a name is unknown, or a value has the wrong type or is out of bounds.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)

    title: ClassVar[str] = "options"
    """Heading of the group in `--help` and in the documentation."""

    if not TYPE_CHECKING:  # type checkers and editors derive the signature from the fields

        def __init__(self, **values: Any) -> None:
            fields = type(self).model_fields
            check_names(values, fields)
            given = {name: _plain(value, fields[name].annotation) for name, value in values.items()}
            try:
                super().__init__(**given)
            except ValidationError as error:
                raise OptionError(_explanation(fields, given, error)) from None

    @classmethod
    def of(cls, **values: Any) -> Self:
        """The defaults with some options changed, by name, whichever group each belongs to."""
        check_names(values, names_of(cls))
        defaults = {name: field.get_default(call_default_factory=True) for name, field in cls.model_fields.items()}
        return cls(**_changed({name: default for name, default in defaults.items() if isinstance(default, Options)}, values))

    def replace(self, **values: Any) -> Self:
        """A copy with some options changed, by name, whichever group each belongs to."""
        check_names(values, names_of(type(self)))
        return type(self)(**_changed(dict(self), values))

    def flat(self) -> dict[str, Any]:
        """All options by name, without their groups."""
        items: dict[str, Any] = {}
        for name, value in self:
            items |= value.flat() if isinstance(value, Options) else {name: value}
        return items


@dataclass(frozen=True)
class Option:
    """One option as it was declared.

    Attributes:
        field: pydantic's declaration, with type, bounds and help.
        default: its value where nobody chooses one; None where `field.is_required()`.
        group: heading under which it belongs.
    """

    name: str
    field: FieldInfo
    default: Any
    group: str

    @property
    def help(self) -> str:
        """The sentence below the field, in one line."""
        return " ".join((self.field.description or "").split())

    def has(self, role: Role) -> bool:
        """Whether the option was declared with this role."""
        return role in self.field.metadata


def options_of(options: type[Options] | Options) -> Iterator[Option]:
    """Every option of a group or set, in the order of declaration; of an instance, with its values as defaults."""
    cls = options if isinstance(options, type) else type(options)
    for name, field in cls.model_fields.items():
        default = getattr(options, name) if isinstance(options, Options) else field.get_default(call_default_factory=True)
        if isinstance(default, Options):
            yield from options_of(default)
        else:
            yield Option(name, field, None if field.is_required() else default, cls.title)


def names_of(options: type[Options], role: Role | None = None) -> tuple[str, ...]:
    """The names of all options, or of those with a role."""
    return tuple(option.name for option in options_of(options) if role is None or option.has(role))


def check_names(given: Iterable[str], known: Iterable[str], kind: str = "option") -> None:
    """Raises OptionError for the first name that is not known, with the known one that resembles it most."""
    known = sorted(known)
    for name in given:
        if name not in known:
            [nearest] = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
            raise OptionError(f"There is no {kind} {name!r}. Did you mean {nearest!r}?")


def describe(annotation: Any, value: Any = None) -> str:
    """A type in words; for a tuple with the fix where `value` was given in its place."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin in (UnionType, Union):
        return " or ".join(describe(part, value) for part in parts)
    if origin is Literal:
        return f"one of {', '.join(map(str, parts))}"
    if origin is tuple:
        fix = f" such as {(value,)!r}" if isinstance(value, _python_type(parts[0])) else ""
        return f"a tuple{fix}, each part of it {describe(parts[0])}"
    if origin is dict:
        return "a dict with strings for keys"
    words = {bool: "True or False", int: "a whole number", float: "a finite number", str: "a string", Path: "a path"}
    plain = _python_type(annotation)
    return "None" if plain is type(None) else words.get(plain, plain.__name__)


def _changed(groups: dict[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Fields with the options among `values` put in their place, also inside groups."""
    changed = dict(groups)
    inner: set[str] = set()
    for name, value in groups.items():
        if isinstance(value, Options):
            own = {key: values[key] for key in names_of(type(value)) if key in values}
            inner |= own.keys()
            changed[name] = value.replace(**own) if own else value
    return {**changed, **{name: value for name, value in values.items() if name not in inner}}


def _plain(value: Any, annotation: Any) -> Any:
    """NumPy scalars as Python's, and what JSON, YAML and command lines have no type for as the declared type."""
    if isinstance(value, np.generic):
        return value.item()
    kinds = {get_origin(part) or part for part in (get_args(annotation) or (annotation,))} | {get_origin(annotation)}
    if isinstance(value, list) and tuple in kinds:
        return tuple(value)
    return Path(value) if isinstance(value, str) and Path in kinds else value


def _explanation(fields: Mapping[str, FieldInfo], given: Mapping[str, Any], error: ValidationError) -> str:
    """The first error as one sentence that names the option, the value and the limit."""
    first = error.errors()[0]
    if not first["loc"]:
        return str(first["ctx"]["error"])
    name = str(first["loc"][0])
    if first["type"] == "missing":
        return f"{name} is missing: {' '.join((fields[name].description or '').split())}"
    if first["type"] == "value_error":
        return f"{name} is {given[name]!r:.200}; {first['ctx']['error']}"
    if limit := _limit(fields[name], first["type"]):
        optional = ", or None" if type(None) in get_args(fields[name].annotation) else ""
        return f"{name} is {given[name]}; it must {limit}{optional}."
    value = given[name]
    return f"{name} is {value!r:.200}, a {type(value).__name__}; it must be {describe(fields[name].annotation, value)}."


def _limit(field: FieldInfo, error_type: str) -> str | None:
    """The bounds of a number in words; None where the error is another one."""
    if not error_type.startswith(("greater_than", "less_than")):
        return None
    words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    bounds = {key: limit for part in _metadata(field) for key in words if (limit := getattr(part, key, None)) is not None}
    if bounds.keys() == {"ge", "le"}:
        return f"lie in [{bounds['ge']:g}, {bounds['le']:g}]"
    return "be " + " and ".join(f"{words[key]} {bounds[key]:g}" for key in words if key in bounds)


def _metadata(field: FieldInfo) -> Iterator[Any]:
    """What was attached to a field's type, and to the parts of its type."""
    yield from field.metadata
    parts = list(get_args(field.annotation))
    while parts:
        part = parts.pop()
        yield from getattr(part, "__metadata__", ())
        parts += get_args(part)


def _python_type(annotation: Any) -> type:
    while get_origin(annotation) is not None:
        annotation = get_args(annotation)[0]
    return annotation
