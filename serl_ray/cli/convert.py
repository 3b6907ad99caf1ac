"""`serl convert`: demonstrations in another format."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from annotated_types import Ge
from pydantic import Field, FiniteFloat, model_validator

from serl_ray.cli.parser import given_options
from serl_ray.files.paths import PICKLES
from serl_ray.options.reading import ReadingOptions
from serl_ray.utils.options import Options, Role

TargetFormat = Literal["pickle", "parquet", "lerobot-v3", "lerobot-v2.1"]


class Convert(Options):
    """Convert demonstrations between HIL-SERL pickles, Parquet shards and LeRobot data sets.

    The format of the input is found out. LeRobot has no observation after the last action of an episode: read from it,
    an episode that was terminated ends in its last image twice, and any other is one transition shorter.
    """

    title: ClassVar[str] = "conversion"

    source: Annotated[str, Role.POSITIONAL]
    """Demonstrations to read: a pickle, a folder of shards or pickles, a LeRobot folder, a pattern, or a URI of
    these."""
    target: Annotated[Path, Role.POSITIONAL]
    """New name to write to: a .pkl file for a pickle, otherwise a folder."""
    to: TargetFormat | None = None
    """Format to write; by default a pickle where the target ends in .pkl, otherwise Parquet."""
    videos: bool = False
    """Write LeRobot's cameras as H.264 videos, which are small and lose detail, in place of exact PNG images."""
    fps: Annotated[int, Ge(1)] | None = None
    """Control steps per second, for LeRobot; by default those of a LeRobot source, otherwise 10."""
    task: str | None = None
    """Description of what the robot does, for LeRobot; by default that of a LeRobot source, otherwise
    "demonstration"."""
    reading: ReadingOptions = Field(default_factory=ReadingOptions)
    grippers: tuple[int, ...] | None = None
    """Indices of the actions that are grippers' commands, for --rescale_actions; by default those that are always -1,
    0, 1 or 0, 1, 2, and not always 0."""
    gripper_values: tuple[FiniteFloat, FiniteFloat] | None = None
    """Values that close and open a gripper, such as 0 1, for --rescale_actions; hold is between them. By default -1 1,
    or 0 2."""

    @property
    def format(self) -> TargetFormat:
        """The format to write."""
        return self.to or ("pickle" if self.target.suffix in PICKLES else "parquet")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.target.suffix in PICKLES) != (self.format == "pickle"):
            raise ValueError(
                f"target is {self.target}, and to is {self.format}: a pickle ends in .pkl and nothing else does."
            )
        if self.videos and not self.format.startswith("lerobot"):
            raise ValueError(
                f"videos are for LeRobot data sets, not for {self.format}: add --to lerobot-v3, or leave it out."
            )
        if not self.format.startswith("lerobot") and (given := self.model_fields_set & {"fps", "task"}):
            raise ValueError(f"{min(given)} is for LeRobot data sets, not for {self.format}: leave it out.")
        for name in ("grippers", "gripper_values"):
            if getattr(self, name) is not None and not self.reading.rescale_actions:
                raise ValueError(f"{name} are for --rescale_actions: add it, or leave them out.")
        if self.gripper_values and self.gripper_values[0] == self.gripper_values[1]:
            raise ValueError(
                f"gripper_values are {self.gripper_values[0]:g} twice: a value that closes, and another that opens."
            )
        return self


def main(argv: Sequence[str]) -> None:
    """Converts, and prints what was written."""
    options = Convert.of(**given_options("serl convert", argv, Convert))

    from serl_ray.data.convert import convert, format_like
    from serl_ray.data.formats.lerobot.folder import V2, V3
    from serl_ray.data.formats.lerobot.reader import LeRobotOptions

    version = V2 if options.format == "lerobot-v2.1" else V3
    style = format_like(options.source, version, options.videos, options.fps, options.task)
    reading = options.reading
    kind: Any = options.format.split("-")[0]
    lerobot = LeRobotOptions(
        reading.episodes_succeed, reading.rescale_actions, options.grippers, options.gripper_values
    )
    done = convert(options.source, options.target, kind, style, lerobot, reading.skip_bad, reading.clip_actions)
    print("".join(f"{line}\n" for line in done.clipping()), end="")
    if done.scale:
        print("\n".join(done.scale.lines()))
        print(_deployment(options))
    print(f"{options.target}: {done.num_episodes} episodes, {done.num_transitions} transitions, {options.format}.")


def _deployment(options: Convert) -> str:
    """Instructions to undo the division of the actions."""
    stored = (
        "The shards store the divisors"
        if options.format == "parquet"
        else f"A {options.format} does not store the divisors"
    )
    env = (
        "An env for the trained policy has an action space of these limits, or one of -1 to 1 and multiplies by them "
        "itself."
    )
    return f"{stored}. {env}" if options.format == "parquet" else f"{stored}: an env multiplies by them itself."
