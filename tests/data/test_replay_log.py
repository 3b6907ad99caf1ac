"""Experience on disk: a buffer that is filled from the log is the one that was logged, and a checkpoint's links stand
alone."""

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from experience import draw_many, experience
from hypothesis import given, settings
from hypothesis import strategies as st
from stamped import ACTION_DIM, SPEC, stamped_segment

from serl_ray.data.replay import log
from serl_ray.data.replay.log import (
    FULL_DISK_SECONDS,
    WRITE_SECONDS,
    LogWriter,
    ReplayLog,
    num_transitions,
    read_shards,
)
from serl_ray.data.replay.ring import ReplayBuffer
from serl_ray.data.schema import TRANSITION_FIELDS
from serl_ray.files.digests import sha256_of
from serl_ray.rllib.buffers import add_in_pieces


@given(
    fragments=experience(),
    later=experience(),
    capacity=st.integers(7, 40),
    frame_stack=st.integers(1, 3),
    flushes=st.sets(st.integers(0, 30)),
)
@settings(max_examples=40, deadline=None)
def test_a_buffer_filled_from_the_log_goes_on_as_the_logged_one(fragments, later, capacity, frame_stack, flushes):
    logged, restored = (ReplayBuffer(SPEC, ACTION_DIM, capacity, frame_stack) for _ in range(2))
    with tempfile.TemporaryDirectory() as folder:
        log = ReplayLog(Path(folder))
        for index, segment in enumerate(fragments):
            logged.add(segment)
            log.append(segment)
            if index in flushes:
                log.flush()
        log.flush()
        assert num_transitions(log.shards) == sum(map(len, fragments))
        restored.add(stamped_segment(5, 0, 6))  # to be forgotten
        restored.clear()
        stored = list(read_shards(log.shards))
        assert acted(stored) == acted(fragments)
        for segment in stored:
            add_in_pieces(restored, segment)
    for segment in [None, *later]:
        if segment:
            logged.add(segment)
            restored.add(segment)
        assert len(logged) == len(restored)
        if len(logged):
            a, b = draw_many(logged, 20), draw_many(restored, 20)
            assert all(np.array_equal(a[field], b[field]) for field in TRANSITION_FIELDS)
            assert all(
                np.array_equal(a[role][key], b[role][key])
                for role in ("observations", "next_observations")
                for key in SPEC
            )


def acted(segments):
    """Each step's actor, by episode and step; None where it is not known."""
    actors = {}
    for segment in segments:
        for t in range(len(segment)):
            known = segment.actors
            row = known and (known.policy_actions[t].tolist(), known.interventions[t], known.sources[t])
            actors[segment.episode, segment.first_step + t] = row
    return actors


def test_an_episode_that_came_step_by_step_holds_every_frame_once(tmp_path):
    log, episode = ReplayLog(tmp_path), stamped_segment(1, 0, 30, done=True)
    for step in range(30):
        log.append(episode.slice(step, step + 1))
    log.flush()
    [segment] = read_shards(log.shards)
    assert len(segment) == 30 and np.array_equal(segment.observations["image"], episode.observations["image"])


def test_what_comes_back_from_a_log_tells_the_success_that_was_reported(tmp_path):
    log = ReplayLog(tmp_path)
    for first, success in ((0, False), (3, None), (6, True)):
        log.append(replace(stamped_segment(1, first, 3, done=first == 6), success=success))
    log.flush()
    [back] = read_shards(log.shards)
    assert back.success is True and back.slice(0, 3).success is None


def test_saving_costs_what_is_new_and_a_checkpoint_stands_alone(tmp_path):
    log = ReplayLog(tmp_path / "run")
    for number in range(3):
        log.append(stamped_segment(number, 0, 5, done=True))
        names = log.link_into(tmp_path / f"checkpoint-{number}")
        assert len(names) == number + 1
    assert len(list((tmp_path / "run").iterdir())) == 3
    first = tmp_path / "checkpoint-1" / names[0]
    assert first.samefile(tmp_path / "checkpoint-2" / names[0])
    shutil.rmtree(tmp_path / "run")
    shutil.rmtree(tmp_path / "checkpoint-1")
    kept = [tmp_path / "checkpoint-2" / name for name in names]
    assert [segment.episode for segment in read_shards(kept)] == ["0", "1", "2"]


