import logging
import pickle
from dataclasses import replace

import numpy as np
import psutil
import pytest
from experience import draw_many, experience
from hypothesis import given, settings
from hypothesis import strategies as st
from stamped import ACTION_DIM, SPEC, frames, stamped_segment

from serl_ray.data.replay.ring import ReplayBuffer
from serl_ray.data.schema import ArraySpec, Segment

Stored = dict[tuple[int, int], int]
"""(episode, step) of each transition given to the buffer -> step at which its contiguous recording starts."""


def sampled_ids(batch) -> list[tuple[int, int]]:
    return [(episode, step) for episode, step in np.rint(batch["actions"] * 256).astype(int).tolist()]


def check_against_truth(batch, origin: Stored, frame_stack: int) -> None:
    """Every sample is what was recorded: its fields, and its frames back to where the recording begins."""
    episodes, steps = np.array(sampled_ids(batch)).T  # (B,)
    np.testing.assert_array_equal(batch["rewards"], (steps + episodes / 256).astype(np.float32))
    np.testing.assert_array_equal(batch["grasp_penalty"], -0.5 * (steps % 2))
    np.testing.assert_array_equal(batch["intervened"], steps % 3 == 0)
    starts = np.array([origin[transition] for transition in sampled_ids(batch)])
    for role, last in (("observations", steps), ("next_observations", steps + 1)):
        stacks = np.maximum(last[:, None] + np.arange(1 - frame_stack, 1), starts[:, None])  # (B, T)
        for key, expected in frames(np.repeat(episodes, frame_stack), stacks.ravel()).items():
            stack = (frame_stack,) if frame_stack > 1 else ()
            np.testing.assert_array_equal(batch[role][key], expected.reshape(len(steps), *stack, *SPEC[key].shape))


class Model:
    """What a buffer should hold, worked out from positions in one endless list of rows of which the last `capacity` are
    alive."""

    def __init__(self, capacity: int, frame_stack: int) -> None:
        self.capacity, self.frame_stack, self.written = capacity, frame_stack, 0
        self.recordings: dict[
            str, list[dict[int, int]]
        ] = {}  # episode -> its gapless recordings: step -> position of the frame
        self.origin: Stored = {}

    def add(self, segment: Segment) -> None:
        recordings = self.recordings.setdefault(segment.episode, [])
        position = recordings[-1].get(segment.first_step, -1) if recordings else -1
        if position < 0 or position < self.written + len(segment) - self.capacity:
            recordings.append({segment.first_step: self.written})
            self.written += 1
        for t in range(len(segment)):
            self.origin[int(segment.episode), segment.first_step + t] = min(recordings[-1])
            recordings[-1][segment.first_step + t + 1] = self.written + t
        self.written += len(segment)

    def alive(self) -> set[tuple[int, int]]:
        """The transitions all of whose frames are still there."""
        oldest = self.written - self.capacity
        return {
            (int(episode), step)
            for episode, recordings in self.recordings.items()
            for recording in recordings
            for step in range(min(recording), max(recording))
            if recording[max(step - self.frame_stack + 1, min(recording))] >= oldest
        }


@given(fragments=experience(), capacity=st.integers(7, 60), frame_stack=st.integers(1, 3))
@settings(max_examples=80, deadline=None)
def test_samples_are_recorded_transitions_whatever_the_order_and_however_often_the_ring_wraps(
    fragments, capacity, frame_stack
):
    buffer, model = ReplayBuffer(SPEC, ACTION_DIM, capacity, frame_stack), Model(capacity, frame_stack)
    for segment in fragments:
        buffer.add(segment)
        model.add(segment)
        alive = model.alive()
        assert len(buffer) == len(alive)
        if alive:
            batch = draw_many(buffer, 60)
            assert set(sampled_ids(batch)) <= alive
            check_against_truth(batch, model.origin, frame_stack)


