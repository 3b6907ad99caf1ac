"""The robot of somebody who follows the documentation."""

from __future__ import annotations

from fake_envs import FakeEnv


class Robot(FakeEnv):
    """Stands for an own env."""