def test_what_could_not_be_written_stays_in_memory(tmp_path, monkeypatch):
    log = ReplayLog(tmp_path)
    log.append(stamped_segment(0, 0, 5))

    def no_room(path, segments, trunk, scale):
        path.write_bytes(b"half of it")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched, pytest.raises(OSError, match="No space left"):
        patched.setattr("serl_ray.data.replay.log.write_segments", no_room)
        log.flush()
    assert not list(tmp_path.iterdir()) and log.pending
    log.append(stamped_segment(0, 5, 5))
    log.flush()
    assert [len(segment) for segment in read_shards(log.shards)] == [10] and not log.pending


def test_a_log_that_takes_over_a_checkpoint_knows_what_was_stored_after_it(tmp_path):
    log = ReplayLog(tmp_path / "run")
    log.append(stamped_segment(0, 0, 5))
    names = log.link_into(tmp_path / "checkpoint")
    log.append(stamped_segment(0, 5, 5))
    log.flush()
    again = ReplayLog(tmp_path / "run")
    again.take_over([tmp_path / "checkpoint" / name for name in names])
    assert again.leftovers() == log.shards[1:]
    elsewhere = ReplayLog(tmp_path / "other")
    elsewhere.take_over([tmp_path / "checkpoint" / name for name in names])
    assert [shard.name for shard in elsewhere.shards] == names and not elsewhere.leftovers()


@pytest.fixture
def clock(monkeypatch):
    now = SimpleNamespace(seconds=0.0)
    monkeypatch.setattr(log, "time", SimpleNamespace(monotonic=lambda: now.seconds))
    return now


def test_experience_waits_for_seconds_and_not_for_much(clock, monkeypatch, tmp_path):
    log = ReplayLog(tmp_path)
    writer = LogWriter([log])
    for step, written in ((0.0, 0), (WRITE_SECONDS / 2, 0), (WRITE_SECONDS, 3), (0.1, 3)):
        clock.seconds += step
        log.append(stamped_segment(int(10 * clock.seconds), 0, 1))
        writer.write_if_due()
        assert num_transitions(log.shards) == written
    monkeypatch.setattr("serl_ray.data.replay.log.MAX_PENDING", 0)
    writer.write_if_due()
    assert num_transitions(log.shards) == 4


def test_a_full_disk_is_not_tried_at_every_step(clock, monkeypatch, tmp_path, caplog):
    log, tries = ReplayLog(tmp_path), []

    def full(*args):
        tries.append(clock.seconds)
        raise OSError("No space left on device")

    monkeypatch.setattr("serl_ray.data.replay.log.write_segments", full)
    monkeypatch.setattr("serl_ray.data.replay.log.MAX_PENDING", 0)
    writer = LogWriter([log])
    for _ in range(100):
        clock.seconds += FULL_DISK_SECONDS / 40
        log.append(stamped_segment(len(tries), 0, 1))
        writer.write_if_due()
        writer.write()
    assert len(tries) == 3 and caplog.text.count("No space left on device") == 3
    monkeypatch.undo()
    writer.close()
    assert num_transitions(log.shards) == 100


def test_each_shard_is_hashed_once(tmp_path, monkeypatch):
    hashed = []
    monkeypatch.setattr(log, "sha256_of", lambda path: hashed.append(path.name) or sha256_of(path))
    first = ReplayLog(tmp_path / "run")
    for number in range(3):
        first.append(stamped_segment(number, 0, 5, done=True))
        names = first.link_into(tmp_path / f"checkpoint-{number}")
        digests = first.digests()
    assert digests == {name: sha256_of(tmp_path / "checkpoint-2" / name) for name in names} and len(hashed) == 3
    again = ReplayLog(tmp_path / "other")
    again.take_over(first.shards[:2], {name: digests[name] for name in names[:2]})
    again.shards.append(first.shards[2])  # recovered, so that nobody knows its digest
    assert again.digests() == digests and hashed[3:] == [names[2]]
