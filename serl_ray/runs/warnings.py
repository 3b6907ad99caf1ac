"""Warnings about the options of a run before it begins, and about its results, each said once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

from serl_ray.data.rewards import invisible_success
from serl_ray.options.sets import HybridOptions, HybridRun, OfflineRun, TrainingOptions
from serl_ray.rllib.metrics import RECENT_EPISODES

Result = Mapping[str, float]

FAULTY_SHARE = 0.05
"""Share of values above `max_return` from which a warning is given."""
LARGE_GAP = 0.3
"""Success in all episodes above that in autonomous ones from which a warning is given."""
LARGE_FALL, LARGE_RISE = 0.2, 0.1
"""Fall of the success in autonomous episodes since it was best, and rise of the share of steps with an intervention,
which together give a warning."""
FEW_EPISODES = 5
"""Autonomous episodes among the recent ones, from which their success means something."""


def doubts(options: HybridRun | OfflineRun) -> Iterator[str]:
    """Sentences about options without an effect, and about what the options of a run make impossible: to learn at all,
    or to hold the env's rate."""
    yield from options.unused()
    if not isinstance(options, HybridRun):
        return
    steps, start = options.schedule.max_steps, options.learning.training_starts
    if steps <= start:
        yield (
            f"Nothing will be learned: the run has {steps:,} env steps, and learning begins after {start:,}. Choose a "
            "greater --max_steps or a smaller --training_starts."
        )
    if not options.keeps_time:
        return
    rate = "The robot's rate" if options.env.control_hz is None else f"{options.env.control_hz:g} steps per second"
    rate = f"{rate} cannot be held"
    if not options.processes.num_workers:
        yield f"{rate} while learner steps come between env steps: give the env its own process by --num_workers 1."
    elif options.evaluation.evaluate_every and not options.evaluating.evaluation_workers:
        yield f"{rate} while the learner's process evaluates: use --evaluation_workers 1 or --evaluate_every 0."


class RunWarnings:
    """Looks at each result of a run, and says what is odd about it.

    Args:
        options: options of the run.
    """

    def __init__(self, options: TrainingOptions) -> None:
        self._options = options
        self._best = (0.0, 0.0)
        self._rules: list[Callable[[Result], str | None]] = [self._values, self._unknown_success]
        if isinstance(options, HybridOptions):
            self._rules += [self._autonomy, self._relapse, self._evaluation_cost]
            if options.reward.reward == "sparse" and not options.demos.demo_paths:
                self._rules.append(self._horizon)

    def of(self, result: Result) -> Iterator[str]:
        """The sentences to say after a result; none of them comes again."""
        said = {rule: sentence for rule in self._rules if (sentence := rule(result))}
        self._rules = [rule for rule in self._rules if rule not in said]
        yield from said.values()

    def _values(self, result: Result) -> str | None:
        share = result["critic/q_over_bound"]
        if not share > FAULTY_SHARE:
            return None
        return (
            f"{share:.0%} of the values are above max_return, {self._options.agent.max_return:g}: the critics "
            "overestimate."
        )

    def _unknown_success(self, result: Result) -> str | None:
        pairs = [(result[f"{group}/mean_return"], result[f"{group}/success_rate"]) for group in ("env", "evaluation")]
        if not any(math.isnan(success) and not math.isnan(earned) for earned, success in pairs):
            return None
        return (
            "The env does not report info['success'], so success is unknown: returns are logged, and the best "
            "checkpoint is that of the best return. Report it, or name the sum of rewards that is a success: "
            "--success_return."
        )

    def _autonomy(self, result: Result) -> str | None:
        success, alone = result["env/success_rate"], result["env/autonomous_success_rate"]
        episodes, recent = result["env/autonomous_episodes"], min(result["env/episodes"], RECENT_EPISODES)
        if not episodes and recent == RECENT_EPISODES and success >= LARGE_GAP:
            return (
                f"Success is {success:.2f}, but somebody intervened in each of the last {recent:.0f} episodes: what "
                "the policy does alone is not known. Let it try some episodes."
            )
        if episodes >= FEW_EPISODES and success - alone >= LARGE_GAP:
            return (
                f"Success is {success:.2f}, but {alone:.2f} in the {episodes:.0f} of the last {recent:.0f} episodes in "
                f"which nobody intervened: the policy alone is {success - alone:.2f} worse."
            )
        return None

    def _relapse(self, result: Result) -> str | None:
        alone, rate = result["env/autonomous_success_rate"], result["env/intervention_rate"]
        if not result["env/autonomous_episodes"] >= FEW_EPISODES:
            return None
        best, rate_then = self._best = max(self._best, (alone, rate))
        if not (best - alone >= LARGE_FALL and rate - rate_then >= LARGE_RISE):
            return None
        return (
            f"Success without interventions has fallen from {best:.2f} to {alone:.2f}, while the share of steps with "
            f"an intervention has risen from {rate_then:.2f} to {rate:.2f}: the policy gets worse, and help hides it. "
            "See docs/not_learning.md."
        )

    def _evaluation_cost(self, result: Result) -> str | None:
        every, steps = self._options.evaluation.evaluate_every, result["evaluation/mean_steps"]
        total = result["evaluation/episodes"] * steps
        if not every or not total > every:
            return None
        return (
            f"An evaluation takes {total:,.0f} env steps, {steps:.0f} in each episode: more than the {every:,} of "
            f"training between two of them. Choose --evaluation_episodes {max(int(every / steps), 1)}, or a greater "
            "--evaluate_every."
        )

    def _horizon(self, result: Result) -> str | None:
        steps = result["env/mean_steps"]
        hidden = None if math.isnan(steps) else invisible_success(steps, self._options.discount)
        return hidden and f"Episodes are long. {hidden}"
