"""`serl check-env`: whether an env keeps the contract."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Self

from annotated_types import Ge
from pydantic import AfterValidator, Field, FiniteFloat

from serl_ray.cli.parser import given_options
from serl_ray.data.rewards import DEFAULT_BOUND
from serl_ray.options.groups import EnvSource, RewardChoice
from serl_ray.options.presets import with_reward_defaults
from serl_ray.utils.options import Options, each_once


class CheckEnv(Options):
    """Check an env against the contract (docs/env_contract.md), and print what is wrong with it and how to fix it."""

    title: ClassVar[str] = "env"

    env: EnvSource = Field(default_factory=EnvSource)
    image_keys: Annotated[tuple[str, ...] | None, AfterValidator(each_once)] = None
    """Cameras that the policy will see; by default all that the env shows are checked. A bundled env switches them
    on."""
    state_keys: Annotated[tuple[str, ...] | None, AfterValidator(each_once)] = None
    """Vectors that are joined to the policy's state; by default those of a run."""
    reward: RewardChoice = Field(default_factory=RewardChoice)
    max_return: FiniteFloat | None = DEFAULT_BOUND.max_return
    """Greatest return of an episode, which its rewards must not exceed; None for no bound, as with --reward dense."""
    steps: Annotated[int, Ge(1)] = 50
    """Random actions to execute. On a robot, keep a hand at the emergency stop."""

    @classmethod
    def of(cls, **values: Any) -> Self:
        """The defaults with some options changed by name, and with what follows from the kind of reward."""
        return super().of(**with_reward_defaults(values, cls))


def main(argv: Sequence[str]) -> int:
    """Prints the report; returns 1 where the env has problems."""
    options = CheckEnv.of(**given_options("serl check-env", argv, CheckEnv))

    from serl_ray.envs import build_env, inspect_env

    env = build_env(**options.env.source(), image_keys=options.image_keys or ())
    report = inspect_env(
        env,
        options.env.setup_mode,
        options.steps,
        image_keys=options.image_keys,
        state_keys=options.state_keys,
        bound=replace(DEFAULT_BOUND, max_return=options.max_return),
    )
    print(report)
    env.close()
    return int(bool(report.problems))
