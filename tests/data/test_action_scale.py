import json
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serl_ray.data.action_scale import measure_scale
from serl_ray.types import ActionScale


@given(seed=st.integers(0, 2**31), sizes=st.lists(st.floats(1e-4, 1e4), min_size=1, max_size=6))
@settings(deadline=None, max_examples=60)
def test_no_motion_stays_no_motion_and_the_greatest_is_1(seed, sizes):
    rng = np.random.default_rng(seed)
    parts = [rng.uniform(-1, 1, (n, len(sizes))).astype(np.float32) * np.float32(sizes) for n in (3, 5)]
    scale = measure_scale(parts, grippers=())
    scaled = scale.apply(np.concatenate(parts))
    np.testing.assert_allclose(np.abs(scaled).max(axis=0), 1, rtol=1e-6)
    np.testing.assert_array_equal(np.sign(scaled), np.sign(np.concatenate(parts)))
    assert not scale.apply(np.zeros((1, len(sizes)))).any()
    np.testing.assert_allclose(scale.invert(scaled), np.concatenate(parts), rtol=1e-5)
    assert ActionScale.from_json(scale.to_json()) == scale


@pytest.mark.parametrize(
    ("values", "scaled"),
    [
        ([1, 1, 1], [1, 1, 1]),
        ([-1, -1, -1], [-1, -1, -1]),
        ([2, 2, 2], [1, 1, 1]),
        ([0, 1, 2], [-1, 0, 1]),
        ([-1, 0, 1], [-1, 0, 1]),
        ([0, 1, 0], [0, 1, 0]),
    ],
)
def test_grippers_are_apart(values, scaled):
    actions = np.stack([[0.01, -0.04, 0.02], values], axis=1)
    scale = measure_scale([actions])
    assert scale.grippers == (1,)
    assert scale.apply(actions)[:, 1].tolist() == scaled
    assert scale.invert(scale.apply(actions))[:, 1].tolist() == values
    assert scale.apply(actions)[:, 0].tolist() == pytest.approx([0.25, -1, 0.5])


def test_a_number_that_is_always_0_is_no_gripper_unless_it_is_named():
    actions = np.stack([[0.01, -0.04, 0.02], np.zeros(3)], axis=1)
    scale = measure_scale([actions])
    assert scale.grippers == () and scale.limits == (0.04, 1.0)
    assert measure_scale([actions], grippers=[1]).grippers == (1,)


def test_0_and_1_alone_are_hold_and_open_unless_it_is_said_what_they_mean(caplog):
    actions = np.stack([[0.01, -0.04, 0.02], [0, 1, 0]], axis=1)
    assert measure_scale([actions]).apply(actions)[:, 1].tolist() == [0, 1, 0]
    assert re.search(r"action\[1\] has 0 and 1 alone, .* never closes\. .*--gripper_values 0 1", caplog.text)
    caplog.clear()
    for values, commands in (((0, 1), [-1, 1, -1]), ((1, 0), [1, -1, 1])):
        scale = measure_scale([actions], gripper_values=values)
        assert scale.grippers == (1,) and scale.apply(actions)[:, 1].tolist() == commands
        assert scale.invert(scale.apply(actions))[:, 1].tolist() == [0, 1, 0]
        assert ActionScale.from_json(scale.to_json()) == scale
    assert scale.lines()[1] == "action[1]: gripper, 1, 0.5, 0 become -1, 0, 1 (close, hold, open)"
    with pytest.raises(ValueError, match=r"expected the commands 0, 0\.5, 1 \(close, hold, open\)"):
        measure_scale([actions - 1], grippers=[1], gripper_values=(0, 1))
    assert not caplog.text


def test_limits_are_described():
    scale = measure_scale([np.array([[0.05, 2.0, 1.0], [0.01, 0.0, -1.0]])])
    assert scale.lines() == [
        "action[0]: divided by 0.05",
        "action[1]: gripper, 0, 1, 2 become -1, 0, 1 (close, hold, open)",
        "action[2]: gripper, as it is",
    ]


def test_a_gripper_of_positions_is_refused_where_it_is_named():
    actions = np.array([[0.1, 87.0], [0.2, 0.0]])
    with pytest.raises(
        ValueError, match=r"action\[1\], a gripper, has values from 0 to 87; expected the commands -1, 0, 1"
    ):
        measure_scale([actions], grippers=[1])
    with pytest.raises(ValueError, match="grippers has 2; the actions have the numbers 0 to 1"):
        measure_scale([actions], grippers=[2])
    assert measure_scale([actions]).limits == (0.2, 87.0)


@pytest.mark.parametrize(
    "changes", [{"limits": [0.0]}, {"limits": [1, 2]}, {"limits": "x"}, {"offsets": [np.nan]}, {"grippers": None}]
)
def test_a_damaged_scale_is_refused(changes):
    good = {"limits": [1.0], "offsets": [0.0], "grippers": []}
    assert ActionScale.from_json(json.dumps(good)) == ActionScale((1.0,), (0.0,), ())
    with pytest.raises(ValueError, match="the scale of the actions is damaged"):
        ActionScale.from_json(json.dumps(good | changes))
