"""Command line made from the declarations of options: flags, their groups and their help."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, ClassVar, Literal, TypeVar, Union, get_args, get_origin

from serl_ray.files.yaml import UNREADABLE, parse_yaml
from serl_ray.options.presets import PresetName, preset
from serl_ray.options.yaml import read_options
from serl_ray.utils.options import Alias, Option, OptionError, Options, Role, check_names, options_of

T = TypeVar("T", bound=Options)
UNSET = argparse.SUPPRESS
"""Marks flags that were not given: they leave no trace in what is parsed."""


class FileLayer(Options):
    """Options of a file, which lie below the flags."""

    title: ClassVar[str] = "run"

    config: Path | None = None
    """YAML file of options, such as the best.yaml of a sweep; flags win over it, and it wins over a preset."""


class Layers(FileLayer):
    """Options that lie below the flags, where there are presets: for policies."""

    preset: PresetName = "none"
    """Departures from the defaults: none, hil-serl (the original's hyper-parameters), or tabletop (fewer requests)."""


def parse_layers(command: str, options: type[T], argv: Sequence[str]) -> T:
    """The options of a preset, of a YAML file on top of it, and of flags on top of both.

    Raises:
        FileNotFoundError: there is no such file.
        OptionError: a name is unknown or a value is wrong; of the file with its name.
    """
    flags = given_options(command, argv, options, Layers)
    file = _in_file(flags, options, "preset")
    below = file.pop("preset", "none")
    return options.of(**{**preset(flags.pop("preset", below), options), **file, **flags})


def parse_over_file(command: str, options: type[T], argv: Sequence[str]) -> T:
    """The options of a YAML file, and of flags on top of it; it raises what `parse_layers` does."""
    flags = given_options(command, argv, options, FileLayer)
    return options.of(**{**_in_file(flags, options), **flags})


def _in_file(flags: dict[str, Any], options: type[Options], *also: str) -> dict[str, Any]:
    """The options in the file that `--config` names, which is taken out of the flags."""
    path = flags.pop("config", None)
    return read_options(Path(path), options, also) if path else {}


def given_options(command: str, argv: Sequence[str], options: type[Options], *more: type[Options]) -> dict[str, Any]:
    """The options that a command line gives, by name.

    Args:
        command: words with which the command line begins, for its help.
        argv: the rest of the command line. `--help` prints the help and exits with code 0.
        options: what may be given; its docstring describes the command.
        more: other groups that may be given.

    Raises:
        OptionError: a flag is unknown, is given twice, or lacks its value.
    """
    parser = make_parser(command, options, *more)
    declared = {option.name: option for each in (*more, options) for option in options_of(each)}
    words, rest = _split_remainder(argv, declared.values())
    parsed, unknown = parser.parse_known_args([_underscored(word) for word in words])
    flags = [f"--{name}" for name in declared]
    for word in unknown:
        if not word.startswith("--"):
            raise OptionError(f"{word!r} belongs to no flag. Quote values that contain spaces; see {command} --help.")
        check_names([word.split("=")[0]], flags)
    values = {name: _value(declared[name], text) for name, text in vars(parsed).items()}
    return values | ({} if rest is None else rest)


def as_flags(options: type[Options], values: Mapping[str, Any]) -> list[str]:
    """The words of a command line that give these values; the reverse of `given_options`."""
    words: list[str] = []
    for option in options_of(options):
        if option.name not in values:
            continue
        value = values[option.name]
        if isinstance(value, bool) and option.field.annotation is bool:
            words.append(f"--{option.name}" if value else f"--no_{option.name}")
        elif isinstance(value, dict):
            pairs = (word for name, item in value.items() for word in (name, _word(item)))
            words += [f"--{option.name}", *pairs]
        else:
            words += [f"--{option.name}", *map(_word, value if isinstance(value, tuple) else (value,))]
    return words


def _word(value: Any) -> str:
    return json.dumps(value) if isinstance(value, list | dict | bool) else str(value)


def make_parser(command: str, options: type[Options], *more: type[Options]) -> argparse.ArgumentParser:
    """The parser of a command, with a group of flags for each group of options."""
    parser = _Parser(
        command,
        usage=_usage(command, options),
        description=" ".join((options.__doc__ or "").split()),
        add_help=False,
        allow_abbrev=False,
        formatter_class=_Formatter,
    )
    groups: dict[str, Any] = {}
    for option in (option for each in (*more, options) for option in options_of(each)):
        if option.has(Role.INTERNAL):
            continue
        if option.has(Role.POSITIONAL):
            _add_positional(parser, option)
            continue
        if option.group not in groups:
            groups[option.group] = parser.add_argument_group(option.group)
        _add_flag(groups[option.group], option)
    parser.add_argument_group("help").add_argument("-h", "--help", action="help", help="Show this help and exit.")
    return parser


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]
        raise OptionError(f"{message[0].upper()}{message[1:]}; see {self.prog} --help.")


class _Once(argparse.Action):
    """Stores the value of a flag, and refuses a second one."""

    def __call__(self, parser: Any, namespace: Any, values: Any, flag: str | None = None) -> None:
        first, second = getattr(namespace, self.dest, None), self.const if self.nargs == 0 else values
        if first is not None:
            raise OptionError(f"--{self.dest} is given twice{_difference(first, second, self.nargs)}")
        setattr(namespace, self.dest, second)


def _difference(first: Any, second: Any, nargs: Any) -> str:
    """The two values of a flag in words, and the way out."""
    if nargs == "*":
        return f", as {' '.join(first)!r} and {' '.join(second)!r}: name all of its values behind one flag."
    return f", as {first} and {second}: give it once."


