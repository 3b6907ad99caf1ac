"""Franka arms by the server of the original HIL-SERL."""

from serl_ray.envs.franka.env import FrankaServerEnv

__all__ = ["FrankaServerEnv"]
