"""Result of one check of a robot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

CheckVerdict = Literal["fine", "note", "wrong", "unknown"]


@dataclass(frozen=True)
class Curve:
    """Line in the plot of a check.

    Attributes:
        label: name in the legend.
        values: values (n,).
    """

    label: str
    values: np.ndarray


@dataclass(frozen=True)
class RobotCheck:
    """Result of one check, as the report shows it.

    Attributes:
        title: name of the check, with the camera where it is about one.
        verdict: fine, note (worth reading), wrong, or unknown where it cannot be told.
        text: one or more sentences with the number, and with the fix where it is wrong.
        images: images (H, W, 3) uint8 with their captions.
        curves: lines of a plot over steps.
        is_certain: whether nothing else explains what is wrong.
    """

    title: str
    verdict: CheckVerdict
    text: str
    images: Sequence[tuple[str, np.ndarray]] = ()
    curves: Sequence[Curve] = ()
    is_certain: bool = False

    def __str__(self) -> str:
        return f"{self.verdict}: {self.title}. {self.text}"
