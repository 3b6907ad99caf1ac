"""Trains a policy on demonstrations and its own experience."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from serl_ray.evaluate import record_video
from serl_ray.settings import PRESETS, HybridSettings
from serl_ray.training import CHECKPOINT, CURVE, RunOptions, train


@dataclass
class TrainHybrid(HybridSettings):
    """Trains a policy on demonstrations and its own experience."""

    run: tyro.conf.OmitArgPrefixes[RunOptions] = None
