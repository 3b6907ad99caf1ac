"""`serl inspect`: what demonstrations hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from serl_ray.cli.parser import given_options
from serl_ray.options.reading import ReadingOptions
from serl_ray.types import SetupMode
from serl_ray.utils.options import Options, Role


class Inspect(Options):
    """Print and draw what demonstrations hold."""

    title: ClassVar[str] = "demonstrations"

    paths: Annotated[tuple[str, ...], Role.POSITIONAL]
    """Pickles, folders of Parquet shards, LeRobot folders, patterns or URIs of these."""
    output: Path | None = None
    """PNG file for histograms of lengths and actions, and for images of the first episodes."""
    setup_mode: SetupMode | None = None
    """Set-up that says which numbers of an action are grippers; by default those that are always -1, 0 or 1."""
    reading: ReadingOptions = Field(default_factory=ReadingOptions)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.paths:
            raise ValueError("paths is empty: give the path of at least one demonstration.")
        if self.output and self.output.suffix != ".png":
            raise ValueError(f"output is {self.output}; give a name that ends in .png.")
        return self


def main(argv: Sequence[str]) -> None:
    """Reads everything once, and prints the summary."""
    options = Inspect.of(**given_options("serl inspect", argv, Inspect))

    from serl_ray.data.convert import Episodes
    from serl_ray.data.formats.lerobot.reader import LeRobotOptions
    from serl_ray.data.summary import Summary, format_of
    from serl_ray.types import ActionLayout

    reading = options.reading
    lerobot = LeRobotOptions(reading.episodes_succeed, reading.rescale_actions)
    episodes, summary = Episodes(options.paths, lerobot, reading.skip_bad, reading.clip_actions), Summary()
    for segment in episodes:
        if options.setup_mode and summary.grippers is None:
            summary.grippers = ActionLayout.from_setup(options.setup_mode, segment.actions.shape[1]).gripper_indices
        summary.add(segment)
    formats = Counter(map(format_of, episodes.files))
    print(", ".join(f"{count} file(s) of {name}" for name, count in formats.items()))
    print("\n".join([*summary.lines(), *episodes.clipping(), *(episodes.scale.lines() if episodes.scale else ())]))
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        summary.draw(options.output)
