"""Options in YAML files, checked by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from serl_ray.files.yaml import read_yaml
from serl_ray.utils.options import Options, check_names, names_of, naming, options_of


def read_options(path: Path, options: type[Options], also: Sequence[str] = ()) -> dict[str, Any]:
    """Some options of a group or set, by name, as a YAML file gives them.

    Args:
        path: the file.
        options: what may be given; the values are checked as far as they can be one by one.
        also: other names that may be in the file; their values are returned as they are.

    Raises:
        FileNotFoundError: there is no such file.
        OptionError: an option is unknown, or its value is wrong.
    """
    given = read_yaml(path)
    with naming(path):
        check_names(given, (*names_of(options), *also))
        required = {option.name: "" for option in options_of(options) if option.field.is_required()}
        options.of(**required | {name: value for name, value in given.items() if name not in also})
    return given
