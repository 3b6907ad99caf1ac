"""The part of operators in the results of a run, counted from segments and workers' reports."""

from collections import Counter

import numpy as np
import pytest

from serl_ray.data.schema import POLICY, Actors, Segment
from serl_ray.evaluation.rollouts import Episode
from serl_ray.rllib.operator_log import OperatorLog
from serl_ray.teleop.report import COUNTED, OperatorReport


def segment(episode, numbers, first_step=0):
    """Steps of an episode by the number of their intervention, 0 for the policy's."""
    n, numbers = len(numbers), np.array(numbers)
    zeros = np.zeros(n)
    return Segment(
        observations={"state": np.zeros((n + 1, 1), np.float32)},
        actions=np.zeros((n, 1)),
        rewards=zeros,
        masks=zeros + 1,
        dones=zeros,
        truncateds=zeros,
        grasp_penalty=zeros,
        intervened=numbers > 0,
        episode=episode,
        first_step=first_step,
        actors=Actors(np.zeros((n, 1)), numbers, np.where(numbers > 0, "keyboard", POLICY)),
    )


def ended(success, steps):
    return Episode(success, steps, interventions=1)


def test_interventions_are_counted_once_however_their_episodes_are_cut():
    log = OperatorLog()
    assert log.metrics() == {"operator/interventions": 0.0}
    log.add(segment("a", [0, 0, 1, 1]), None)
    log.add(segment("b", [1, 1]), ended(False, 2))
    log.add(segment("a", [1, 0, 2], first_step=4), None)
    log.add(segment("a", [0], first_step=7), ended(True, 8))
    log.add(segment("c", [0, 0, 0]), ended(False, 3))
    assert log.metrics() == {
        "operator/interventions": 3.0,
        "operator/mean_length": 2.0,
        "operator/steps_to_takeover": 1.0,
        "operator/success_after_hand_back": 1.0,
    }


def test_reports_of_workers_are_added_up():
    log = OperatorLog()
    counts = dict.fromkeys(COUNTED, 0) | {"stale": 2, "losses": 1}
    log.add_report(OperatorReport(Counter(counts), [0.125] * 19 + [1.0], operator_seconds=3.0, steps=40))
    log.add_report(OperatorReport(Counter(stale=1), [], operator_seconds=1.0, steps=40, reset_seconds=2.5))
    metrics = log.metrics()
    assert {name: metrics[f"operator/{name}"] for name in COUNTED} == counts | {"stale": 3}
    assert metrics["operator/seconds_per_step"] == 0.05 and metrics["operator/reset_seconds"] == 2.5
    assert metrics["operator/loop_age_p50"] == 0.125 and metrics["operator/loop_age_p95"] == pytest.approx(0.16875)
