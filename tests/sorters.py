"""A sorter in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from serl_ray.files.images import encode
from serl_ray.teleop.sorting import Sorter, SortingError, SortItem, SortLabel, UnknownItemError


class ListSorter(Sorter):
    """Items whose images have a colour of their own.

    Args:
        size: number of items.
        cameras: their cameras.

    Attributes:
        pressed: items and labels in the order in which they were given, without those that were taken back.
        is_finished: whether `finish` was called.
        shown: items and cameras whose images were asked for.
    """

    def __init__(self, size: int, cameras: Sequence[str] = ("front", "wrist")) -> None:
        names = [f"item-{number}" for number in range(size)]
        self._items = {name: SortItem(name, f"episode 1, step {i}", tuple(cameras)) for i, name in enumerate(names)}
        self.pressed: list[tuple[str, SortLabel]] = []
        self.is_finished = False
        self.shown: set[tuple[str, str]] = set()

    def explanation(self) -> str:
        return "These images are of a test."

    def items(self) -> Sequence[SortItem]:
        labels = dict(self.pressed)
        return [replace(item, label=labels.get(name), is_sorted=name in labels) for name, item in self._items.items()]

    def image(self, item: str, camera: str) -> bytes:
        if item not in self._items or camera not in self._items[item].cameras:
            raise UnknownItemError(f"There is no image of {item!r:.40} by {camera!r:.40}.")
        self.shown.add((item, camera))
        colour = [37 * list(self._items).index(item) % 256, 90, 200 if camera == "front" else 40]
        return encode(np.full((24, 32, 3), colour, np.uint8))

    def sort(self, item: str, label: SortLabel) -> None:
        if item not in self._items:
            raise UnknownItemError(f"There is no item {item!r:.40}.")
        self.pressed.append((item, label))

    def undo(self) -> str | None:
        return self.pressed.pop()[0] if self.pressed else None

    @property
    def finish_label(self) -> str:
        return "Store"

    def finish(self) -> None:
        if self.is_finished:
            raise SortingError("It is stored already.")
        self.is_finished = True
