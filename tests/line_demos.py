"""Demonstrations of the small env's expert."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from serl_ray.data.demos import write_demos
from serl_ray.envs.expert import ScriptedExpert
from serl_ray.envs.make import build_env
from serl_ray.envs.recording import record_successes
from serl_ray.types import ActionLayout

MODE = "single-arm-learned-gripper"


def record_line_demos(path: Path, episodes: int = 3, **env_kwargs: Any) -> str:
    """Records successful episodes of LineEnv, whose arguments may be given; returns their path."""
    env = build_env("line_envs:LineEnv", setup_mode=MODE, env_kwargs=env_kwargs)
    expert = ScriptedExpert(env, ActionLayout.from_setup(MODE, 7), noise=0.2)
    write_demos(path, record_successes(env, expert.act, episodes=episodes, seed=0))
    return str(path)
