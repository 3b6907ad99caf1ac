"""Measures what the README claims, a section at a time."""

from __future__ import annotations

import tyro

from serl_ray.benchmarks.acting import Acting
from serl_ray.benchmarks.learn import Learn
from serl_ray.benchmarks.learner import Learner
from serl_ray.benchmarks.replay import Replay

SECTIONS = {"learner": Learner, "replay": Replay, "acting": Acting, "learn": Learn}

if __name__ == "__main__":
    tyro.extras.subcommand_cli_from_dict(SECTIONS, use_underscores=True).run()
