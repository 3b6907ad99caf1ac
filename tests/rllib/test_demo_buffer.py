"""Demonstrations of a hybrid run go into its ring one by one, after the memory for all of them has been checked."""

from __future__ import annotations

import weakref

import pytest
import ray
from line_envs import LineEnv

from serl_ray.data import demos
from serl_ray.data.demos import write_demos
from serl_ray.data.replay import log as replay_log
from serl_ray.data.replay.log import ReplayLog, read_shards
from serl_ray.envs.expert import ScriptedExpert
from serl_ray.envs.recording import record_successes
from serl_ray.options.sets import options_in
from serl_ray.rllib import SERLConfig
from serl_ray.rllib.buffers import demo_buffer, demos_key, read_dataset
from serl_ray.types import ActionLayout

pytestmark = pytest.mark.usefixtures("shared_ray")

NUM_EPISODES = 6


@pytest.fixture
def recorded(tmp_path):
    """Demonstrations in a pickle and two folders of shards, and the options of a run that learns from them."""
    env = LineEnv()
    expert = ScriptedExpert(env, ActionLayout.from_setup("single-arm-learned-gripper", 7), 0.0, 0)
    segments = list(record_successes(env, expert.act, NUM_EPISODES, 0))
    for name, part in (("a.pkl", segments[:2]), ("b", segments[2:4]), ("c", segments[4:])):
        write_demos(tmp_path / name, part)
    paths = [str(tmp_path / name) for name in ("a.pkl", "b", "c")]
    options = options_in(
        SERLConfig().training(env_name="line_envs:LineEnv", demo_paths=paths, max_steps=100, discount=0.95)
    )
    return segments, options, env.observation_space


def test_the_ring_and_its_log_hold_every_demonstration_and_room_for_interventions(recorded, tmp_path):
    segments, options, space = recorded
    log = ReplayLog(tmp_path / "log")
    buffer = demo_buffer(options, space, 7, log)
    num_transitions = sum(map(len, segments))
    assert len(buffer) == num_transitions
    assert buffer.capacity == num_transitions + NUM_EPISODES + 2 * 100
    log.flush()
    assert sum(map(len, read_shards(log.shards))) == num_transitions


def test_a_few_demonstrations_at_most_are_in_memory_beside_the_ring(recorded, tmp_path, monkeypatch):
    _, options, space = recorded
    read, alive, most = demos.segments, weakref.WeakSet(), 0

    def watched(dataset, checks):
        nonlocal most
        for segment in read(dataset, checks):
            alive.add(segment)
            most = max(most, len(alive))
            yield segment

    monkeypatch.setattr(demos, "segments", watched)
    monkeypatch.setattr(replay_log, "MAX_PENDING", 0)
    demo_buffer(options, space, 7, ReplayLog(tmp_path / "log"))
    assert 1 <= most <= 3


def test_memory_is_checked_before_a_demonstration_is_read(recorded, tmp_path, monkeypatch):
    _, options, space = recorded
    monkeypatch.setattr(demos, "segments", lambda *_: pytest.fail("they are being read"))
    with pytest.raises(MemoryError, match="demo replay: .* may be used"):
        demo_buffer(options, space, 7, ReplayLog(tmp_path / "log"), promised=2**60)


def test_shared_demonstrations_fill_the_ring_as_read_ones_do(recorded, tmp_path):

    segments, options, space = recorded
    shared = {demos_key(options): ray.put(read_dataset(options, space, 7))}
    buffer = demo_buffer(options, space, 7, ReplayLog(tmp_path / "log"), shared)
    assert len(buffer) == sum(map(len, segments)) and buffer.capacity == len(buffer) + NUM_EPISODES + 2 * 100


def test_what_a_failed_start_has_written_is_not_of_this_run(recorded, tmp_path):
    segments, options, space = recorded
    before = ReplayLog(tmp_path / "log")
    before.append(segments[0])
    before.flush()
    log = ReplayLog(tmp_path / "log")
    demo_buffer(options, space, 7, log)
    log.flush()
    assert sorted(log.shards) == sorted((tmp_path / "log").glob("*.parquet"))
    assert sum(map(len, read_shards(log.shards))) == sum(map(len, segments))
