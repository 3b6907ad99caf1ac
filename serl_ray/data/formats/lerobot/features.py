"""The columns of a LeRobot data set and the fields of a segment."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from serl_ray.data.observations import CHANNELS, Keep, keep_all
from serl_ray.data.schema import ArraySpec

ACTION, REWARD, DONE, SUCCESS = "action", "next.reward", "next.done", "next.success"
TERMINATED, TRUNCATED, MASK = "next.terminated", "next.truncated", "next.mask"
COLUMNS = {
    "rewards": REWARD,
    "dones": DONE,
    "truncateds": TRUNCATED,
    "masks": MASK,
    "grasp_penalty": "complementary_info.discrete_penalty",
    "intervened": "complementary_info.is_intervention",
}
"""Columns of the fields with one number each: names of LeRobot's own HIL-SERL, except for time-outs and masks."""
OBSERVATION, IMAGES = "observation.", "observation.images."
IMAGE_DTYPES = ("image", "video")
NO_ARRAYS = ("string", "language", "audio")
MAX_AXES = 5
"""Largest number of axes of an array besides images; `datasets` has no type for more."""
NUMBER_DTYPES = re.compile(r"bool|u?int\d{1,2}|float\d{2}")
"""Allowed dtypes of numbers in a data set."""
TIMESTAMP = "timestamp"
INDICES = (TIMESTAMP, "frame_index", "episode_index", "index", "task_index")


def is_image(spec: ArraySpec) -> bool:
    """True if an observation is stored as an image."""
    return len(spec.shape) == 3 and spec.dtype == np.uint8 and spec.shape[-1] in CHANNELS


def column_of(key: str, spec: ArraySpec) -> str:
    """The column of an observation key."""
    return (IMAGES if is_image(spec) else OBSERVATION) + key


def key_of(column: str, feature: dict[str, Any]) -> str:
    """The observation key of a column."""
    prefix = IMAGES if feature["dtype"] in IMAGE_DTYPES and column.startswith(IMAGES) else OBSERVATION
    return column.removeprefix(prefix)


def is_observed(column: str, feature: Mapping[str, Any]) -> bool:
    """True for the column of an observation, which is no text."""
    return column.startswith(OBSERVATION) and feature["dtype"] not in NO_ARRAYS


def is_depth(feature: dict[str, Any]) -> bool:
    """True if a feature is flagged as a depth map, which holds distances in place of colours."""
    described = [feature, *(feature[name] for name in ("info", "video_info") if isinstance(feature.get(name), dict))]
    return any(part.get(name) is True for part in described for name in ("is_depth_map", "video.is_depth_map"))


def image_shape(feature: dict[str, Any]) -> tuple[int, ...]:
    """The shape (H, W, C) of a feature with images, which older data sets describe as (C, H, W)."""
    shape, names = tuple(feature["shape"]), feature.get("names")
    is_first, is_last = (len(shape) == 3 and shape[end] in CHANNELS for end in (0, -1))
    is_channels_first = is_first and not is_last
    if is_first and is_last and isinstance(names, list) and isinstance(names[0], str):
        is_channels_first = names[0].startswith("c")
    return (*shape[1:], shape[0]) if is_channels_first else shape


def observed(features: dict[str, dict[str, Any]], path: str, keep: Keep = keep_all) -> dict[str, str]:
    """The columns of the observations to keep by their keys, without text.

    Raises:
        ValueError: two columns have the same key, or a column has neither numbers, images nor text.
    """
    columns: dict[str, str] = {}
    for column, feature in features.items():
        if is_observed(column, feature):
            key = key_of(column, feature)
            if key in columns:
                raise ValueError(
                    f"{path}: {columns[key]} and {column} are both observation {key!r}. Rename one of them."
                )
            columns[key] = column
    kept = keep(columns)
    columns = {key: column for key, column in columns.items() if key in kept}
    for column in columns.values():
        if (dtype := features[column]["dtype"]) not in IMAGE_DTYPES and not _is_number(dtype):
            raise ValueError(f"{path}: {column} has dtype {dtype!r}, neither numbers nor images. Remove it.")
    return columns


def dataset_features(specs: dict[str, ArraySpec], action_dim: int, videos: bool) -> dict[str, dict[str, Any]]:
    """The features of a data set, in the order of its columns.

    Raises:
        ValueError: the format cannot hold an observation.
    """
    features: dict[str, dict[str, Any]] = {}
    for key, spec in specs.items():
        column = column_of(key, spec)
        _check_place(key, spec, videos)
        if column in features:
            raise ValueError(
                f"Observation {key!r}, {spec}: its column {column} is that of another observation. Rename one of them."
            )
        if is_image(spec):
            names = ["height", "width", "channels"]
            features[column] = _feature("video" if videos else "image", spec.shape, names)
        else:
            features[column] = _feature(spec.dtype.name, spec.shape)
    features[ACTION] = _feature("float32", (action_dim,))
    for field, column in COLUMNS.items():
        features[column] = _feature("bool" if field in ("dones", "truncateds", "intervened") else "float32", (1,))
    for column in INDICES:
        features[column] = _feature("float32" if column == "timestamp" else "int64", (1,))
    return features


def metadata(features: dict[str, dict[str, Any]]) -> dict[str, str]:
    """The metadata of a data file, by which LeRobot v2.1 recognises images."""
    types = {column: _type_of(feature) for column, feature in features.items() if feature["dtype"] != "video"}
    return {"huggingface": json.dumps({"info": {"features": types}})}


def _is_number(dtype: Any) -> bool:
    return isinstance(dtype, str) and NUMBER_DTYPES.fullmatch(dtype) is not None


def _type_of(feature: dict[str, Any]) -> dict[str, Any]:
    dtype, shape = feature["dtype"], feature["shape"]
    if dtype == "image":
        return {"_type": "Image"}
    if len(shape) > 1:
        return {"shape": shape, "dtype": dtype, "_type": f"Array{len(shape)}D"}
    value = {"dtype": dtype, "_type": "Value"}
    return value if shape == [1] else {"feature": value, "length": shape[0], "_type": "Sequence"}


def _check_place(key: str, spec: ArraySpec, videos: bool) -> None:
    if "/" in key or not spec.shape:
        raise ValueError(
            f"Observation {key!r}, {spec}: LeRobot has no names with a slash, and no arrays without an axis."
        )
    if len(spec.shape) > MAX_AXES or 0 in spec.shape or spec.dtype.kind not in "biuf":
        raise ValueError(
            f"Observation {key!r}, {spec}: LeRobot holds numbers with 1 to {MAX_AXES} axes, none empty. Leave it out."
        )
    if videos and is_image(spec) and (spec.shape[0] % 2 or spec.shape[1] % 2 or spec.shape[2] != 3):
        raise ValueError(
            f"Observation {key!r}, {spec}: a video needs an even height and width and 3 channels. Leave out --videos."
        )


def _feature(dtype: str, shape: tuple[int, ...], names: list[str] | None = None) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "names": names}
