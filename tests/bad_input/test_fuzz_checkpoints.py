"""Checkpoints with bytes or values that somebody has changed: they are loaded, or refused by an error of ours."""

from __future__ import annotations

import json
import shutil

import memory
import pytest
from fuzzing import EDITS, MOST_GROWTH, edited, fuzz
from hypothesis import given
from hypothesis import strategies as st

from serl_ray.agents.checkpoint import load_agent
from serl_ray.rllib import SERLConfig
from serl_ray.runs.policy import load_policy

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@pytest.fixture(scope="module")
def saved(shared_ray, tmp_path_factory):
    """A checkpoint, and an algorithm to load what becomes of it."""
    folder = tmp_path_factory.mktemp("saved")
    options = {"training_starts": 20, "max_steps": 100, "batch_size": 8, "hidden_dims": (4, 4), "steps_per_iteration": 30}
    config = SERLConfig().training(env_name="line_envs:LineEnv", evaluate_every=0, **options).keep_replay(folder / "replay")
    algorithm = config.build_algo()
    algorithm.train()
    algorithm.save_checkpoint(str(folder / "checkpoint"))
    yield folder / "checkpoint", algorithm
    algorithm.stop()


@pytest.fixture(autouse=True)
def little_memory(saved):
    with memory.at_most(MOST_GROWTH):
        yield


def is_loaded_or_refused(saved, relative, change):
    good, algorithm = saved
    path = good.with_name("fuzzed")
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(good, path)
    file = path / relative
    file.write_bytes(change(file.read_bytes()))
    loads = (
        lambda: algorithm.load_checkpoint(str(path)),
        lambda: load_agent(path / "agent", "cpu"),
        lambda: load_policy(path, env_name="line_envs:LineEnv"),
    )
    for load in loads:
        try:
            load()
        except (ValueError, FileNotFoundError) as error:
            assert type(error) in (ValueError, FileNotFoundError), f"{type(error).__name__}: {error}"


def replaced(value, where, by):
    """A JSON value with one of its parts, chosen by numbers in [0, 1), replaced."""
    if not where or not isinstance(value, dict | list) or not value:
        return by
    keys = list(value) if isinstance(value, dict) else range(len(value))
    key = keys[int(where[0] * len(keys))]
    changed = dict(value) if isinstance(value, dict) else list(value)
    changed[key] = replaced(value[key], where[1:], by)
    return changed


SHARES = st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=4)


@pytest.mark.parametrize("relative", ["run.json", "agent/agent.json"])
@given(where=SHARES, by=VALUES)
@fuzz(200)
def test_values(saved, relative, where, by):
    is_loaded_or_refused(saved, relative, lambda content: json.dumps(replaced(json.loads(content), where, by)).encode())


@pytest.mark.parametrize("relative", ["run.json", "agent/agent.json", "agent/agent.safetensors"])
@given(edits=EDITS)
@fuzz(120)
def test_bytes(saved, relative, edits):
    is_loaded_or_refused(saved, relative, lambda content: edited(content, edits))


@given(edits=EDITS)
@fuzz(120)
def test_a_shard(saved, edits):
    [shard] = (saved[0] / "replay" / "online").iterdir()
    is_loaded_or_refused(saved, shard.relative_to(saved[0]), lambda content: edited(content, edits))
