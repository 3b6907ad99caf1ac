"""Trainables that Tune runs for a trial."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import ray
import ray.data
from ray import tune

from serl_ray.classifier.config import ClassifierOptions
from serl_ray.classifier.scores import CLASSIFIER_METRICS
from serl_ray.classifier.train import train_classifier
from serl_ray.rllib import SERL, OfflineSERL
from serl_ray.rllib.checkpoint import REPLAY_DIR
from serl_ray.sweeps.shared import frames_key


class _TidyTrial:
    """Keeps of a trial's replay what its checkpoints have; Tune stops trials, and starts them again from others'
    checkpoints."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        ray.data.DataContext.get_current().enable_progress_bars = False  # the sweep has one
        super().__init__(*args, **kwargs)

    def load_checkpoint(self, checkpoint_dir: str) -> None:
        super().load_checkpoint(checkpoint_dir)
        for log in self.logs.values():
            for shard in log.leftovers():
                shard.unlink()

    def cleanup(self) -> None:
        super().cleanup()
        shutil.rmtree(Path(self.logdir) / REPLAY_DIR, ignore_errors=True)


class HybridTrial(_TidyTrial, SERL):
    """A hybrid run."""


class OfflineTrial(_TidyTrial, OfflineSERL):
    """A run on demonstrations alone."""


def classifier_trial(config: dict[str, Any]) -> None:
    """A classifier, in a folder of the sweep."""
    options = dict(config)
    shared, folder = options.pop("shared"), Path(options.pop("folder")) / tune.get_context().get_trial_id()
    shutil.rmtree(folder, ignore_errors=True)  # of an attempt that was cut off
    options = ClassifierOptions(**options, save_dir=folder)
    outcome = train_classifier(options, ray.get(shared[frames_key(options)]))
    tune.report({name: outcome.metrics[name] for name in CLASSIFIER_METRICS})
