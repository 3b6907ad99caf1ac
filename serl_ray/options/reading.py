"""Options for reading demonstrations outside a run."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import model_validator

from serl_ray.utils.options import Options


class ReadingOptions(Options):
    """Reading of demonstrations outside a run."""

    title: ClassVar[str] = "reading"

    episodes_succeed: bool = False
    """Treat every episode of a LeRobot data set without rewards as a success: reward 1 at its end, 0 before."""
    rescale_actions: bool = False
    """Divide each number of LeRobot data sets' actions by its greatest absolute value in all of them; print the
    divisors."""
    clip_actions: bool = False
    """Clip the actions to -1 and 1, for recordings of envs that clip what they execute, such as HIL-SERL's; print the
    number of clipped actions."""
    skip_bad: bool = False
    """Leave out episodes that do not fit; print their number and what is wrong with the first."""

    @model_validator(mode="after")
    def _check_changes(self) -> Self:
        if self.rescale_actions and self.clip_actions:
            raise ValueError("rescale_actions and clip_actions both bring actions to [-1, 1]: choose one of them.")
        return self
