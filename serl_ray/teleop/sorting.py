"""Sorting of images into success, failure and left out: what the page needs of it, whatever the images are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class SortLabel(StrEnum):
    """The class of an item."""

    SUCCESS = "success"
    FAILURE = "failure"
    LEFT_OUT = "left_out"
    """Neither; a classifier does not learn from it."""


class UnknownItemError(LookupError):
    """There is no such item, or it has no such camera."""


class SortingError(ValueError):
    """An operation that is not possible now; the message is a sentence for the operator."""


@dataclass(frozen=True)
class SortItem:
    """The images of all cameras at one moment.

    Attributes:
        id: name of the item among those of its sorter; it is no path.
        group: the items of a group are neighbours, such as `episode 3, step 41`; a sentence for the operator.
        cameras: cameras, in the order in which they are shown.
        label: class of the item; None where it has none yet.
        is_sorted: whether the operator has given the label, rather than a proposal.
        probability: probability of success by a classifier; None without one.
        note: short remark that is shown at the item, such as `vetoed`.
    """

    id: str
    group: str
    cameras: tuple[str, ...]
    label: SortLabel | None = None
    is_sorted: bool = False
    probability: float | None = None
    note: str = ""


class Sorter(ABC):
    """Items that an operator sorts. `SortingRoutes` calls it in threads, one call at a time, but for `image`, which may
    be called at any time."""

    @abstractmethod
    def explanation(self) -> str:
        """Sentences for the operator above the items: what is sorted, and where it goes."""

    @abstractmethod
    def items(self) -> Sequence[SortItem]:
        """All items, in the order in which they should be looked at."""

    @abstractmethod
    def image(self, item: str, camera: str) -> bytes:
        """The image of an item, as PNG or JPEG.

        Raises:
            UnknownItemError: there is no such item, or it has no such camera.
        """

    @abstractmethod
    def sort(self, item: str, label: SortLabel) -> None:
        """Gives an item its class, also where it has one already.

        Raises:
            UnknownItemError: there is no such item.
            SortingError: the item cannot be sorted now.
        """

    @abstractmethod
    def undo(self) -> str | None:
        """Takes the last `sort` back, and returns its item; None where there is nothing to take back.

        Raises:
            SortingError: it cannot be taken back.
        """

    @property
    def finish_label(self) -> str:
        """The words on the button that calls `finish`, such as `Store this episode`; empty for no such button."""
        return ""

    def finish(self) -> None:
        """The operator has sorted what there is.

        Raises:
            SortingError: it cannot be finished now, or there is nothing to finish.
        """
        raise SortingError("There is nothing to finish here.")
