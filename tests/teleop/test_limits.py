"""Limits of a person's motion: norm, change from step to step, and grippers that hold."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

from serl_ray.teleop.limits import Limits
from serl_ray.types import ActionLayout

FREE = math.inf
VECTORS = {
    2: [[0, 1]],
    3: [[0, 1, 2]],
    4: [[0, 1, 2]],  # and a gripper
    5: [[0, 1, 2, 3, 4]],
    6: [[0, 1, 2], [3, 4, 5]],
    7: [[0, 1, 2], [3, 4, 5]],  # and a gripper
    12: [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]],
    14: [[0, 1, 2], [3, 4, 5], [7, 8, 9], [10, 11, 12]],  # and two grippers
}
"""The numbers of an action that are limited together, by its size."""
SETUPS = {
    4: "single-arm-learned-gripper",
    7: "single-arm-learned-gripper",
    12: "dual-arm-fixed-gripper",
    14: "dual-arm-learned-gripper",
}
SIZES = st.sampled_from(sorted(VECTORS))
LIMITS = st.sampled_from([0.02, 0.3, 0.5, 1.0, 5.0, FREE])


def layout_of(size: int) -> ActionLayout:
    return ActionLayout.from_setup(SETUPS.get(size, "single-arm-fixed-gripper"), size)


def actions(size: int, most: float = 1.0) -> st.SearchStrategy[np.ndarray]:
    corners = st.sampled_from([-most, -0.5, 0.0, 0.5, most])
    return nps.arrays(np.float32, size, elements=corners | st.floats(-most, most, width=32))


@pytest.mark.parametrize("size", VECTORS)
def test_translations_and_rotations_are_limited_as_vectors(size):
    limited = Limits(norm=0.5, slew=FREE).limited(np.ones(size, np.float32), np.zeros(size), layout_of(size))
    expected = np.zeros(size)
    for vector in VECTORS[size]:
        expected[vector] = 0.5 / math.sqrt(len(vector))
    np.testing.assert_allclose(limited, expected, rtol=1e-6)


def test_what_is_within_the_limits_is_not_changed():
    action = np.array([0.1, -0.2, 0.3, 0.25, 0.0, -0.25, 0.0], np.float32)
    limited = Limits().limited(action, np.zeros(7), layout_of(7))
    np.testing.assert_array_equal(limited, action)
    assert limited is not action and limited.dtype == np.float32


def test_small_numbers_are_not_rounded_by_large_ones_before_them():
    action, before = np.array([1e-9, 3e-11, -7e-13], np.float32), np.array([0.5, 0.25, -0.4], np.float32)
    np.testing.assert_array_equal(Limits(slew=FREE).limited(action, before, layout_of(3)), action)


def test_a_vector_that_is_limited_leaves_the_others_alone():
    action = np.array([1.0, 1.0, 1.0, 0.0, 0.1, 0.0], np.float32)
    limited = Limits(slew=FREE).limited(action, np.zeros(6), layout_of(6))
    np.testing.assert_array_equal(limited[3:], action[3:])


def test_a_change_takes_as_many_steps_as_it_must():
    layout, full = layout_of(3), np.array([1.0, 0.0, 0.0], np.float32)
    limits, previous, seen = Limits(slew=0.25), np.zeros(3, np.float32), []
    for _ in range(5):
        previous = limits.limited(full, previous, layout)
        seen.append(float(previous[0]))
    assert seen == [0.25, 0.5, 0.75, 1.0, 1.0]


def test_a_change_of_direction_stays_within_the_norm():
    """Numbers that are limited one by one lead out of it: the one grows fully, the other one cannot fall as fast."""
    layout, previous = layout_of(3), np.array([0.8, 0.6, 0.0], np.float32)
    limited = Limits(norm=1.0, slew=0.5).limited(np.array([0.0, 1.0, 0.0], np.float32), previous, layout)
    assert np.linalg.norm(limited) <= 1.0 + 1e-6
    assert limited[0] == pytest.approx(0.3)


def test_an_action_beyond_its_range_is_brought_into_it():
    limited = Limits(norm=FREE, slew=FREE).limited(np.full(7, 3.0, np.float32), np.zeros(7), layout_of(7))
    np.testing.assert_array_equal(limited, [1.0] * 6 + [0.0])


@pytest.mark.parametrize("name", ["norm", "slew"])
@pytest.mark.parametrize("value", [0.0, -1.0, math.nan])
def test_a_limit_that_is_none_is_refused(name, value):
    with pytest.raises(ValueError, match=f"limit {name} is {value}"):
        Limits(**{name: value})


@given(data=st.data(), size=SIZES, norm=LIMITS, slew=LIMITS)
@settings(max_examples=100, deadline=None)
def test_every_limit_holds_in_every_step(data, size, norm, slew):
    layout, limits = layout_of(size), Limits(norm, slew)
    previous = np.zeros(size, np.float32)
    for _ in range(4):
        wanted = data.draw(actions(size, most=2.0))
        kept = wanted.copy()
        limited = limits.limited(wanted, previous, layout)
        np.testing.assert_array_equal(wanted, kept)
        assert limited.shape == (size,) and limited.dtype == np.float32
        assert np.abs(limited).max() <= 1.0
        assert np.abs(limited - previous).max() <= slew + 1e-6
        assert all(np.linalg.norm(limited[vector]) <= norm + 1e-6 for vector in VECTORS[size])
        assert not limited[list(layout.gripper_indices)].any()
        previous = limited


@given(data=st.data(), size=SIZES, norm=LIMITS, slew=LIMITS)
@settings(max_examples=40, deadline=None)
def test_a_held_stick_is_reached_in_the_end(data, size, norm, slew):
    layout, wanted = layout_of(size), data.draw(actions(size))
    goal = Limits(norm, FREE).limited(wanted, np.zeros(size), layout)
    previous = np.zeros(size, np.float32)
    for _ in range(math.ceil(2.0 / slew) + 1):
        previous = Limits(norm, slew).limited(wanted, previous, layout)
    np.testing.assert_allclose(previous, goal, atol=1e-5)
