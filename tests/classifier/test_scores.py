"""A split by episode, and a threshold that keeps its promise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import beta

from serl_ray.classifier.scores import choose_threshold, held_out_episodes, held_out_metrics

SCORES = arrays(np.float64, st.integers(2, 200), elements=st.floats(0.0, 1.0))


@settings(max_examples=100, deadline=None)
@given(st.integers(2, 12), st.integers(1, 5), st.integers(0, 100), st.sampled_from([0.1, 0.2, 0.5]))
def test_every_class_is_on_both_sides_and_no_episode_is(episodes, frames, seed, share):
    rng = np.random.default_rng(seed)
    names = np.repeat([f"e{i}" for i in range(episodes)], 2 * frames)
    labels = np.tile([0, 1], episodes * frames)
    shuffled = rng.permutation(len(names))
    held_out = held_out_episodes(labels[shuffled], names[shuffled], share, seed)
    is_held_out = np.isin(names, list(held_out))
    assert set(labels[is_held_out]) == set(labels[~is_held_out]) == {0, 1}


def test_one_episode_of_a_class_is_too_few():
    with pytest.raises(ValueError, match=r"class 1 are of one episode \(b\)"):
        held_out_episodes(np.array([0, 0, 1, 1]), ["a", "c", "b", "b"], 0.2, 0)


def test_the_share_is_about_what_was_asked_for():
    names = np.repeat([f"e{i}" for i in range(50)], 10)
    held_out = held_out_episodes(np.tile([0, 1], 250), names, 0.2, seed=3)
    assert 8 <= len(held_out) <= 12


@settings(max_examples=200, deadline=None)
@given(SCORES, st.integers(0, 2**32 - 1), st.sampled_from([0.001, 0.01, 0.1, 0.5]))
def test_a_threshold_counts_its_own_mistakes_and_promises_no_more_than_it_may(scores, seed, rate):
    is_success = np.random.default_rng(seed).random(len(scores)) < 0.5
    is_success[:2] = True, False
    threshold = choose_threshold(scores, is_success, rate)
    called = scores[~is_success] >= threshold.value
    assert threshold.false_positives == called.sum() and threshold.failures == len(called)
    assert called.mean() <= threshold.upper_bound
    assert threshold.is_promised == (threshold.upper_bound <= rate)
    if not threshold.is_promised:  # nothing is let through but what no probability is above
        assert (scores[~is_success][called] == 1.0).all()


def test_few_failures_promise_little():
    threshold = choose_threshold(np.array([0.1] * 50 + [0.9] * 50), np.repeat([False, True], 50), 0.01)
    assert not threshold.is_promised
    assert threshold.value == pytest.approx(0.5)
    assert threshold.upper_bound == pytest.approx(1 - 0.05 ** (1 / 50))  # nothing in 50 throws


@pytest.mark.slow
def test_the_promise_holds_for_fresh_failures():
    """Of many thresholds, each chosen on a sample of its own, at most a share of 1 - CONFIDENCE breaks its promise."""
    rng = np.random.default_rng(0)
    broken = 0
    for _ in range(200):
        failures, successes = rng.beta(1, 8, 600), rng.beta(8, 2, 100)
        scores, is_success = np.concatenate([failures, successes]), np.arange(700) >= 600
        threshold = choose_threshold(scores, is_success, 0.05)
        assert threshold.is_promised
        broken += beta.sf(threshold.value, 1, 8) > 0.05
    assert broken / 200 < 0.08


def test_metrics_of_a_small_example():
    scores, is_success = np.array([0.1, 0.6, 0.7, 0.8]), np.array([False, False, True, True])
    metrics = held_out_metrics(scores, is_success, choose_threshold(scores, is_success, 0.9))
    assert metrics["auc"] == 1.0 and metrics["recall"] == 1.0 and metrics["precision"] == 1.0
    assert metrics["false_positive_rate"] == 0.0
