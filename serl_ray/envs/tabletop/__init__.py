"""Tabletop, the default simulator: tasks with a peg, a cube and a tray."""

from serl_ray.envs.tabletop.env import TabletopEnv

__all__ = ["TabletopEnv"]
