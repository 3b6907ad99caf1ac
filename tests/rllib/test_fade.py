"""The fade of imitation: by env steps where the policy holds, and back where it gets worse alone."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import numpy as np
import pytest

from serl_ray.rllib import SERL
from serl_ray.rllib.fade import LEAST_SHARE, Fade


def play(fade, outcomes, steps=40, warmup_steps=1000):
    for success in outcomes:
        fade.step(steps, warmup_steps)
        fade.add_episode(bool(success))
    return fade.share(warmup_steps)


def test_imitation_fades_over_the_warm_up_while_success_holds():
    fade = Fade()
    assert fade.share(1000) == 1.0
    assert play(fade, [True] * 10) == 0.6
    assert play(fade, [True] * 20) == 0.0


def test_it_comes_back_where_success_falls_and_goes_again_where_it_recovers(caplog):
    fade = Fade()
    play(fade, [True] * 30)
    with caplog.at_level(logging.WARNING):
        assert play(fade, [False] * 2, steps=100) == 0.0
        assert play(fade, [False] * 3, steps=100) == 0.6
    assert caplog.text.count("Success without interventions has fallen to 0.77 from 1.00") == 1
    assert play(fade, [True] * 40) == 0.0


def test_a_policy_that_is_as_good_as_ever_is_weaned_even_if_it_often_fails():
    for success_rate in (0.0, 0.3, 0.5, 0.8, 0.95):
        rng = np.random.default_rng(0)
        shares = [play(fade := Fade(), rng.random(n) < success_rate) for n in (200,) * 20]
        assert np.mean(shares) < 0.5, success_rate
        assert success_rate < 0.95 or np.mean(shares) < 0.15
        assert fade.fade_episodes == 200


def test_a_collapse_does_not_become_the_new_standard():
    fade = Fade()
    play(fade, [True] * 40)
    assert play(fade, [False] * 300) == 1.0 and fade.fade_best == 10_000


def test_the_fade_waits_where_success_is_a_little_below_its_best():
    fade = Fade()
    before = play(fade, [True] * 20)
    after = play(fade, [False])
    assert not fade.turns_back and play(fade, [True]) == after == pytest.approx(before - 0.04)


def test_a_part_of_imitation_is_kept_until_the_policy_is_good_alone():
    fade = Fade()
    assert play(fade, [True, False] * 40) == pytest.approx(LEAST_SHARE)
    assert play(fade, [True] * 40) == 0.0


def test_an_episode_of_unknown_success_moves_the_fade_by_its_steps_alone():
    fade, agent = Fade(), SimpleNamespace(objective="awac")
    learning = SimpleNamespace(training_starts=0, warmup_steps=100)
    run = SimpleNamespace(env_steps=50, fade=fade, options=SimpleNamespace(learning=learning, agent=agent))
    SERL._wean(run, 10, SimpleNamespace(success=None, interventions=0))
    assert (fade.fade_progress, fade.fade_episodes) == (10, 0)
    SERL._wean(run, 10, SimpleNamespace(success=True, interventions=0))
    assert (fade.fade_progress, fade.fade_episodes) == (20, 1)
