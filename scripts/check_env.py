"""Checks an env against the contract (docs/env_contract.md): says what is wrong with it, and how to mend it."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import tyro

from serl_ray.envs import build_env, inspect_env
from serl_ray.types import SetupMode


@dataclass
class CheckArgs:
    """What to check."""

    env: str = "tabletop"
    """tabletop, gym-hil, or package.module:Class."""
    setup_mode: SetupMode = "single-arm-fixed-gripper"
    """How many arms, and whether their grippers are learned."""
    image_keys: tuple[str, ...] = ()
    """The cameras of a bundled env to switch on."""
    env_kwargs: str = "{}"
    """Arguments of the env's constructor, as JSON."""
    steps: int = 50
    """How many random actions are executed. On a robot, keep a hand at the stop."""


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the report; 1 where the env has problems, else 0."""
    args = tyro.cli(CheckArgs, args=argv, description=__doc__, use_underscores=True)
    env = build_env(args.env, setup_mode=args.setup_mode, image_keys=args.image_keys, env_kwargs=_parse_kwargs(args.env_kwargs))
    report = inspect_env(env, args.setup_mode, args.steps)
    env.close()
    print(report)
    return int(bool(report.problems))


def _parse_kwargs(text: str) -> dict[str, Any]:
    try:
        kwargs = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"--env_kwargs is {text!r}, which is not JSON ({error}): write it as '{{\"name\": 1}}'.") from error
    if not isinstance(kwargs, dict):
        raise ValueError(f"--env_kwargs is {text!r}: write a JSON object, as '{{\"name\": 1}}'.")
    return kwargs


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ValueError as error:
        sys.exit(f"error: {error}")