class _Formatter(argparse.HelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=34, width=120)


def _usage(command: str, options: type[Options]) -> str:
    positional = [option.name.upper() for option in options_of(options) if option.has(Role.POSITIONAL)]
    return " ".join([command, *positional, "[--FLAG VALUE ...]"])


def _add_positional(parser: argparse.ArgumentParser, option: Option) -> None:
    many = _is(option, tuple)
    parser.add_argument(option.name, nargs="*" if many else None, metavar=option.name.upper(), help=_help(option))


def _add_flag(group: Any, option: Option) -> None:
    spellings = [option.name, *(part.name for part in option.field.metadata if isinstance(part, Alias))]
    flags = [f"--{spelling}" for spelling in spellings]
    common: dict[str, Any] = {"dest": option.name, "default": UNSET, "help": _help(option)}
    if option.field.annotation is bool:
        group.add_argument(*flags, action=_Once, nargs=0, const="true", **common)
        common["help"] = UNSET
        group.add_argument(
            *(f"--no_{spelling}" for spelling in spellings), action=_Once, nargs=0, const="false", **common
        )
    else:
        many = _is(option, tuple) or _is(option, dict)
        group.add_argument(*flags, action=_Once, nargs="*" if many else None, metavar=_metavar(option), **common)


def _help(option: Option) -> str:
    text = option.help.replace("%", "%%")
    if option.field.is_required():
        return f"{text} (required)"
    if option.field.annotation is bool:
        return f"{text} (default: on; --no_{option.name} turns it off)" if option.default else text
    default = option.default
    if isinstance(default, tuple):
        default = " ".join(map(str, default)) or "none"
    return text if default is None or default == {} else f"{text} (default: {default})"


def _metavar(option: Option) -> str:
    leaves = _leaves(option.field.annotation)
    if choices := [choice for leaf in leaves if get_origin(leaf) is Literal for choice in get_args(leaf)]:
        return "{" + ",".join(map(str, choices)) + "}"
    if option.has(Role.PATH):
        return "PATH"
    kinds = {dict: "NAME VALUE", Path: "PATH", int: "N", float: "X"}
    return next((word for kind, word in kinds.items() if kind in leaves or _is(option, kind)), "TEXT")


def _value(option: Option, text: Any) -> Any:
    """The value of words on the command line; what does not fit the type is left for the check of the option."""
    if _is(option, dict):
        if len(text) % 2:
            raise OptionError(
                f"{option.name} is {' '.join(text)!r}; give a value after each name: NAME VALUE NAME VALUE."
            )
        for name in text[::2]:
            if (count := text[::2].count(name)) > 1:
                raise OptionError(f"{option.name} has {name!r} {count} times: name it once.")
        return {name: _argument(option.name, name, value) for name, value in zip(text[::2], text[1::2], strict=True)}
    holds_text = any(kind in (str, Path) or get_origin(kind) is Literal for kind in _leaves(option.field.annotation))
    read = str if holds_text else _scalar
    if isinstance(text, list):
        return None if text == ["None"] else tuple(read(word) for word in text)
    return None if text == "None" and type(None) in _parts(option.field.annotation) else read(text)


def _argument(option: str, name: str, text: str) -> Any:
    """The value of a name in a mapping: YAML, where a word that is none is text.

    Raises:
        OptionError: the word begins like a list, a mapping, a quotation or a Python tuple, and is none in YAML.
    """
    if text == "None":
        return None
    value = _scalar(text)
    if isinstance(value, str) and text.startswith(("[", "{", "(", "'", '"')) and value == text:
        raise OptionError(
            f"{option}: the value of {name}, {text}, is not YAML. Write lists as '[front, wrist]' and mappings as "
            "'{ip: 10.0.0.2}', quoted for the shell."
        )
    return value


def _scalar(text: str) -> Any:
    try:
        return parse_yaml(text)
    except UNREADABLE:
        return text


def _parts(annotation: Any) -> tuple[Any, ...]:
    """The members of a union, or the type itself, without what was attached to them."""
    is_union = get_origin(annotation) in (Union, UnionType)
    members = get_args(annotation) if is_union else (annotation,)
    return tuple(get_args(member)[0] if get_origin(member) is Annotated else member for member in members)


def _leaves(annotation: Any) -> tuple[Any, ...]:
    """The types of single values: the members of a union, and of the tuples among them."""
    return tuple(
        leaf
        for part in _parts(annotation)
        for leaf in (_parts(get_args(part)[0]) if get_origin(part) is tuple else (part,))
    )


def _is(option: Option, kind: type) -> bool:
    return any((get_origin(part) or part) is kind for part in _parts(option.field.annotation))


def _underscored(word: str) -> str:
    """A flag with dashes in its name as it is declared."""
    if not word.startswith("--"):
        return word
    name, equals, value = word[2:].partition("=")
    return f"--{name.replace('-', '_')}{equals}{value}"


def _split_remainder(argv: Sequence[str], declared: Any) -> tuple[list[str], dict[str, Any] | None]:
    """The words before `--`, and those behind it as the value of the last positional option."""
    if "--" not in argv:
        return list(argv), None
    where = list(argv).index("--")
    [*_, last] = [option for option in declared if option.has(Role.POSITIONAL)] or [None]
    if last is None:
        raise OptionError(f"{' '.join(argv[where:])!r} belongs to no flag: leave it out.")
    return list(argv[:where]), {last.name: tuple(argv[where + 1 :])}
