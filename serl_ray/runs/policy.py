"""The policy of a run, and an env to play it in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import torch

from serl_ray.agents.agent import Agent
from serl_ray.agents.checkpoint import load_agent
from serl_ray.envs.make import make_env
from serl_ray.options.sets import TrainingOptions
from serl_ray.rllib.checkpoint import AGENT_DIR, RUN_FILE, checked_env, checkpoint_of, read_run
from serl_ray.utils.options import OptionError, names_of


def load_policy(run: Path, device: torch.device | str = "cpu", **options: Any) -> tuple[Agent, gymnasium.Env]:
    """The agent of a run's newest checkpoint, and an env like the one it was trained in.

    Args:
        run: the run folder, or a checkpoint; `runs.folder.choose_checkpoint` finds the best one.
        device: device on which the agent acts.
        options: options in which the env differs. A checkpoint may come from anybody: an env of your own, whose code runs, must
            be named here.

    Raises:
        ValueError: no env is named that may be made.
    """
    path = checkpoint_of(run)
    saved = read_run(path)["options"]
    options = options | {"env_name": checked_env(path, saved, options.get("env_name"))}
    described = _options_of(path, saved).replace(**options)
    if described.env.env_name is None:
        raise ValueError(f"{run} was trained without an env. Name one to play its policy in: --env_name tabletop.")
    return load_agent(path / AGENT_DIR, device), make_env(**described.env_config())


def success_return_of(run: Path) -> float | None:
    """The sum of rewards from which an episode of a run is a success; None if the env's `info["success"]` decides."""
    path = checkpoint_of(run)
    return _options_of(path, read_run(path)["options"]).reward.success_return


def _options_of(path: Path, saved: dict[str, Any]) -> TrainingOptions:
    try:
        return TrainingOptions.of(**{name: saved[name] for name in names_of(TrainingOptions) if name in saved})
    except OptionError as error:
        raise ValueError(f"{path / RUN_FILE} is damaged: {error} Take another copy of the checkpoint.") from error
