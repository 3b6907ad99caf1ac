"""Shapes and dtypes of the arrays in a Parquet file of segments, as they are described in its metadata."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from serl_ray.data.schema import ArraySpec, Segment

VERSION = 1
METADATA_KEY = b"serl_ray"
NUMBER_CODES = re.compile(r"[<>|=]?[biuf]\d{1,2}")
"""Codes of the dtypes allowed in a file."""


@dataclass(frozen=True)
class Layout:
    """Shapes and dtypes of the arrays in a file."""

    observations: dict[str, ArraySpec]
    action_dim: int

    @classmethod
    def of(cls, segment: Segment) -> Layout:
        return cls(segment.observation_spec, segment.actions.shape[1])

    @classmethod
    def from_file(cls, file: pq.ParquetFile, path: str) -> Layout:
        text = (file.schema_arrow.metadata or {}).get(METADATA_KEY)
        if text is None:
            raise ValueError(
                f"{path}: a Parquet file that serl_ray did not write (no {METADATA_KEY.decode()!r} in its metadata)."
            )
        try:
            described = json.loads(text)
            if (version := described["version"]) == VERSION:
                specs = {key: _spec_of(spec) for key, spec in described["observations"].items()}
                return cls(specs, _spec_of({"shape": [described["action_dim"]], "dtype": "f4"}).shape[0])
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            fault = f"{type(error).__name__}: {error}"
            raise ValueError(f"{path}: its metadata are damaged ({fault}). Copy the file again.") from error
        raise ValueError(f"{path}: written in version {version} of the format; this release reads version {VERSION}.")

    def to_json(self) -> str:
        specs = {key: {"shape": spec.shape, "dtype": spec.dtype.str} for key, spec in self.observations.items()}
        return json.dumps({"version": VERSION, "observations": specs, "action_dim": self.action_dim})

    @property
    def actions(self) -> ArraySpec:
        return ArraySpec((self.action_dim,), np.dtype(np.float32))


def _spec_of(described: dict[str, Any]) -> ArraySpec:
    shape, dtype = described["shape"], described["dtype"]
    if not all(type(size) is int and 0 <= size < 2**31 for size in shape) or not NUMBER_CODES.fullmatch(dtype):
        raise ValueError(f"an array of shape {shape!r:.60} and dtype {dtype!r:.60}")
    return ArraySpec(shape, dtype)
