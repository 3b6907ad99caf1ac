"""The one scale of the actions in a run's demonstrations."""

from __future__ import annotations

from collections.abc import Sequence

from serl_ray.data.demos import PARQUET, find_files
from serl_ray.data.errors import DemoError
from serl_ray.data.formats.lerobot.folder import folder_of
from serl_ray.data.formats.parquet import scale_of
from serl_ray.files.uris import suffix
from serl_ray.types import ActionScale


def scale_of_demos(paths: str | Sequence[str], skip_bad: bool = False) -> ActionScale | None:
    """The scale by which the actions of demonstrations were mapped to [-1, 1]; None if they were recorded so.

    Args:
        paths: paths of the demonstrations; see `find_files`.
        skip_bad: whether unreadable files count as without a scale, since nothing else is read from them.

    Raises:
        DemoError: two files have different scales, or one is damaged.
    """
    first: tuple[str, ActionScale] | None = None
    for file in find_files(paths):
        scale = _scale_of(file, skip_bad)
        if first and scale and scale != first[1]:
            raise DemoError(
                f"{file}: its actions were divided by other numbers than those of {first[0]}, so that 1 means another "
                "motion. Convert both data sets in one conversion: serl convert 'SETS/*' TARGET --rescale_actions."
            )
        if scale and not first:
            first = (file, scale)
    return first and first[1]


def _scale_of(file: str, skip_bad: bool) -> ActionScale | None:
    if suffix(file) != PARQUET or folder_of(file) is not None:
        return None
    try:
        return scale_of(file)
    except ValueError as error:
        if skip_bad:
            return None
        raise DemoError(str(error)) from error
