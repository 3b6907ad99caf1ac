"""Report of the checks of a robot: one HTML file with its images and plots, or a folder of PNG files."""

from __future__ import annotations

import base64
import html
import io
import textwrap
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from serl_ray.envs.robot_checks.result import RobotCheck
from serl_ray.files.atomic import write_file

ORDER = ("wrong", "unknown", "note", "fine")
COLOURS = {"wrong": "#b3261e", "unknown": "#8a5a00", "note": "#1d5fa8", "fine": "#2e6b34"}
HTML = ".html"
TEXT_WIDTH = 110
"""Characters of a line above a PNG file's image."""
PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; }}
h2 {{ font-size: 1.1em; margin-bottom: 0; }} p {{ margin: .3em 0; }} img {{ max-width: 100%; }}
section {{ border-top: 1px solid #ccc; padding: .6em 0; }}
</style>
<h1>{title}</h1><p>{summary}</p>
{sections}
</html>
"""


def summary_line(checks: Sequence[RobotCheck]) -> str:
    """The number of results of each verdict, in words."""
    counts = {verdict: sum(check.verdict == verdict for check in checks) for verdict in ORDER}
    return ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count) + "."


def write_check_report(path: Path, title: str, checks: Sequence[RobotCheck]) -> None:
    """Writes a report, worst results first.

    Args:
        path: HTML file, or a folder that gets a PNG file for each check.
        title: heading, with the name of the robot.
        checks: results.
    """
    ordered = sorted(checks, key=lambda check: ORDER.index(check.verdict))
    if path.suffix == HTML:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, _page(title, ordered).encode())
        return
    path.mkdir(parents=True, exist_ok=True)
    for number, check in enumerate(ordered):
        name = "_".join(check.title.lower().replace(",", "").split())
        write_file(path / f"{number:02d}_{check.verdict}_{name}.png", check_image(check, has_text=True))


def check_image(check: RobotCheck, has_text: bool = False) -> bytes:
    """The images and the plot of a check as PNG; with its verdict and text above where they are wanted."""
    columns = len(check.images) + bool(check.curves)
    height = 2.6 if columns else 0.4
    figure = Figure(figsize=(9.0, height + (1.3 if has_text else 0.0)), layout="constrained")
    if has_text:
        figure.suptitle(
            f"{check.verdict}: {check.title}\n{textwrap.fill(check.text, TEXT_WIDTH)}", fontsize=9, x=0.01, ha="left"
        )
    if columns:
        widths = [1.0] * len(check.images) + [2.0] * bool(check.curves)
        axes = figure.subplots(1, columns, squeeze=False, width_ratios=widths)[0]
        for axis, (caption, image) in zip(axes, check.images, strict=False):
            axis.imshow(image)
            axis.set_title(caption, fontsize=9)
            axis.axis("off")
        if check.curves:
            for curve in check.curves:
                axes[-1].plot(curve.values, label=curve.label, marker=".")
            axes[-1].legend(fontsize=8)
            axes[-1].set_xlabel("step, or number of the vector", fontsize=8)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=90)
    return file.getvalue()


def _page(title: str, checks: Sequence[RobotCheck]) -> str:
    sections = "\n".join(_section(check) for check in checks)
    return PAGE.format(title=html.escape(title), summary=summary_line(checks), sections=sections)


def _section(check: RobotCheck) -> str:
    heading = f'<h2><span style="color:{COLOURS[check.verdict]}">{check.verdict}</span> {html.escape(check.title)}</h2>'
    shown = ""
    if check.images or check.curves:
        encoded = base64.b64encode(check_image(check)).decode()
        shown = f'<img alt="{html.escape(check.title)}" src="data:image/png;base64,{encoded}">'
    return f"<section>{heading}<p>{html.escape(check.text)}</p>{shown}</section>"
