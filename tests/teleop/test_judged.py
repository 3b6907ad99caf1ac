"""SessionEpisodes with what operators said of them: what is cut off, what the last row says, and the rest as it was."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serl_ray.data.schema import SCALAR_FIELDS, Actors, Segment
from serl_ray.teleop.events import Ending, Verdict
from serl_ray.teleop.judged import judged

CASES = {
    Ending.SUCCESS: (1.0, 0.0, False, True),
    Ending.FAILURE: (0.0, 0.0, False, False),
    Ending.VETO: (0.0, 1.0, True, False),
    Ending.RESET: (0.5, 1.0, True, None),
    Ending.STOP: (0.5, 1.0, True, None),
    Ending.LOST: (0.5, 1.0, True, None),
}
"""Reward, mask, flag of a time-out and success of the last row."""


def segment(steps: int = 6, first_step: int = 0, success: bool | None = None, terminated: bool = False) -> Segment:
    """The last part of an episode, each of whose rewards is one half; the env may have ended it."""
    rng = np.random.default_rng(steps)
    dones = np.arange(steps) == (steps - 1 if terminated else -1)
    return Segment(
        observations={"state": rng.normal(size=(steps + 1, 3)).astype(np.float32)},
        actions=rng.uniform(-1, 1, (steps, 2)),
        rewards=np.full(steps, 0.5),
        masks=1.0 - dones,
        dones=dones,
        truncateds=np.zeros(steps, bool),
        grasp_penalty=rng.uniform(-1, 0, steps),
        intervened=rng.random(steps) < 0.5,
        episode="a",
        first_step=first_step,
        success=success,
        actors=Actors(rng.uniform(-1, 1, (steps, 2)), np.arange(steps), np.array(["policy"] * steps)),
    )


def test_an_episode_of_which_nothing_was_said_is_as_it_was():
    whole = segment()
    assert judged(whole, None) is whole


@pytest.mark.parametrize("ending", CASES)
@pytest.mark.parametrize("first_step", [0, 4], ids=["whole", "second part"])
@pytest.mark.parametrize("kept", [1, 3, 6])
@pytest.mark.parametrize("terminated", [False, True])
def test_the_last_row_is_what_the_operator_said(ending, first_step, kept, terminated):
    found = judged(segment(first_step=first_step, terminated=terminated), Verdict(ending, first_step + kept))
    reward, mask, truncated, success = CASES[ending]
    assert len(found) == kept and found.first_step == first_step
    assert len(found.observations["state"]) == kept + 1
    assert (found.rewards[-1], found.masks[-1], found.truncateds[-1]) == (reward, mask, truncated)
    assert found.dones.tolist() == [False] * (kept - 1) + [True]
    assert found.success is success
    assert {name: getattr(found, name).dtype for name in SCALAR_FIELDS} == SCALAR_FIELDS


def test_the_word_of_the_env_stays_where_the_operator_said_nothing_of_success():
    assert judged(segment(success=True), Verdict(Ending.RESET, 6)).success is True


@pytest.mark.parametrize("steps", [0, 3, 6, 9])
def test_nothing_is_left_of_a_discarded_episode(steps):
    assert judged(segment(first_step=3), Verdict(Ending.DISCARD, steps)) is None


@pytest.mark.parametrize("ending", CASES)
@pytest.mark.parametrize("steps", [1, 4])
def test_a_label_on_a_step_that_was_handed_over_before_leaves_nothing(ending, steps):
    assert judged(segment(first_step=4), Verdict(ending, steps)) is None


@given(
    steps=st.integers(1, 8),
    first_step=st.integers(0, 5),
    said=st.integers(0, 20),
    ending=st.sampled_from(list(Ending)),
    terminated=st.booleans(),
)
def test_rows_before_the_cut_are_not_changed(steps, first_step, said, ending, terminated):
    whole, before = (segment(steps, first_step, terminated=terminated) for _ in range(2))
    found = judged(whole, Verdict(ending, said))
    assert_equal(whole, before, steps)
    if found is None:
        assert ending is Ending.DISCARD or said <= first_step
        return
    kept = len(found)
    assert kept == min(said - first_step, steps)
    assert_equal(found, whole, kept, last=kept - 1)


def assert_equal(found: Segment, whole: Segment, steps: int, last: int | None = None) -> None:
    """The first `steps` rows are equal bit for bit, of what a verdict may change those before `last`."""
    changed = ("rewards", "masks", "dones", "truncateds")
    for name in (*SCALAR_FIELDS, "actions"):
        stop = last if name in changed and last is not None else steps
        assert getattr(found, name)[:stop].tobytes() == getattr(whole, name)[:stop].tobytes()
    assert found.observations["state"].tobytes() == whole.observations["state"][: steps + 1].tobytes()
    for name in ("policy_actions", "interventions"):
        assert getattr(found.actors, name).tobytes() == getattr(whole.actors, name)[:steps].tobytes()
    assert (found.episode, found.first_step) == (whole.episode, whole.first_step)


def test_a_success_pays_what_the_stages_before_have_left_of_one_and_one_beside_other_rewards():
    whole = segment()
    whole.rewards[:] = 0.1
    assert judged(whole, Verdict(Ending.SUCCESS, 6)).rewards[-1] == 1.0
    assert judged(whole, Verdict(Ending.SUCCESS, 6, paid=0.25)).rewards[-1] == 0.75
