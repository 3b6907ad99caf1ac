"""Resets by a person in a training run without a page of operators."""

from __future__ import annotations

from serl_ray.options.sets import HybridOptions
from serl_ray.teleop.terminal_resets import check_terminal


def terminal_question(options: HybridOptions, num_remote: int) -> str:
    """The sentence that asks a person at the terminal to put the scene in order; empty where nobody is asked there.

    Args:
        options: options of the run.
        num_remote: number of rollout and evaluation workers in processes of their own, which have no terminal.

    Raises:
        OptionError: nobody could answer.
    """
    if options.resets.reset_by == "env" or options.operator.operated:
        return ""
    fix = "take --operator, for a page in a browser, or --num_workers 0 and --evaluation_workers 0 in a terminal"
    check_terminal(fix, has_one=not num_remote)
    return options.resets.asks
