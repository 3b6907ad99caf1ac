"""The first item of a pickled list, without reading the rest of the file."""

from __future__ import annotations

import io
import pickletools
from os import PathLike
from typing import BinaryIO

from serl_ray.files.unzip import open_unzipped

LIST_INSTRUCTIONS = ("EMPTY_LIST", "LIST")
NOT_VALUES = ("PROTO", "FRAME")
APPEND_AND_STOP = b"e."
"""Ends a list to which an item was about to be appended, and the pickle."""


def open_first_item(path: str | PathLike[str]) -> BinaryIO:
    """A pickle of a list as one of a list with its first items alone; any other file as it is.

    Items are told apart by the instructions, which are followed as `pickletools.dis` does; nothing is loaded.
    """
    file = open_unzipped(path)
    try:
        head = _head(file)
    except ValueError:  # damaged, which is said by whoever loads it
        head = None
    file.seek(0)
    if head is None:
        return file
    file.close()
    return io.BytesIO(head)


def _head(file: BinaryIO) -> bytes | None:
    """The instructions up to the end of the first item of a list; None where there is no such."""
    depth = 0
    marks: list[int] = []
    frames: list[tuple[int, int]] = []
    for instruction, _, start in pickletools.genops(file):
        if instruction.name == "FRAME":  # it counts bytes that the head lacks
            frames.append((start or 0, file.tell()))
        depth = _depth_after(instruction, depth, marks)
        if depth == 1 and not marks and instruction.name not in NOT_VALUES:
            if instruction.name.startswith("APPEND"):
                return _cut(file, frames, b".")
            if instruction.name not in (*LIST_INSTRUCTIONS, *_REMEMBER):
                return None
        if instruction.name.startswith("SETITEM") and (depth, marks) == (3, [1]):  # list, mark, dict
            return _cut(file, frames, APPEND_AND_STOP)
    return None


_REMEMBER = ("MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT")


def _depth_after(instruction: pickletools.OpcodeInfo, depth: int, marks: list[int]) -> int:
    """Depth of the stack after an instruction; `marks` has the depth below each mark."""
    before, after = instruction.stack_before, instruction.stack_after
    if instruction.name == "MARK":
        marks.append(depth)
        return depth + 1
    if pickletools.markobject in before:
        if not marks:
            raise ValueError(f"{instruction.name} without a mark")
        return marks.pop() - before.index(pickletools.markobject) + len(after)
    return depth - len(before) + len(after)


def _cut(file: BinaryIO, frames: list[tuple[int, int]], ending: bytes) -> bytes:
    stop = file.tell()
    file.seek(0)
    head = bytearray(file.read(stop))
    for start, end in reversed(frames):
        del head[start:end]
    return bytes(head + ending)
