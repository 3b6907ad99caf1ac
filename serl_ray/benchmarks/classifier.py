"""A learned reward in place of the true one, by the commands that a user types, on the pick-up task."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from serl_ray.benchmarks.commands import SETUP_MODE, cameras_of, run_serl, words
from serl_ray.benchmarks.timing import Row, print_report
from serl_ray.data.observations import stack_observations
from serl_ray.files.pickles import load_pickle
from serl_ray.networks.classifier import CLASSIFIER_FILE, RewardClassifier
from serl_ray.runs.log import read_results
from serl_ray.runs.plots import plot_success_curves
from serl_ray.utils.options import Options

IMAGE_KEYS = cameras_of(SETUP_MODE)
NO_REWARDS = ("--env_kwargs", "rewards", "False")
FRESH_SEED = 50_000


class Classifier(Options):
    """Records images, trains a classifier, counts its false positives in fresh failing episodes, and trains policies by
    it and by the truth."""

    save_dir: Path = Path("runs/classifier")
    """Folder for images, classifier, runs and classifier.json."""
    episodes: int = 40
    """Episodes that the classifier is trained on, half of them failing."""
    fresh_episodes: int = 50
    """Failing episodes that its false positives are counted in."""
    success_frames: int = 2
    """Frames in a row that make a success, for the policy."""
    max_steps: int = 4000
    """Env steps of the policy's training; 0 for none."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Options of `serl train-classifier` and their values: num_epochs 30."""

    def run(self) -> None:
        """Records, trains and measures; recordings and classifiers in `save_dir` are used again."""
        frames, classifier = self.save_dir / "frames", self.save_dir / "classifier_ckpt"
        started = time.monotonic()
        if not frames.exists():
            self._record("--classifier_data", str(frames), "--episodes", str(self.episodes))
        recorded = time.monotonic()
        if not classifier.exists():
            flags = ["--success_dir", str(frames / "success"), "--failure_dir", str(frames / "failure")]
            options = ["--image_keys", *IMAGE_KEYS, "--output_dir", str(classifier), *words(self.settings)]
            run_serl("train-classifier", *flags, *options)
        trained = time.monotonic()
        described = json.loads((classifier / CLASSIFIER_FILE).read_text())
        promised = described["options"]["max_false_positive_rate"]
        rows = [
            Row("recording of images", (recorded - started) / 60, "min"),
            Row("training of the classifier", (trained - recorded) / 60, "min"),
            Row("AUC, held-out images", described["metrics"]["auc"], "", ">= 0.99"),
            Row("recall at the threshold, held-out images", described["metrics"]["recall"], ""),
            *self._false_positives(RewardClassifier.load(classifier), promised),
        ]
        if self.max_steps:
            rows += self._policies(classifier)
        print_report("classifier", self.flat(), rows, self.save_dir)

    def _false_positives(self, classifier: RewardClassifier, promised: float) -> list[Row]:
        fresh = self.save_dir / "fresh"
        if not fresh.exists():
            episodes = str(2 * self.fresh_episodes)  # some succeed before the expert loses its way
            flags = ["--episodes", episodes, "--failing_share", "1", "--seed", str(FRESH_SEED)]
            self._record("--classifier_data", str(fresh), *flags)
        succeeded = {path.name for path in (fresh / "success").glob("*.pkl")}
        failing = [path for path in sorted((fresh / "failure").glob("*.pkl")) if path.name not in succeeded]
        called = [self._called(classifier, path) for path in failing[: self.fresh_episodes]]
        in_a_row = [
            any(all(c[i : i + self.success_frames]) for i in range(len(c) - self.success_frames + 1)) for c in called
        ]
        return [
            Row("fresh failing episodes", len(called), ""),
            Row("false-positive rate, their images", float(np.concatenate(called).mean()), "", f"<= {promised}"),
            Row(f"share of them with {self.success_frames} false positives in a row", float(np.mean(in_a_row)), ""),
        ]

    def _called(self, classifier: RewardClassifier, path: Path) -> np.ndarray:
        """The images of an episode that are called a success."""
        observations = [item["observations"] for item in load_pickle(path)]
        return classifier.predict_success(stack_observations(observations))[1]

    def _policies(self, classifier: Path) -> list[Row]:
        """Trains by the classifier's verdict, on demonstrations that it has judged, and by the true reward, and draws
        the success of both in training, as their rewards have it. At the end `info["success"]` tells the truth of
        either.
        """
        learned = [*NO_REWARDS, "--classifier", str(classifier), "--success_frames", str(self.success_frames)]
        positives = ["--positives_dir", str(self.save_dir / "positives")]
        by_verdict, minutes = self._policy("learned", "by the classifier's verdict", learned, positives)
        by_truth, _ = self._policy("true", "by the true reward", [], [])
        plot_success_curves([by_verdict, by_truth], self.save_dir / "curves.png")
        return [
            Row("training of the policy", minutes, "min"),
            Row("success by the classifier, 50 episodes", by_verdict["success"], ""),
            Row("success in truth, 50 episodes", by_verdict["true_success"], "", ">= 0.8"),
            Row("success of a policy trained by the true reward, 50 episodes", by_truth["true_success"], ""),
        ]

    def _policy(self, name: str, label: str, reward: list[str], positives: list[str]) -> tuple[dict[str, Any], float]:
        demos, run = self.save_dir / f"demos-{name}.pkl", self.save_dir / f"hybrid-{name}"
        started = time.monotonic()
        if not demos.exists():
            run_serl("record", "--output", str(demos), "--image_keys", *IMAGE_KEYS, *reward)
        if not run.exists():
            flags = [
                "--preset",
                "tabletop",
                "--image_keys",
                *IMAGE_KEYS,
                "--demo_paths",
                str(demos),
                "--num_workers",
                "1",
            ]
            flags += ["--evaluation_workers", "1", "--max_steps", str(self.max_steps), "--evaluation_episodes", "50"]
            run_serl("train", *flags, *reward, *positives, "--save_dir", str(run))
        minutes = (time.monotonic() - started) / 60
        results = read_results(run / "logs")
        curve = {
            int(result["env/steps"]): result["env/success_rate"] for result in results if "env/success_rate" in result
        }
        last = {key: results[-1][f"evaluation/{key}_rate"] for key in ("success", "true_success")}
        return {"env": "tabletop", "setup_mode": SETUP_MODE, "label": label, "curve": curve, **last}, minutes

    def _record(self, *flags: str) -> None:
        run_serl("record", "--image_keys", *IMAGE_KEYS, *NO_REWARDS, *flags)
