"""What is sampled depends on what was asked for before, and never on timing."""

import threading

import pytest
import torch

from serl_ray.rllib.feed import BatchFeed


@pytest.fixture
def stored():
    return [0]


@pytest.fixture
def feed(stored):
    feed = BatchFeed(lambda: {"newest": stored[-1]}, torch.device("cpu"))
    yield feed
    feed.close()


def test_a_batch_prepared_ahead_does_not_see_what_is_stored_after_it_was_asked_for(feed, stored):
    assert feed.next(prepare_another=True) == {"newest": 0}
    feed.run(stored.append, 1)
    assert feed.next(prepare_another=False) == {"newest": 0}
    assert feed.next(prepare_another=False) == {"newest": 1}


def test_sampling_is_off_the_learners_thread_and_its_errors_are_not_lost(feed):
    assert feed.run(threading.get_ident) != threading.get_ident()

    def fail():
        raise ValueError("the buffer is empty")

    feed._sample = fail
    with pytest.raises(ValueError, match="the buffer is empty"):
        feed.next(prepare_another=False)
