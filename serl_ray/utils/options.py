"""Typed groups of options: declared once, checked when they are made, and named without their group."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypeVar, Union, cast, get_args, get_origin

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

from serl_ray.utils.elsewhere import ELSEWHERE

T = TypeVar("T")

LEAST_LIKENESS = 0.5
"""Likeness of two names, in [0, 1], from which one may have been meant by the other."""


class OptionError(ValueError):
    """An unknown name or a wrong value: one line with the option, its value, the limit and the fix."""


class Role(Enum):
    """Property of an option besides its value; attached to its type by `Annotated`."""

    MUST_MATCH = auto()
    """A checkpoint with another value of this option has different networks and cannot be loaded."""
    PATH = auto()
    """The option names a file or folder, and is never read from a checkpoint, which may be untrusted."""
    DATA = auto()
    """The option changes stored demonstrations or images; runs with the same value can share them."""
    FIXED = auto()
    """The option cannot change when a run is resumed."""
    INTERNAL = auto()
    """The option has no flag and no YAML key; only Python code sets it."""
    POSITIONAL = auto()
    """The option's value is given on the command line without a flag."""


@dataclass(frozen=True)
class Alias:
    """A second name of an option's flag, kept for compatibility; attached to its type by `Annotated`."""

    name: str


class Options(BaseModel):
    """A group of options, or a set of groups.

    The docstring of a field is its help. Instances are frozen. Lists are accepted for tuples, and strings for paths.

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
            given = {name: _plain(name, value, fields[name].annotation) for name, value in values.items()}
            try:
                super().__init__(**given)
            except ValidationError as error:
                raise OptionError(_explanation(fields, given, error)) from None

    @classmethod
    def of(cls, **values: Any) -> Self:
        """The defaults with some options changed by name, in whichever group they are."""
        check_names(values, names_of(cls))
        defaults = {name: field.get_default(call_default_factory=True) for name, field in cls.model_fields.items()}
        return cls(
            **_changed({name: default for name, default in defaults.items() if isinstance(default, Options)}, values)
        )

    def replace(self, **values: Any) -> Self:
        """A copy with some options changed by name, in whichever group they are."""
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
    """The declaration of one option.

    Attributes:
        name: name of the option.
        field: pydantic's declaration, with type, bounds and help.
        default: default value; None where `field.is_required()`.
        group: title of the option's group.
    """

    name: str
    field: FieldInfo
    default: Any
    group: str

    @property
    def help(self) -> str:
        """The field's docstring in one line."""
        return " ".join((self.field.description or "").split())

    def has(self, role: Role) -> bool:
        """True if the option was declared with this role."""
        return role in self.field.metadata


def options_of(options: type[Options] | Options) -> Iterator[Option]:
    """All options of a group or set in the order of declaration; an instance gives its values as the defaults."""
    cls = options if isinstance(options, type) else type(options)
    for name, field in cls.model_fields.items():
        default = (
            getattr(options, name) if isinstance(options, Options) else field.get_default(call_default_factory=True)
        )
        if isinstance(default, Options):
            yield from options_of(default)
        else:
            yield Option(name, field, None if field.is_required() else default, cls.title)


def names_of(options: type[Options], role: Role | None = None) -> tuple[str, ...]:
    """The names of all options, or of those with a role."""
    return tuple(option.name for option in options_of(options) if role is None or option.has(role))


def check_names(given: Iterable[str], known: Iterable[str], kind: str = "option") -> None:
    """Raises OptionError for the first unknown name, and suggests the known name of the same meaning or a like one."""
    known = sorted(known)
    for name in given:
        if name not in known:
            dashes, word = ("--", name[2:]) if name.startswith("--") else ("", name)
            same = dashes + ELSEWHERE.get(word.replace("-", "_"), "")
            near = [same] if same in known else difflib.get_close_matches(name, known, n=1, cutoff=LEAST_LIKENESS)
            advice = f"Did you mean {near[0]!r}?" if near else f"None of the {len(known)} that there are is like it."
            raise OptionError(f"There is no {kind} {name!r}. {advice}")


