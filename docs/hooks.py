"""Hooks of mkdocs: pages that are made from the code and from files at the root of the repository.

`<!-- generated: NAME -->` on a page is replaced by what the function of that name in `GENERATED` returns.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
MARK = re.compile(r"<!-- generated: (\w+) -->")


class Row(NamedTuple):
    """One option in a table."""

    group: str
    name: str
    type: str
    default: str
    help: str


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by mkdocs with the text of every page."""
    return MARK.sub(lambda match: GENERATED[match[1]](), markdown)


def options() -> str:
    """All options of hybrid and offline training, a table for each group."""
    return tables(rows_of_model())


def tables(rows: Iterable[Row]) -> str:
    """Options as Markdown, with a heading for each group."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.group, []).append(row)
    lines = []
    for group, members in groups.items():
        lines += [f"## {group.capitalize()}", "", "| option | type | default | meaning |", "|---|---|---|---|"]
        lines += [
            "| " + " | ".join((f"`--{row.name}`", _cell(row.type), f"`{row.default}`", _cell(row.help))) + " |"
            for row in members
        ]
        lines.append("")
    return "\n".join(lines)


def rows_of_model() -> Iterable[Row]:
    """Rows from the declarations in `serl_ray.options`: those of hybrid runs, then those that offline runs alone
    have."""
    from serl_ray.options.sets import HybridRun, OfflineRun
    from serl_ray.utils.options import Role, describe, options_of

    offline = {option.name: option for option in options_of(OfflineRun)}
    hybrid = {option.name: option for option in options_of(HybridRun)}
    for name, option in {**offline, **hybrid}.items():
        if option.has(Role.INTERNAL):
            continue
        default = str(option.default)
        if name in offline and name in hybrid and offline[name].default != option.default:
            default += f"; offline {offline[name].default}"
        where = "" if name in hybrid else " Offline training only."
        yield Row(option.group, name, describe(option.field.annotation), default, option.help + where)


def franka_settings() -> str:
    """The settings of the Franka env, a table for each level of their file."""
    from serl_ray.envs.franka.settings import ArmSettings, CameraSettings, FrankaSettings
    from serl_ray.utils.options import options_of

    groups = {"The file": FrankaSettings, "Each arm": ArmSettings, "Each camera": CameraSettings}
    lines = []
    for title, group in groups.items():
        lines += [f"### {title}", "", "| setting | default | meaning |", "|---|---|---|"]
        for option in options_of(group):
            default = "required" if option.field.is_required() else f"`{option.default}`"
            lines.append(f"| `{option.name}` | {default} | {_cell(option.help)} |")
        lines.append("")
    return "\n".join(lines)


def contributing() -> str:
    """CONTRIBUTING.md, with its links as they are on the site."""
    return (ROOT / "CONTRIBUTING.md").read_text().replace("(CHANGELOG.md)", "(changelog.md)")


def changelog() -> str:
    """CHANGELOG.md."""
    return (ROOT / "CHANGELOG.md").read_text()


def readme() -> str:
    """README.md, with its links as they are on the site."""
    text = (ROOT / "README.md").read_text().replace("](docs/", "](").replace("(CHANGELOG.md)", "(changelog.md)")
    text = text.replace("(CONTRIBUTING.md)", "(contributing.md)")
    return re.sub(r"\[(LICENSE|CITATION\.cff)\]\(\1\)", r"`\1`", text)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


GENERATED: dict[str, Callable[[], str]] = {
    "options": options,
    "franka_settings": franka_settings,
    "contributing": contributing,
    "changelog": changelog,
    "readme": readme,
}
