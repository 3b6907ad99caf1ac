"""The scene between two episodes of a training run: who puts it in order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium

from serl_ray.agents.checkpoint import load_agent
from serl_ray.envs.policy_resets import PolicyResets
from serl_ray.evaluation.rollouts import deterministic
from serl_ray.files.paths import absolute
from serl_ray.options.sets import HybridOptions
from serl_ray.rllib.action_scale import to_contract
from serl_ray.rllib.agreement import check_contract, described_observations
from serl_ray.rllib.checkpoint import AGENT_DIR, checkpoint_of, read_run
from serl_ray.teleop.terminal_resets import check_terminal


def between_episodes(options: HybridOptions, num_remote: int) -> dict[str, Any]:
    """The part of `env_config` that is about the scene between two episodes.

    Args:
        options: options of the run.
        num_remote: number of rollout and evaluation workers in processes of their own, which have no terminal.

    Raises:
        OptionError: a person is asked who could not answer.
    """
    resets = options.resets
    run = resets.reset_policy and {"run": absolute(resets.reset_policy), "steps": resets.reset_steps}
    return {"asks_at_terminal": _terminal_question(options, num_remote), "reset_policy": run or None}


def _terminal_question(options: HybridOptions, num_remote: int) -> str:
    """The sentence that asks a person at the terminal to put the scene in order; empty where nobody is asked there."""
    if options.resets.reset_by == "env" or options.operator.operated:
        return ""
    fix = "take --operator, for a page in a browser, or --num_workers 0 and --evaluation_workers 0 in a terminal"
    check_terminal(fix, has_one=not num_remote)
    return options.resets.asks


def with_reset_policy(env: gymnasium.Env, run: str, steps: int, env_config: dict[str, Any]) -> PolicyResets:
    """The env with a second policy that acts before each episode.

    Args:
        env: env from `make_env`.
        run: folder of the policy's run, or a checkpoint.
        steps: number of steps that it takes.
        env_config: the arguments of `make_env`.

    Raises:
        FileNotFoundError: there is no checkpoint.
        ValueError: the policy is of an env with another contract; the part that differs is named.
    """
    path = checkpoint_of(Path(run))
    saved = read_run(path)["contract"]
    space: Any = env.observation_space
    actions: Any = env.action_space
    ours = {"observations": described_observations(space), "action_dim": actions.shape[0]}
    ours |= {"control_hz": env_config["control_hz"], **to_contract(env_config["action_scale"])}
    check_contract(path, saved, ours)
    return PolicyResets(env, deterministic(load_agent(path / AGENT_DIR, "cpu")), steps)
