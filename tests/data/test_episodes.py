"""Segments that are cut from the steps of an episode: who acted, and what the policy wanted."""

import itertools
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serl_ray.data.episodes import HELD_ACTION, TAIL, EpisodeRecorder
from serl_ray.data.schema import Segment
from serl_ray.data.validation import check_segment


def played(infos, cuts=(), **options):
    """The segments of an episode with these infos, cut before the steps `cuts`; the policy wants t / 100 at step t."""
    recorder, segments = EpisodeRecorder("a", {"state": np.zeros(1, np.float32)}, **options), []
    for t, info in enumerate(infos):
        if t in cuts:
            segments.append(recorder.cut())
        recorder.add(np.full(2, t / 100, np.float32), ({"state": np.full(1, t, np.float32)}, 0.0, False, False, info))
    return [*segments, recorder.cut()]


def person(source=None, number=None, tail=False):
    action = np.full(2, -1, np.float32)
    return {"intervene_action": action, "intervene_source": source, "intervention": number, TAIL: tail}


CASES = {
    "nobody": ([{}, {}], [0, 0], ["policy", "policy"]),
    "no names": ([person(), person(), {}, person()], [1, 1, 0, 2], ["env", "env", "policy", "env"]),
    "two sources": ([person("page"), person("expert"), person("page")], [1, 2, 3], ["page", "expert", "page"]),
    "let go and pressed again": ([person("page", 1), person("page", 1), person("page", 2)], [1, 1, 2], ["page"] * 3),
    "a count of a lifetime": ([person("page", 70), person("page", np.int64(71))], [1, 2], ["page", "page"]),
    "one count, parted by the policy": ([person(number=1), {}, person(number=1)], [1, 0, 2], ["env", "policy", "env"]),
    "a count where nobody acts": ([{"intervention": 3}, person("page", 3)], [0, 1], ["policy", "page"]),
}


@pytest.mark.parametrize("name", CASES)
def test_interventions_are_counted_from_one(name):
    infos, numbers, sources = CASES[name]
    [segment] = played(infos)
    assert segment.actors.interventions.tolist() == numbers
    assert segment.actors.sources.tolist() == sources


ACTS = st.sampled_from([None, ("page", None), ("expert", None), ("page", 1), ("page", 2)])


@given(acts=st.lists(ACTS, min_size=1, max_size=30), cuts=st.sets(st.integers(1, 29)))
def test_what_the_policy_wanted_is_beside_what_was_executed(acts, cuts):
    infos = [{} if act is None else person(*act) for act in acts]
    [whole], pieces = played(infos), played(infos, cuts)
    assert all(later.continues(earlier) for earlier, later in pairwise(pieces))
    segment = Segment.join(pieces)
    expected = (np.arange(len(acts)) / 100).astype(np.float32)
    np.testing.assert_array_equal(segment.actors.policy_actions, np.stack([expected, expected], axis=1))
    wanted = np.where(segment.intervened[:, None], np.float32(-1), segment.actors.policy_actions)
    np.testing.assert_array_equal(segment.actions, wanted)
    numbers, sources = segment.actors.interventions, segment.actors.sources
    np.testing.assert_array_equal(numbers > 0, segment.intervened)
    np.testing.assert_array_equal(sources != "policy", segment.intervened)
    counted = numbers[segment.intervened]
    assert set(np.diff([0, *counted])) <= {0, 1}, "counted up from 1, without gaps"
    np.testing.assert_array_equal(whole.actors.interventions, numbers)


HELD = {HELD_ACTION: np.zeros(2, np.float32)}
STEPS = st.sampled_from([None, "held", *((number, tail) for number in (1, 2) for tail in (False, True))])


def info_of(step):
    return person("spacemouse", *step) if isinstance(step, tuple) else HELD if step else {}


def is_of(step, other):
    """True for a step of the same intervention."""
    return isinstance(step, tuple) and isinstance(other, tuple) and step[0] == other[0]


@given(steps=st.lists(STEPS, min_size=1, max_size=30), cut=st.integers(1, 29), kept=st.integers(0, 10))
def test_the_rest_at_the_end_of_an_intervention_is_no_demonstration(steps, cut, kept):
    """A step of a device at rest is one if the device moves later in the intervention, as far as that is known."""
    recorder, segments, known = EpisodeRecorder("a", {"state": np.zeros(1, np.float32)}), [], []
    for t, step in enumerate(steps):
        if t == cut and kept < cut:
            segments.append(recorder.cut(cut - kept))
            known += [t] * (cut - kept)
        recorder.add(np.zeros(2, np.float32), ({"state": np.full(1, t, np.float32)}, 0.0, False, False, info_of(step)))
    segment = Segment.join([*segments, recorder.cut()])
    known += [len(steps)] * (len(steps) - len(known))
    for t, step in enumerate(steps):
        later = itertools.takewhile(partial(is_of, step), steps[t : known[t]])
        is_person = isinstance(step, tuple)
        assert segment.by_person[t] == (segment.actors.interventions[t] > 0) == is_person
        assert segment.intervened[t] == (is_person and (step[0], False) in later)
        np.testing.assert_array_equal(segment.actions[t], np.full(2, -1.0 if is_person else 0.0))
    check_segment("here", 0, segment, None, 2)


def test_what_a_robot_made_of_an_action_is_stored_whoever_chose_it():
    sent = {"executed_action": np.full(2, 0.5, np.float32)}
    [segment] = played([{}, sent, person() | sent, HELD | sent])
    np.testing.assert_allclose(segment.actions[:, 0], [0.0, 0.5, 0.5, 0.5])
    np.testing.assert_allclose(segment.actors.policy_actions[:, 0], [0.0, 0.01, 0.02, 0.03])
    assert segment.actors.sources.tolist() == ["policy", "policy", "env", "held"]
    assert segment.intervened.tolist() == [False, False, True, False]


def test_without_known_actors_interventions_are_those_of_persons():
    [segment] = played([person(), {}, person(tail=True)], has_policy=False)
    assert segment.by_person.tolist() == segment.intervened.tolist() == [True, False, False]


def test_a_recording_without_a_policy_has_no_actors():
    assert all(segment.actors is None for segment in played([person(), {}], cuts=[1], has_policy=False))
