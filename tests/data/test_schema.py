from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stamped import assert_same, stamped_actors, stamped_segment

from serl_ray.data.schema import Segment


@given(st.lists(st.booleans(), min_size=1, max_size=30), st.booleans())
def test_runs_are_the_longest_stretches_of_the_mask(mask, actors):
    segment = stamped_segment(3, 5, len(mask), done=True, actors=actors)
    runs = segment.runs(np.array(mask))
    covered = [t for run in runs for t in range(run.first_step - 5, run.first_step - 5 + len(run))]
    assert covered == [t for t, chosen in enumerate(mask) if chosen]
    assert all(b.first_step > a.first_step + len(a) for a, b in pairwise(runs))
    for run in runs:
        is_last = run.first_step + len(run) == 5 + len(mask)
        assert_same(run, stamped_segment(3, run.first_step, len(run), done=is_last, actors=actors))


@given(st.lists(st.integers(1, 5), min_size=1, max_size=5), st.booleans())
def test_pieces_of_an_episode_join_to_the_whole(lengths, actors):
    starts = np.cumsum([0, *lengths])
    whole = stamped_segment(3, 0, int(starts[-1]), done=True, actors=actors)
    pieces = [whole.slice(*piece) for piece in pairwise(starts)]
    assert all(later.continues(earlier) for earlier, later in pairwise(pieces))
    assert_same(Segment.join(pieces), whole)


def test_a_piece_with_actors_does_not_continue_one_without():
    first, second = stamped_segment(3, 0, 4), stamped_segment(3, 4, 2, actors=True)
    assert second.continues(stamped_segment(3, 0, 4, actors=True))
    assert not second.continues(first) and not stamped_segment(3, 6, 2).continues(second)
    assert Segment.join([first, second]).actors is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rewards": np.zeros(3)}, "rewards of shape"),
        ({"actions": np.zeros(4)}, "actions"),
        ({"observations": {"image": np.zeros((4, 2, 2, 3), np.uint8)}}, "5 rows of observations"),
        ({"dones": [0, 1, 0, 0]}, "done before the last row"),
        ({"actors": stamped_actors(0, np.arange(3))}, r"actors with policy_actions of shape \(4, 2\), not \(3, 2\)"),
    ],
)
def test_a_segment_that_does_not_fit_together_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(stamped_segment(0, 0, 4), **change)
