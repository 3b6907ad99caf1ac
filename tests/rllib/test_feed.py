"""What is sampled depends on what was asked for before, and never on timing."""

import threading

import numpy as np
import pytest
import torch

from serl_ray.rllib.feed import AHEAD_FROM, BatchFeed


@pytest.fixture
def stored():
    return [0]


@pytest.fixture
def make(stored):
    feeds = []

    def make(nbytes, **options):
        batch = lambda: {"observations": {"newest": np.full(nbytes, stored[-1], np.uint8)}}  # noqa: E731
        feeds.append(BatchFeed(batch, torch.device("cpu"), **options))
        return feeds[-1]

    yield make
    for feed in feeds:
        feed.close()


def newest(batch):
    return batch["observations"]["newest"][0]


@pytest.mark.parametrize(("nbytes", "reads"), [(AHEAD_FROM, False), (1, True)])
def test_a_batch_prepared_ahead_does_not_see_what_is_stored_after_it_was_asked_for(make, stored, nbytes, reads):
    feed = make(nbytes, reads=reads)
    assert newest(feed.next(prepare_another=True)) == 0
    feed.run(stored.append, 1)
    assert newest(feed.next(prepare_another=False)) == 0
    assert newest(feed.next(prepare_another=False)) == 1


def test_a_small_batch_is_made_when_it_is_wanted(make, stored):
    feed = make(AHEAD_FROM - 1)
    assert newest(feed.next(prepare_another=True)) == 0
    feed.run(stored.append, 1)
    assert newest(feed.next(prepare_another=True)) == 1


def test_sampling_is_off_the_learners_thread_and_its_errors_are_not_lost(make, stored):
    feed = make(AHEAD_FROM)
    assert feed.run(threading.get_ident) != threading.get_ident()
    stored.clear()
    with pytest.raises(IndexError):
        feed.next(prepare_another=False)
