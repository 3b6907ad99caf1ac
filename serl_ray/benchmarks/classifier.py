"""Whether a learned reward can take the place of the true one: by the commands that a person types, on the pick-up task."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from serl_ray.benchmarks.timing import Row, report
from serl_ray.data.observations import stack_observations
from serl_ray.data.pickles import load_pickle
from serl_ray.networks.classifier import CONFIG_FILE, RewardClassifier
from serl_ray.run_log import read_results

SCRIPTS = Path(__file__).parents[2] / "scripts"
CAMERAS = ("image", "wrist")
NO_REWARDS = ("--env_kwargs", "rewards", "False")
FRESH_SEED = 50_000


@dataclass
class Classifier:
    """Records frames, trains a classifier, counts its false positives in fresh failing episodes, and trains a policy by it."""

    output: Path = Path("runs/classifier")
    """Folder for frames, classifier, runs and classifier.json."""
    episodes: int = 40
    """Episodes that the classifier is trained on, half of them failing."""
    fresh_episodes: int = 50
    """Failing episodes that its false positives are counted in."""
    success_frames: int = 2
    """Frames in a row that make a success, for the policy."""
    max_steps: int = 4000
    """Env steps of the policy's training; 0 for none."""
    settings: dict[str, str] = field(default_factory=dict)
    """Options of train_classifier.py and their values: num_epochs 30."""

    def run(self) -> None:
        """What lies in `output` already is not made again."""
        frames, classifier = self.output / "frames", self.output / "classifier_ckpt"
        started = time.monotonic()
        if not frames.exists():
            self._record("--classifier_data", str(frames), "--episodes", str(self.episodes))
        recorded = time.monotonic()
        if not classifier.exists():
            flags = ["--success_dir", str(frames / "success"), "--failure_dir", str(frames / "failure")]
            options = [word for option, value in self.settings.items() for word in (f"--{option}", value)]
            _script("train_classifier.py", *flags, "--image_keys", *CAMERAS, "--output_dir", str(classifier), *options)
        trained = time.monotonic()
        described = json.loads((classifier / CONFIG_FILE).read_text())
        promised = described["settings"]["max_false_positive_rate"]
        rows = [
            Row("recording of frames", (recorded - started) / 60, "min"),
            Row("training of the classifier", (trained - recorded) / 60, "min"),
            Row("AUC, held-out frames", described["metrics"]["auc"], "", ">= 0.99"),
            Row("recall at the threshold, held-out frames", described["metrics"]["recall"], ""),
            *self._false_positives(RewardClassifier.load(classifier), promised),
        ]
        if self.max_steps:
            rows += self._policy(classifier)
        report("classifier", vars(self), rows, self.output)

    def _false_positives(self, classifier: RewardClassifier, promised: float) -> list[Row]:
        fresh = self.output / "fresh"
        if not fresh.exists():
            flags = ["--episodes", str(self.fresh_episodes), "--failing_share", "1", "--seed", str(FRESH_SEED)]
            self._record("--classifier_data", str(fresh), *flags)
        succeeded = {path.name for path in (fresh / "success").glob("*.pkl")}
        failing = [path for path in sorted((fresh / "failure").glob("*.pkl")) if path.name not in succeeded]
        called = [self._called(classifier, path) for path in failing]
        in_a_row = [any(all(c[i : i + self.success_frames]) for i in range(len(c) - self.success_frames + 1)) for c in called]
        return [
            Row("fresh failing episodes", len(failing), ""),
            Row("false-positive rate, their frames", float(np.concatenate(called).mean()), "", f"<= {promised}"),
            Row(f"share of them with {self.success_frames} false positives in a row", float(np.mean(in_a_row)), ""),
        ]

    def _called(self, classifier: RewardClassifier, path: Path) -> np.ndarray:
        """Which frames of an episode are called a success."""
        observations = [item["observations"] for item in load_pickle(path)]
        return classifier.predict_success(stack_observations(observations))[1]

    def _policy(self, classifier: Path) -> list[Row]:
        """Trains on demonstrations and rewards that the classifier has judged; `info["success"]` tells the truth."""
        learned = [*NO_REWARDS, "--classifier", str(classifier), "--success_frames", str(self.success_frames)]
        demos, run = self.output / "demos.pkl", self.output / "hybrid_ckpt"
        started = time.monotonic()
        if not demos.exists():
            _script("record_demos.py", "--output", str(demos), "--image_keys", *CAMERAS, *learned)
        if not run.exists():
            flags = ["--preset", "tabletop", "--image_keys", *CAMERAS, "--demo_paths", str(demos), "--num_workers", "1"]
            flags += ["--evaluation_worker", "--max_steps", str(self.max_steps), "--evaluation_episodes", "50"]
            positives = ["--positives_dir", str(self.output / "positives")]
            _script("train_hybrid.py", *flags, *learned, *positives, "--save_dir", str(run))
        result = read_results(run / "logs")[-1]
        return [
            Row("training of the policy", (time.monotonic() - started) / 60, "min"),
            Row("success by the classifier, 50 episodes", result["evaluation/success_rate"], ""),
            Row("success in truth, 50 episodes", result["evaluation/true_success_rate"], "", ">= 0.8"),
        ]

    def _record(self, *flags: str) -> None:
        _script("record_demos.py", "--image_keys", *CAMERAS, *NO_REWARDS, *flags)


def _script(name: str, *flags: str) -> None:
    subprocess.run([sys.executable, str(SCRIPTS / name), *flags], check=True)
