"""Flags on top of a file of options, on top of a preset."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, TypeVar

import tyro

from serl_ray.settings import preset
from serl_ray.yaml_options import read_options

T = TypeVar("T")


def parse_on_top(argv: list[str], options: type[T], beneath: type[Any], **missing: Any) -> T:
    """The options that flags, the file of `--config` and the preset say, the first of these that does.

    Args:
        argv: the flags.
        options: a dataclass with all of them.
        beneath: the one of its bases that has `config`, and `preset` where there are such.
        missing: options without a default, and what stands for them until a flag or the file gives them.

    Raises:
        FileNotFoundError, ValueError: of the file.
    """
    chosen, _ = tyro.cli(beneath, args=argv, return_unknown_args=True, add_help=False, use_underscores=True)
    given = read_options(chosen.config, options) if chosen.config else {}
    said = {field.name: getattr(chosen, field.name) for field in fields(chosen)}
    if said.get("preset") == "none":
        said["preset"] = given.get("preset", "none")
    values = {**missing, **preset(said.get("preset", "none"), options), **given, **said}
    return tyro.cli(options, args=argv, default=options(**values), use_underscores=True)
