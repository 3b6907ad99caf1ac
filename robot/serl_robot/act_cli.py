"""The `serl-robot-act` command."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Sequence

from serl_robot.acting import run
from serl_robot.adapter import EnvFault
from serl_robot.cli import MISTAKES, UnknownEnv, add_env_kwargs, env_kwargs, exit_code, make_env
from serl_robot.policy import ContractPolicy, Policy, PolicyError
from serl_robot.remote_policy import RemotePolicy

EXAMPLE = "serl-robot-act policy my_robot:make_env --hz 10"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code: 0, 1 where the env failed, 2 for a mistake, 130 for an interrupt."""
    arguments = _parser().parse_args(argv)
    sys.path.insert(0, os.getcwd())  # as `python -m` does

    def act() -> None:
        is_served = arguments.policy.startswith(("ws://", "wss://"))
        policy: ContractPolicy = (RemotePolicy if is_served else Policy)(arguments.policy)
        env = make_env(arguments.env, env_kwargs(arguments.env_kwargs))
        run(env, policy, _rate(arguments.hz, policy), arguments.episodes)

    try:
        return exit_code("serl-robot-act", act, (*MISTAKES, PolicyError, UnknownEnv, ImportError))
    except EnvFault as error:
        print(f"serl-robot-act: the robot is stopped. {' '.join(str(error).split())}", file=sys.stderr)
        return 1


def _rate(asked: float | None, policy: ContractPolicy) -> float:
    rate = policy.control_hz if asked is None else asked
    if rate is None:
        raise PolicyError("The policy does not know the rate that it was trained at: give --hz.")
    return rate


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="serl-robot-act", description="Act with an exported policy on a robot.", epilog=f"Example: {EXAMPLE}."
    )
    parser.add_argument(
        "policy", help="Folder that serl export has written, or the address of serl serve, such as ws://gpu-box:8775."
    )
    parser.add_argument("env", help="Class or function that makes the env, such as my_robot:make_env.")
    parser.add_argument("--hz", type=float, help="Steps a second (default: those of the training, where known).")
    parser.add_argument("--episodes", type=int, help="Number of episodes (default: until Ctrl-C).")
    add_env_kwargs(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
