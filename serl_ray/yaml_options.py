"""Options in YAML files: read as data, and checked by name and type."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

import yaml

from serl_ray.option_types import describe, fits
from serl_ray.settings import check_names

NUMBER = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")
"""What YAML 1.1 takes for a word: 1e-4, without a point or without a sign of the exponent."""


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no mapping of names, names a key twice, or has aliases, which can make much of little.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file.")
    text = path.read_text()
    try:
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text, Loader=yaml.SafeLoader)):
            raise ValueError(f"{path} has aliases (*name): write out what they stand for.")
        _check_keys(path, yaml.compose(text, Loader=yaml.SafeLoader))
        value = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not YAML: {' '.join(str(error).split()):.200}") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path} holds no options: write NAME: VALUE, a line each.")
    return _numbers(value)


def read_options(path: Path, options: type[Any]) -> dict[str, Any]:
    """Some options of a dataclass, by name.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: an option is unknown, or not of its type.
    """
    given = read_yaml(path)
    with naming(path):
        return checked(given, options)


def checked(given: Mapping[str, Any], options: type[Any]) -> dict[str, Any]:
    """The same with tuples for lists; ValueError for a name that the dataclass has not, or a value not of its type."""
    check_names(map(str, given), [field.name for field in fields(options)])
    hints = get_type_hints(options)
    for name, value in given.items():
        if hints[name] is not Path and not fits(value, hints[name]):
            raise ValueError(f"{name} is {value!r:.200}, a {type(value).__name__}; it must be {describe(hints[name], value)}.")
    made = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    return {name: Path(value) if hints[name] is Path else value for name, value in made.items()}


@contextmanager
def naming(where: object) -> Iterator[None]:
    """Puts in front of a ValueError where it comes from."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def _check_keys(path: Path, node: yaml.Node | None) -> None:
    """YAML itself takes the last of two values and drops the first."""
    if isinstance(node, yaml.MappingNode):
        names = [key.value for key, _ in node.value]
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag != "tag:yaml.org,2002:str":
                raise ValueError(f"{path}: line {key.start_mark.line + 1}: a key must be a name.")
            if names.count(key.value) > 1:
                raise ValueError(f"{path}: {key.value} is there twice.")
            _check_keys(path, value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _check_keys(path, item)


def _numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_numbers(item) for item in value]
    return float(value) if isinstance(value, str) and NUMBER.fullmatch(value) else value
