"""Evaluations of a run: when they begin, what becomes of them, and how to wait for one."""

from __future__ import annotations

import time

from ray.rllib.callbacks.callbacks import RLlibCallback

from serl_ray.evaluation.rollouts import Episode
from serl_ray.options.sets import TrainingOptions
from serl_ray.rllib.callbacks import NO_LOGGER
from serl_ray.rllib.evaluator import Evaluator
from serl_ray.rllib.failures import WorkerError
from serl_ray.rllib.metrics import MetricsLog
from serl_ray.rllib.results import evaluation_results
from serl_ray.rllib.sampling import RETRY_SECONDS

EVALUATION_ATTEMPTS = 60
"""Attempts before a failed final evaluation ends the run."""


class EvaluatedRun:
    """The part of a training algorithm that has its policy evaluated."""

    options: TrainingOptions
    evaluator: Evaluator
    metrics_log: MetricsLog
    callbacks: RLlibCallback

    def _evaluate(self) -> None:
        """Starts an evaluation; while the one before is playing, only held-out data are judged anew."""
        if not self.can_evaluate:
            return
        if self.evaluator.is_playing:
            self._judge()
            return
        self.callbacks.on_evaluate_start(algorithm=self, metrics_logger=NO_LOGGER)
        self._judge()
        if self.eval_env_runner_group is None:
            self._end_evaluation({})
        else:
            self.evaluator.start(self.policy.get_weights(), self.steps)

    def _judge(self) -> None:
        """Evaluates on held-out data, where there are some."""

    def _end_evaluation(self, outcome: dict[str, float]) -> None:
        """Takes the metrics of an evaluation into the results."""
        self.metrics_log.set(outcome)
        outcomes, keep_custom = self.evaluator.last_outcomes, self.config.keep_per_episode_custom_metrics
        played = evaluation_results(outcomes, keep_custom) if outcomes else {}
        self.evaluated, self._has_evaluated = {**played, **self.metrics_log.known("evaluation", "held_out")}, True
        self.callbacks.on_evaluate_end(algorithm=self, metrics_logger=NO_LOGGER, evaluation_metrics=self.evaluated)

    def evaluate_now(self) -> dict[str, float]:
        """Waits for the evaluation of the policy as it is, and returns every metric."""
        self.play_evaluation()
        return self._result({}, self.env_steps)

    @property
    def can_evaluate(self) -> bool:
        """True if there are evaluation workers or held-out data."""
        return self.eval_env_runner_group is not None

    def play_evaluation(self) -> list[Episode]:
        """Waits for an evaluation of the policy as it is, whose metrics are in the results from now on.

        Returns:
            The episodes that were played; none without an env, and where the run has been told to stop.
        """
        if outcome := self.evaluator.wait():
            self._end_evaluation(outcome)
        self._evaluate()
        for _ in range(EVALUATION_ATTEMPTS):
            if outcome := self.evaluator.wait():
                self._end_evaluation(outcome)
                return self.evaluator.last_episodes
            if self.should_stop or self.eval_env_runner_group is None:
                return []
            time.sleep(RETRY_SECONDS)
            self.evaluator.start(self.policy.get_weights(), self.steps)
        raise WorkerError(
            "The evaluation has failed again and again; the messages above say why. The run itself is saved."
        )

    def _evaluation_is_due(self, steps_before: int) -> bool:
        every = self.options.evaluation.evaluate_every
        return bool(every) and self.steps // every > steps_before // every
