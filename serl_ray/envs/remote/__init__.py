"""Robots that another computer moves: they dial in, and a rollout worker steps them as it steps any env."""

from serl_ray.envs.remote.env import RemoteEnv

__all__ = ["RemoteEnv"]
