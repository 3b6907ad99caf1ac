"""The warning of an entropy that rises far above its target."""

from __future__ import annotations

import math

from serl_ray.rllib.entropy import RISE, EntropyWatch


def test_a_rise_far_above_the_target_is_said_once(caplog):
    watch = EntropyWatch(target=-3.5, action_dim=6)
    for entropy in (math.nan, 4.0, 2.0, 1.0, 1.0 + 6 * RISE):  # a young policy's entropy is high, and falls
        watch.add(entropy)
    assert not caplog.records
    for entropy in (4.5, 5.0):
        watch.add(entropy)
    assert caplog.text.count("entropy has risen to 4.5 from 1.0, its target is -3.5") == len(caplog.records) == 1


def test_an_entropy_that_returns_to_its_target_is_no_rise(caplog):
    watch = EntropyWatch(target=-3.5, action_dim=6)
    for entropy in (-20.0, -10.0, -3.5, -3.0):
        watch.add(entropy)
    assert not caplog.records
