"""YAML files, read as data."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import AliasEvent

from serl_ray.utils.options import OptionError, naming

UNREADABLE = (YAMLError, RecursionError, UnicodeDecodeError, ValueError)


def parse_yaml(text: str) -> Any:
    """The value that YAML 1.2 text stands for: plain data, and 1e-4 is a number.

    Raises:
        OptionError: a key is there twice, or the text has aliases, with which little text stands for much data.
        YAMLError, RecursionError, ValueError: it is not YAML.
    """
    yaml = YAML(typ="safe", pure=True)
    if any(isinstance(event, AliasEvent) for event in yaml.parse(text)):
        raise OptionError("it has aliases (*name): write out what they stand for.")
    try:
        return yaml.load(text)
    except DuplicateKeyError as error:
        raise OptionError(f"{str(error.problem).split(' with value')[0]}: name each key once.") from error


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        FileNotFoundError: there is no such file.
        OptionError: it is not YAML, holds no mapping of names, or names a key twice.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file.")
    with naming(path):
        try:
            value = parse_yaml(path.read_text())
        except OptionError:
            raise
        except UNREADABLE as error:
            raise OptionError(f"it is not YAML: {' '.join(str(error).split()):.200}") from error
        if not isinstance(value, dict):
            raise OptionError("it holds no options: write NAME: VALUE, one per line.")
        if other := [key for key in value if not isinstance(key, str)]:
            raise OptionError(f"the key {other[0]!r} is not a name.")
    return value


def write_yaml(values: dict[str, Any]) -> bytes:
    """A mapping as YAML text, in its order."""
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    stream = BytesIO()
    yaml.dump(values, stream)
    return stream.getvalue()