@given(fragments=experience(), frame_stack=st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_a_buffer_that_is_not_full_holds_every_transition_in_as_few_rows_as_there_are_frames(fragments, frame_stack):
    buffer = ReplayBuffer(SPEC, ACTION_DIM, 400, frame_stack)
    distinct, expected_frames, ends = set(), 0, {}
    for segment in fragments:
        buffer.add(segment)
        distinct |= {(int(segment.episode), segment.first_step + t) for t in range(len(segment))}
        expected_frames += len(segment) + (ends.get(segment.episode) != segment.first_step)
        ends[segment.episode] = segment.first_step + len(segment)
    assert buffer.written == expected_frames
    assert len(buffer) == len(distinct)
    assert set(sampled_ids(draw_many(buffer, 4000))) == distinct


@pytest.mark.parametrize("frame_stack", [1, 2, 3])
def test_overwriting_ends_exactly_the_transitions_that_need_the_lost_frames(frame_stack):
    buffer = ReplayBuffer(SPEC, ACTION_DIM, 20, frame_stack)
    buffer.add(stamped_segment(1, 0, 10))  # rows 0-10
    buffer.add(stamped_segment(2, 0, 12, done=True))  # rows 11-19 and 0-3
    survivors = {(1, step) for step in range(4 + frame_stack - 1, 10)} | {(2, step) for step in range(12)}
    assert set(sampled_ids(draw_many(buffer))) == survivors
    assert len(buffer) == len(survivors)


def test_a_tail_that_lost_its_history_continues_with_whole_stacks_only():
    buffer = ReplayBuffer(SPEC, ACTION_DIM, 12, frame_stack=3)
    buffer.add(stamped_segment(1, 0, 3))  # rows 0-3, the tail in row 3
    buffer.add(stamped_segment(2, 0, 9, done=True))  # rows 4-11 and 0, 1
    buffer.add(stamped_segment(1, 3, 1))  # row 2 goes: the frame before the tail
    assert (1, 3) not in sampled_ids(draw_many(buffer))
    buffer.add(stamped_segment(1, 4, 2))  # row 3 goes: the tail's own
    assert {(1, 4), (1, 5)} & set(sampled_ids(draw_many(buffer))) == set()
    buffer.add(stamped_segment(1, 6, 1))
    assert (1, 6) in sampled_ids(draw_many(buffer))


def test_a_tail_in_the_way_of_the_write_head_is_not_continued():
    buffer = ReplayBuffer(SPEC, ACTION_DIM, 10)
    buffer.add(stamped_segment(1, 0, 1))  # rows 0, 1
    buffer.add(stamped_segment(2, 0, 7, done=True))  # rows 2-9
    buffer.add(stamped_segment(1, 1, 4))  # rows 0-4, over its own tail
    batch = draw_many(buffer)
    assert {id for id in sampled_ids(batch) if id[0] == 1} == {(1, 1), (1, 2), (1, 3), (1, 4)}
    check_against_truth(batch, {**{(1, t): 1 for t in range(5)}, **{(2, t): 0 for t in range(7)}}, 1)


def test_an_episode_name_used_again_does_not_join_two_recordings():
    buffer = ReplayBuffer(SPEC, ACTION_DIM, 30)
    buffer.add(stamped_segment(1, 0, 4))
    buffer.add(replace(stamped_segment(9, 4, 4), episode=1))
    check_against_truth(draw_many(buffer), {**{(1, t): 0 for t in range(4)}, **{(9, t + 4): 4 for t in range(4)}}, 1)


def still_segment(first_step: int, done: bool = False) -> Segment:
    """Two steps of an episode in which nothing moves, so that all its frames are equal."""
    segment = stamped_segment(1, first_step, 2, done)
    return replace(segment, observations={key: np.zeros_like(rows) for key, rows in segment.observations.items()})


def test_equal_frames_alone_do_not_join_two_recordings():
    buffer = ReplayBuffer(SPEC, ACTION_DIM, 30)
    rows = []
    for segment in (
        still_segment(0),
        still_segment(2),
        still_segment(7),
        still_segment(9, done=True),
        still_segment(11),
    ):
        before = buffer.written
        buffer.add(segment)
        rows.append(buffer.written - before)
    assert rows == [3, 2, 3, 2, 3]  # a new recording after the gap, and after the end


def test_episodes_that_never_end_are_not_remembered_for_ever():
    buffer, sizes = ReplayBuffer(SPEC, ACTION_DIM, 10), []
    for episode in range(100, 200):
        buffer.add(stamped_segment(episode, 0, 1))
        sizes.append(len(pickle.dumps(buffer)))
    assert max(sizes[50:]) <= max(sizes[:50])


def test_interventions_keep_their_own_frames():
    segment = stamped_segment(7, 0, 30, done=True)
    buffer = ReplayBuffer(SPEC, ACTION_DIM, 100)
    for run in segment.runs(segment.intervened):
        buffer.add(run)
    batch = draw_many(buffer)
    assert set(sampled_ids(batch)) == {(7, step) for step in range(0, 30, 3)}
    check_against_truth(batch, {(7, step): step for step in range(30)}, 1)


def test_masks_and_ends_come_back_as_recorded():
    buffer = ReplayBuffer(SPEC, ACTION_DIM, 30)
    buffer.add(stamped_segment(1, 0, 3, done=True))
    buffer.add(stamped_segment(2, 0, 3, done=True, truncated=True))
    batch = draw_many(buffer)
    ends = {id: tuple(batch[f][i] for f in ("masks", "dones", "truncateds")) for i, id in enumerate(sampled_ids(batch))}
    assert ends[1, 2] == (0.0, True, False)
    assert ends[2, 2] == (1.0, True, True)
    assert ends[1, 1] == ends[2, 1] == (1.0, False, False)


def test_sampling_is_uniform_over_valid_transitions():
    buffer = ReplayBuffer(SPEC, ACTION_DIM, 16, frame_stack=2)
    for episode in range(6):
        buffer.add(stamped_segment(episode, 0, 1 + episode % 4, done=True))
    ids, counts = np.unique(sampled_ids(draw_many(buffer, 40_000)), axis=0, return_counts=True)
    assert len(ids) == len(buffer)
    expected = 40_000 / len(buffer)
    assert (np.abs(counts - expected) < 5 * np.sqrt(expected)).all()


def test_the_cost_is_announced_to_the_byte_and_refused_before_it_hurts(caplog, monkeypatch):
    caplog.set_level(logging.INFO)
    spec = {
        "front": ArraySpec((8, 8, 3), np.uint8),
        "wrist": ArraySpec((8, 8, 3), np.uint8),
        "state": ArraySpec((5,), np.float32),
    }
    buffer = ReplayBuffer(spec, 7, 100_000, name="online replay")
    per_row = 2 * 8 * 8 * 3 + 5 * 4 + 7 * 4 + 3 * 4 + 3 + 2 * 8 + 1
    assert buffer.nbytes == 100_000 * per_row
    assert "online replay: 100,000 observations, 2 cameras, 0.0 GB;" in caplog.text
    free = buffer.nbytes / 0.8
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"available": free + 10}))
    ReplayBuffer(spec, 7, 100_000)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"available": free - 10}))
    with pytest.raises(MemoryError, match="smaller --capacity or fewer cameras"):
        ReplayBuffer(spec, 7, 100_000)


def test_what_does_not_fit_is_refused_by_name():
    buffer = ReplayBuffer(SPEC, ACTION_DIM, 10, name="demos")
    with pytest.raises(ValueError, match="demos: is empty"):
        buffer.sample(4, np.random.default_rng(0))
    with pytest.raises(ValueError, match="needs a --capacity of 11, not 10"):
        buffer.add(stamped_segment(0, 0, 10))
    segment = stamped_segment(0, 0, 4)
    with pytest.raises(ValueError, match="image: float32 of shape"):
        buffer.add(
            replace(
                segment,
                observations={**segment.observations, "image": segment.observations["image"].astype(np.float32)},
            )
        )
    with pytest.raises(ValueError, match="actions of 2 numbers, the segment has 3"):
        buffer.add(replace(segment, actions=np.zeros((4, 3))))
    assert len(buffer) == 0
