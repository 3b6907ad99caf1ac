"""Envs as they are written for RLlib."""

from __future__ import annotations

from line_envs import LineEnv


class TakesConfig(LineEnv):
    """Takes its arguments as RLlib passes them, in one."""

    def __init__(self, config) -> None:
        super().__init__(horizon=config.get("horizon", 20))
