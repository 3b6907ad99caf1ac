"""Tabletop, the default simulator: peg and socket, cube, tray."""

from serl_ray.envs.tabletop.env import TabletopEnv

__all__ = ["TabletopEnv"]
