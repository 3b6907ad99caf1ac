from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stamped import assert_same, stamped_segment


@given(st.lists(st.booleans(), min_size=1, max_size=30))
def test_runs_are_the_longest_stretches_of_the_mask(mask):
    segment = stamped_segment(3, 5, len(mask), done=True)
    runs = segment.runs(np.array(mask))
    covered = [t for run in runs for t in range(run.first_step - 5, run.first_step - 5 + len(run))]
    assert covered == [t for t, chosen in enumerate(mask) if chosen]
    assert all(b.first_step > a.first_step + len(a) for a, b in pairwise(runs))
    for run in runs:
        is_last = run.first_step + len(run) == 5 + len(mask)
        assert_same(run, stamped_segment(3, run.first_step, len(run), done=is_last))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rewards": np.zeros(3)}, "rewards of shape"),
        ({"actions": np.zeros(4)}, "actions"),
        ({"observations": {"image": np.zeros((4, 2, 2, 3), np.uint8)}}, "5 rows of observations"),
        ({"dones": [0, 1, 0, 0]}, "done before the last row"),
    ],
)
def test_a_segment_that_does_not_fit_together_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(stamped_segment(0, 0, 4), **change)
