"""A window that moves over the data: all of it comes by, in every pass, and never more than the window is in memory."""

import numpy as np
import pytest
from stamped import ACTION_DIM, SPEC, stamped_segment

from serl_ray.data import demos
from serl_ray.data.replay.ring import ReplayBuffer
from serl_ray.data.replay.streaming import USES, DemoStream

EPISODES, LENGTH, WINDOW, HELD_OUT = 40, 6, 60, {"3", "17"}


pytestmark = pytest.mark.usefixtures("shared_ray")


@pytest.fixture
def stream_of(dataset):
    """Makes streams, and closes them while Ray is there."""
    streams = []

    def make(held_out=(), seed=0):
        window = ReplayBuffer(SPEC, ACTION_DIM, WINDOW)
        streams.append(DemoStream(dataset, window, held_out, seed))
        return streams[-1], window

    yield make
    for stream in streams:
        stream.close()


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stream")
    for part in range(4):
        episodes = range(10 * part, 10 * part + 10)
        demos.write_demos(folder / f"part-{part}", (stamped_segment(e, 0, LENGTH, done=True) for e in episodes))
    return demos.read_demos([str(path) for path in sorted(folder.iterdir())]).materialize()


def drawn_episodes(batch):
    return np.rint(batch["actions"][:, 0] * 256).astype(int)


def test_every_episode_comes_by_but_those_that_are_held_out(stream_of):
    (stream, window), rng = stream_of(HELD_OUT), np.random.default_rng(0)
    one_pass = EPISODES * (LENGTH + 1) * USES // 32
    drawn = np.concatenate([drawn_episodes(stream.sample(32, rng)) for _ in range(2 * one_pass)])
    counts = np.bincount(drawn, minlength=EPISODES)
    assert {str(e) for e in np.flatnonzero(counts == 0)} == HELD_OUT
    assert len(window) <= WINDOW and counts.max() < 5 * np.median(counts)


def test_a_transition_is_the_recorded_one(stream_of):
    (stream, _), rng = stream_of(), np.random.default_rng(1)
    for _ in range(30):
        batch = stream.sample(16, rng)
        np.testing.assert_array_equal(batch["observations"]["state"][:, 0], drawn_episodes(batch))
        np.testing.assert_array_equal(
            batch["next_observations"]["state"][:, 1], batch["observations"]["state"][:, 1] + 1
        )


def test_the_order_depends_on_the_seed_alone(stream_of):
    def drawn(seed):
        (stream, _), rng = stream_of(seed=seed), np.random.default_rng(2)
        return np.concatenate([drawn_episodes(stream.sample(16, rng)) for _ in range(20)]).tolist()

    assert drawn(0) == drawn(0) != drawn(1)