def unused(options: Options, names: Iterable[str], user: Any, flag: str) -> Iterator[str]:
    """A sentence for each option off its default that nothing uses, because what would use it is not given."""
    fields = type(options).model_fields
    for name in () if user else names:
        if name in fields and getattr(options, name) != fields[name].get_default(call_default_factory=True):
            yield f"{name} is {getattr(options, name)}, and nothing uses it without {flag}."


def refuse_unused(options: Options, names: Iterable[str], user: Any, flag: str) -> None:
    """Raises ValueError for the first option that is `unused`."""
    for sentence in unused(options, names, user, flag):
        raise ValueError(sentence)


def each_once(names: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """The names; raises ValueError for one that is there twice."""
    given = names or ()
    for name in given:
        if given.count(name) > 1:
            raise ValueError(f"{name!r} is there {given.count(name)} times: name it once.")
    return names


@contextmanager
def naming(where: object) -> Iterator[None]:
    """Prefixes an OptionError raised in the block with `where`, the place of the option."""
    try:
        yield
    except OptionError as error:
        raise OptionError(f"{where}: {error}") from error


def describe(annotation: Any, value: Any = None) -> str:
    """A type in words; for a tuple given as one `value`, with that value as a tuple."""
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
    if issubclass(plain, Options):
        return f"a mapping of {', '.join(names_of(plain))}"
    return "None" if plain is type(None) else words.get(plain, plain.__name__)


def _changed(groups: dict[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields with `values` filled in, also inside groups."""
    changed = dict(groups)
    inner: set[str] = set()
    for name, value in groups.items():
        if isinstance(value, Options):
            own = {key: values[key] for key in names_of(type(value)) if key in values}
            inner |= own.keys()
            changed[name] = value.replace(**own) if own else value
    return {**changed, **{name: value for name, value in values.items() if name not in inner}}


def _plain(name: str, value: Any, annotation: Any) -> Any:
    """The value with types that JSON, YAML and command lines lack: NumPy scalars, tuples, groups and paths."""
    if isinstance(value, np.generic):
        return value.item()
    parts = get_args(annotation) or (annotation,)
    kinds = {get_origin(part) or part for part in parts} | {get_origin(annotation)}
    if isinstance(value, list | tuple) and tuple in kinds:
        return tuple(Path(item) if isinstance(item, str) and Path in parts else item for item in value)
    if isinstance(value, dict):
        for group in (part for part in parts if isinstance(part, type) and issubclass(part, Options)):
            with naming(name):
                return group(**value)
    return Path(value) if isinstance(value, str) and Path in kinds else value


def _explanation(fields: Mapping[str, FieldInfo], given: Mapping[str, Any], error: ValidationError) -> str:
    """One sentence about the first error, with the option, its value and the limit."""
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
    value, annotation = given[name], fields[name].annotation
    if isinstance(value, dict) and len(first["loc"]) > 1 and first["loc"][1] in value:
        key, [_, annotation] = first["loc"][1], get_args(annotation)
        name, value = f"{name}: {key}", value[key]
    return f"{name} is {value!r:.200}, a {type(value).__name__}; it must be {describe(annotation, value)}."


def _limit(field: FieldInfo, error_type: str) -> str | None:
    """The bounds of a number in words; None for other kinds of error."""
    if not error_type.startswith(("greater_than", "less_than")):
        return None
    words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    bounds = {
        key: limit for part in _metadata(field) for key in words if (limit := getattr(part, key, None)) is not None
    }
    if bounds.keys() == {"ge", "le"}:
        return f"lie in [{bounds['ge']:g}, {bounds['le']:g}]"
    return "be " + " and ".join(f"{words[key]} {bounds[key]:g}" for key in words if key in bounds)


def _metadata(field: FieldInfo) -> Iterator[Any]:
    """Metadata of a field's type and of the parts of its type."""
    yield from field.metadata
    parts = list(get_args(field.annotation))
    while parts:
        part = parts.pop()
        yield from getattr(part, "__metadata__", ())
        parts += get_args(part)


def _python_type(annotation: Any) -> type:
    while get_origin(annotation) is not None:
        annotation = get_args(annotation)[0]
    return cast(type, annotation)  # an annotation without its arguments is a class
