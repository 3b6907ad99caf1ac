"""Check of a run whose envs are robots on other computers, each of which has one env."""

from __future__ import annotations

from serl_ray.options.sets import HybridOptions
from serl_ray.utils.options import OptionError


def check_robots(options: HybridOptions, evaluation_workers: int, envs_per_worker: int) -> None:
    """Raises OptionError where envs would need more robots than the run has workers."""
    if options.evaluation.evaluate_every and not evaluation_workers:
        raise OptionError(
            f"evaluate_every is {options.evaluation.evaluate_every}, and evaluations would need a second env of "
            "the same robot: take --evaluate_every 0, and serl evaluate afterwards. With a second robot take "
            "--evaluation_workers 1."
        )
    if options.collecting.expert_interventions:
        raise OptionError(
            f"expert_interventions is {options.collecting.expert_interventions:g}, and the expert_action() of a "
            "robot on another computer is not asked for over the network: take --operator in its place."
        )
    if envs_per_worker > 1:
        raise OptionError(
            f"envs_per_worker is {envs_per_worker}, and a worker steps its envs in turn, so that each "
            "robot would wait for the others: take --envs_per_worker 1 and --num_workers for several robots."
        )
