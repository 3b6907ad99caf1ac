"""Hybrid training on RLlib's classic stack. Nothing outside this package touches RLlib."""

from serl_ray.rllib.algorithm import SERL
from serl_ray.rllib.config import SERLConfig

__all__ = ["SERL", "SERLConfig"]
