"""What is odd about a result is said, once, with its numbers."""

import math
import re

import pytest

from serl_ray.options.sets import HybridRun, OfflineRun
from serl_ray.rllib.metrics import METRICS
from serl_ray.runs.progress import described
from serl_ray.runs.warnings import RunWarnings, doubts

RESCUED = {
    "env/episodes": 30.0,
    "env/success_rate": 0.9,
    "env/autonomous_success_rate": 0.25,
    "env/autonomous_episodes": 8.0,
}
ALWAYS = {"env/episodes": 30.0, "env/success_rate": 0.95, "env/autonomous_episodes": 0.0}
COSTLY = {"evaluation/episodes": 20.0, "evaluation/mean_steps": 300.0}
UNKNOWN = {"env/mean_return": -150.0, "env/episodes": 3.0}
LONG = {"env/episodes": 1.0, "env/mean_steps": 300.0}
NAN = dict.fromkeys(METRICS, math.nan)
DENSE = HybridRun.of(reward="dense")


@pytest.mark.parametrize(
    ("options", "result", "says"),
    [
        (HybridRun.of(), RESCUED, "Success is 0.90, but 0.25 in the 8 of the last 20 episodes .*0.65 worse"),
        (HybridRun.of(), ALWAYS, "Success is 0.95, but somebody intervened in each of the last 20 episodes"),
        (HybridRun.of(), COSTLY, "takes 6,000 env steps, 300 in each episode: more than the 1,000 "
                                 ".*--evaluation_episodes 3, or"),
        (HybridRun.of(), {"critic/q_over_bound": 0.2}, "20% of the values are above max_return, 1: the critics "
                                                       "overestimate"),
        (HybridRun.of(discount=0.95), LONG, "A success after 300 steps is worth 2e-07 .*--discount 0.998"),
        (DENSE, UNKNOWN, r"does not report info\['success'\], .*the best return. .*--success_return"),
    ],
)  # fmt: skip
def test_what_is_odd_is_said_once(options, result, says):
    warnings = RunWarnings(options)
    [said] = warnings.of({**NAN, **result})
    assert re.search(says, said) and "\n" not in said
    assert list(warnings.of({**NAN, **result})) == []


@pytest.mark.parametrize(("alone", "rate", "is_said"), [(0.5, 0.4, True), (0.7, 0.4, False), (0.5, 0.15, False)])
def test_help_that_hides_a_policy_that_gets_worse_is_named(alone, rate, is_said):
    warnings = RunWarnings(HybridRun.of())
    at_best = {"env/episodes": 30.0, "env/autonomous_episodes": 8.0, "env/success_rate": 0.8}
    good = {"env/autonomous_success_rate": 0.8, "env/intervention_rate": 0.1}
    assert list(warnings.of({**NAN, **at_best, **good})) == []
    later = {"env/autonomous_success_rate": alone, "env/intervention_rate": rate, "env/success_rate": alone}
    said = list(warnings.of({**NAN, **at_best, **later}))
    assert [text for text in said if "from 0.80 to 0.50" in text and "from 0.10 to 0.40" in text] == said * is_said


@pytest.mark.parametrize(
    ("options", "result"),
    [
        (HybridRun.of(), RESCUED | {"env/autonomous_success_rate": 0.75}),
        (HybridRun.of(), RESCUED | {"env/autonomous_episodes": 3.0}),
        (HybridRun.of(), ALWAYS | {"env/episodes": 4.0}),
        (HybridRun.of(evaluate_every=0), COSTLY),
        (HybridRun.of(evaluation_episodes=3), COSTLY | {"evaluation/episodes": 3.0}),
        (OfflineRun.of(demo_paths=("demos.pkl",)), COSTLY),
        (HybridRun.of(discount=0.991), LONG),
        (HybridRun.of(demo_paths=("demos.pkl",), discount=0.95), LONG),
        (DENSE, LONG | UNKNOWN | {"env/success_rate": 0.0}),
        (HybridRun.of(), {"env/mean_return": 1.0, "env/success_rate": 1.0}),
    ],
)
def test_what_is_not_odd_is_not_mentioned(options, result):
    assert list(RunWarnings(options).of({**NAN, **result})) == []


def test_the_progress_line_has_autonomous_success_and_the_step_of_an_evaluation():
    alone = {
        "env/success_rate": 0.5,
        "env/autonomous_success_rate": 0.5,
        "env/intervention_rate": 0.0,
        "env/mean_return": 0.5,
    }
    evaluated = {"evaluation/success_rate": 0.25, "evaluation/at_step": 2000.0, "evaluation/mean_return": 0.25}
    assert described({**NAN, **alone, **evaluated}) == "success 0.50 eval (step 2000) 0.25 interventions 0.00"
    helped = alone | {"env/autonomous_success_rate": 0.2, "env/intervention_rate": 0.3}
    assert described({**NAN, **helped}) == "success with interventions 0.50 autonomous 0.20 interventions 0.30"
    dense = {"env/mean_return": -150.25, "evaluation/mean_return": -120.0, "evaluation/at_step": 500.0}
    assert described({**NAN, **dense}) == "return -150.25 eval return (step 500) -120.00"


def test_another_kind_of_reward_changes_what_followed_from_the_old_one_and_nothing_that_was_given():
    given = HybridRun.of(discount=0.9).replace(reward="dense")
    assert (given.agent.discount, given.agent.max_return) == (0.9, None)
    back = given.replace(reward="sparse")
    assert (back.agent.discount, back.agent.max_return, back.reward.success_return) == (0.9, 1.0, 0.5)
    assert HybridRun.of().replace(reward="dense").replace(reward="sparse") == HybridRun.of(reward="sparse")


DOUBTFUL = {
    "too short": ({"max_steps": 40}, "Nothing will be learned: .* 40 env steps, and learning begins after 100"),
    "an env beside the learner": ({"control_hz": 10.0}, "10 steps per second cannot be held .* --num_workers 1"),
    "evaluations beside the learner": (
        {"control_hz": 10.0, "num_workers": 1},
        "cannot be held while the learner's process evaluates",
    ),
}


@pytest.mark.parametrize("name", DOUBTFUL)
def test_what_options_make_impossible_is_said_before_the_run(name):
    options, says = DOUBTFUL[name]
    [sentence] = doubts(HybridRun.of(**options))
    assert re.match(f".*{says}", sentence)


def test_usual_options_raise_no_doubts():
    assert not list(doubts(HybridRun.of(max_steps=1001)))
    assert not list(doubts(HybridRun.of(control_hz=10.0, num_workers=1, evaluation_workers=1)))
    assert not list(doubts(OfflineRun.of(max_steps=400)))
