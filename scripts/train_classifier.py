"""Trains a reward classifier on success and failure frames, and says how far it can be trusted."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import tyro

from serl_ray.classifier.report import MOST_WRONG_FILE, REPORT_FILE
from serl_ray.classifier.train import ClassifierSettings, train_classifier
from serl_ray.cluster import start_ray


@dataclass
class TrainClassifier(ClassifierSettings):
    """Trains a reward classifier on success and failure frames, and says how far it can be trusted."""


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
    main(tyro.cli(TrainClassifier, use_underscores=True))
