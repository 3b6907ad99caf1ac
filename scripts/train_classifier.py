"""Trains a reward classifier on success and failure frames, and says how far it can be trusted."""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

from serl_ray.classifier.report import MOST_WRONG_FILE, REPORT_FILE
from serl_ray.classifier.train import ClassifierSettings, train_classifier
from serl_ray.cluster.start import start_ray
from serl_ray.command_line import parse_on_top


@dataclass
class Config:
    """Where options are beside the flags."""

    config: Path | None = None
    """A YAML file of options, such as the best.yaml of a sweep; flags count before it."""


@dataclass
class TrainClassifier(Config, ClassifierSettings):
    """Trains a reward classifier on success and failure frames, and says how far it can be trusted."""


def parse(argv: list[str]) -> TrainClassifier:
    """The flags, on top of the file that is among them."""
    return parse_on_top(argv, TrainClassifier, Config, success_dir=tyro.MISSING, failure_dir=tyro.MISSING)


def main(args: TrainClassifier) -> None:
    """Trains, and prints the held-out metrics and what the threshold promises."""
    args.check()
    start_ray(args.num_workers)
    outcome = train_classifier(args)
    metrics, threshold = outcome.metrics, outcome.threshold
    print(f"Held out: AUC {metrics['auc']:.4f}, precision {metrics['precision']:.3f}, recall {metrics['recall']:.3f}.")
    print(
        f"Threshold {threshold.value:.3f}: {threshold.false_positives} of {threshold.failures} failure frames called a success, "
        f"a rate of at most {threshold.upper_bound:.4f} with 95 % confidence."
    )
    if not threshold.is_promised:
        print(
            f"This is more than --max_false_positive_rate {args.max_false_positive_rate}: {threshold.failures} held-out failure "
            f"frames are too few to promise it, or too like successes. Look at {args.output_dir / MOST_WRONG_FILE}; record more."
        )
    print(f"Classifier {args.output_dir}, report {args.output_dir / REPORT_FILE}")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    main(parse(sys.argv[1:]))
