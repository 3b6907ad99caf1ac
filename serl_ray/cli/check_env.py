"""`serl check-env`: whether an env keeps the contract."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, ClassVar

from annotated_types import Ge
from pydantic import AfterValidator, FiniteFloat

from serl_ray.cli.parser import given_options
from serl_ray.data.rewards import DEFAULT_BOUND
from serl_ray.options.presets import RewardKind
from serl_ray.types import SetupMode
from serl_ray.utils.options import Options, each_once


class CheckEnv(Options):
    """Check an env against the contract (docs/env_contract.md), and print what is wrong with it and how to fix it."""

    title: ClassVar[str] = "env"

    env_name: str = "tabletop"
    """Env to check: tabletop, gym-hil, or for your own package.module:Class or a gymnasium id."""
    setup_mode: SetupMode = "single-arm-learned-gripper"
    """Number of arms, and whether their grippers are learned."""
    image_keys: Annotated[tuple[str, ...] | None, AfterValidator(each_once)] = None
    """Cameras that the policy will see; by default all that the env shows are checked. A bundled env switches them
    on."""
    state_keys: Annotated[tuple[str, ...] | None, AfterValidator(each_once)] = None
    """Vectors that are joined to the policy's state; by default those of a run."""
    env_kwargs: dict[str, Any] | None = None
    """Arguments of the env's constructor, as names and YAML values: ip 10.0.0.2 cameras '[front, wrist]'."""
    reward: RewardKind = "sparse"
    """Kind of reward: sparse (1 at success, which ends the episode, else 0), or dense (at every step)."""
    max_return: FiniteFloat | None = DEFAULT_BOUND.max_return
    """Greatest return of an episode, which a sparse reward must not exceed; None for no bound."""
    steps: Annotated[int, Ge(1)] = 50
    """Random actions to execute. On a robot, keep a hand at the emergency stop."""


def main(argv: Sequence[str]) -> int:
    """Prints the report; returns 1 where the env has problems."""
    options = CheckEnv(**given_options("serl check-env", argv, CheckEnv))

    from serl_ray.envs import build_env, inspect_env

    env = build_env(
        options.env_name,
        setup_mode=options.setup_mode,
        image_keys=options.image_keys or (),
        env_kwargs=options.env_kwargs,
    )
    bound = replace(DEFAULT_BOUND, max_return=None if options.reward == "dense" else options.max_return)
    report = inspect_env(
        env,
        options.setup_mode,
        options.steps,
        image_keys=options.image_keys,
        state_keys=options.state_keys,
        bound=bound,
    )
    print(report)
    env.close()
    return int(bool(report.problems))
