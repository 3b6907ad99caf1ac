import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stamped import ACTION_DIM, SPEC, stamped_segment

from serl_ray.data.replay.mixer import demo_count, sample_mixed
from serl_ray.data.replay.ring import ReplayBuffer

ONLINE, DEMO = 1, 2


def filled(episode: int, frame_stack: int = 1) -> ReplayBuffer:
    buffer = ReplayBuffer(SPEC, ACTION_DIM, 50, frame_stack)
    buffer.add(stamped_segment(episode, 0, 20))
    return buffer


def sources(batch) -> list[int]:
    return np.rint(batch["actions"][:, 0] * 256).astype(int).tolist()


@given(batch_size=st.integers(1, 64), demo_fraction=st.floats(0, 1), frame_stack=st.integers(1, 2))
def test_counts_are_exact_and_online_comes_first(batch_size, demo_fraction, frame_stack):
    batch = sample_mixed(
        filled(ONLINE, frame_stack), filled(DEMO, frame_stack), batch_size, demo_fraction, np.random.default_rng(0)
    )
    num_demos = demo_count(batch_size, demo_fraction)
    assert abs(num_demos - batch_size * demo_fraction) <= 0.5
    assert sources(batch) == [ONLINE] * (batch_size - num_demos) + [DEMO] * num_demos
    for role in ("observations", "next_observations"):
        state = batch[role]["state"].reshape(batch_size, -1, 2)
        assert (state[:, -1, 0] == sources(batch)).all()
    assert (
        batch["next_observations"]["state"].reshape(batch_size, -1, 2)[:, -1, 1]
        == np.rint(batch["actions"][:, 1] * 256) + 1
    ).all()


def test_the_default_half_is_the_originals_split():
    assert [demo_count(size, 0.5) for size in (256, 255, 257, 2)] == [128, 128, 128, 1]


@pytest.mark.parametrize("demo_fraction", [0.0, 0.5, 1.0])
def test_an_empty_side_is_made_up_for(demo_fraction):
    empty, rng = ReplayBuffer(SPEC, ACTION_DIM, 50), np.random.default_rng(0)
    assert sources(sample_mixed(empty, filled(DEMO), 6, demo_fraction, rng)) == [DEMO] * 6
    assert sources(sample_mixed(filled(ONLINE), empty, 6, demo_fraction, rng)) == [ONLINE] * 6
    with pytest.raises(ValueError, match="Neither"):
        sample_mixed(empty, empty, 6, demo_fraction, rng)


@pytest.mark.parametrize("demo_fraction", [-0.1, 1.1, float("nan")])
def test_a_fraction_is_a_fraction(demo_fraction):
    with pytest.raises(ValueError, match="demo_fraction is"):
        sample_mixed(filled(ONLINE), filled(DEMO), 6, demo_fraction, np.random.default_rng(0))
