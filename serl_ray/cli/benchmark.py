"""`serl benchmark`: the measurements that the documentation quotes."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

from serl_ray.cli.parser import given_options
from serl_ray.utils.options import check_names

SECTIONS = {
    "learner": "Seconds of a learner step, from images and from stored maps.",
    "kernels": "Seconds of fast and plain forms of small operations.",
    "replay": "Seconds of sampling and inserting.",
    "acting": "Seconds of an action.",
    "start": "Seconds from the command of a training to its first steps.",
    "trunks": "Seconds of an image, bytes of its map and seconds of a learner step with each image trunk.",
    "rollout": "Env steps per second of rollout workers.",
    "operator": "Delay of the loop over an operator's page, and its cost for the robot.",
    "remote": "Rate and latency of robots on each path that a step takes, and training over the network.",
    "franka": "Success of a hybrid run by the server of a Franka arm.",
    "deploy": "Answer time of a policy in PyTorch, exported, and served to robots.",
    "overhead": "Seconds that the algorithm adds to a bare loop.",
    "tasks": "Tasks, their env steps per second, and what their experts reach.",
    "learn": "Success over env steps of methods on tasks.",
    "report": "Table and curves of runs that `learn` has left.",
    "interventions": "Env steps until success with a person who helps, at random, and without.",
    "maps": "Success from stored maps and from raw images.",
    "offline": "Reading and streaming of demonstrations.",
    "objectives": "Success of the objectives on demonstrations alone.",
    "classifier": "False positives of a classifier, and a policy that learns from its verdict.",
    "soak": "Memory and experience over hours with faults.",
    "scaling": "Env steps per second with several nodes.",
}
"""The sections, each a class with its name, capitalised, in the module of `serl_ray.benchmarks` with its name."""


def main(argv: Sequence[str]) -> None:
    """Runs a section, which prints a table and leaves JSON and plots in its folder."""
    if not argv or argv[0] in ("-h", "--help"):
        width = max(map(len, SECTIONS))
        lines = [f"  {name:<{width}}  {text}" for name, text in SECTIONS.items()]
        print("\n".join(["usage: serl benchmark SECTION [--FLAG VALUE ...]", "", *lines]))
        return
    section, *rest = argv
    check_names([section], SECTIONS, "section")
    options = getattr(importlib.import_module(f"serl_ray.benchmarks.{section}"), section.capitalize())
    options(**given_options(f"serl benchmark {section}", rest, options)).run()
