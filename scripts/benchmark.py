"""Measures what the README claims, a section at a time."""

from __future__ import annotations

import tyro

from serl_ray.benchmarks.acting import Acting
from serl_ray.benchmarks.classifier import Classifier
from serl_ray.benchmarks.learn import Learn
from serl_ray.benchmarks.learner import Learner
from serl_ray.benchmarks.maps import Maps
from serl_ray.benchmarks.objectives import Objectives
from serl_ray.benchmarks.offline import Offline
from serl_ray.benchmarks.overhead import Overhead
from serl_ray.benchmarks.replay import Replay
from serl_ray.benchmarks.rollout import Rollout
from serl_ray.benchmarks.scaling import Scaling
from serl_ray.benchmarks.soak import Soak

SECTIONS = {
    "learner": Learner,
    "replay": Replay,
    "acting": Acting,
    "rollout": Rollout,
    "overhead": Overhead,
    "learn": Learn,
    "maps": Maps,
    "offline": Offline,
    "objectives": Objectives,
    "classifier": Classifier,
    "soak": Soak,
    "scaling": Scaling,
}

if __name__ == "__main__":
    tyro.extras.subcommand_cli_from_dict(SECTIONS, use_underscores=True).run()
