"""Checkpoints with bytes or values that somebody has changed: each is refused by an error of ours."""

from __future__ import annotations

import json
import re
import shutil

import memory
import pytest
from fuzzing import EDITS, MOST_GROWTH, edited, fuzz
from hypothesis import given
from hypothesis import strategies as st
from small_runs import SMALL

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
    options = SMALL | {"max_steps": 100, "steps_per_iteration": 30, "evaluate_every": 0, "expert_interventions": 0.2}
    config = SERLConfig().training(env_name="line_envs:LineEnv", **options).keep_replay(folder / "replay")
    algorithm = config.build_algo()
    algorithm.train()
    algorithm.save_checkpoint(str(folder / "checkpoint"))
    yield folder / "checkpoint", algorithm
    algorithm.stop()


@pytest.fixture(autouse=True)
def little_memory(saved):
    with memory.at_most(MOST_GROWTH):
        yield


def is_refused(saved, relative, change):
    """What reads a changed file refuses the checkpoint; a file that still says the same may be read."""
    good, algorithm = saved
    path = good.with_name("fuzzed")
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(good, path)
    file = path / relative
    content, is_agent = file.read_bytes(), relative.startswith("agent")
    file.write_bytes(change(content))
    if meaning(file.read_bytes()) == meaning(content):
        return
    loads = [lambda: algorithm.load_checkpoint(str(path))]
    if is_agent:
        loads.append(lambda: load_agent(path / "agent", "cpu"))
    if is_agent or relative == "run.json":
        loads.append(lambda: load_policy(path, env_name="line_envs:LineEnv"))
    for load in loads:
        with pytest.raises((ValueError, FileNotFoundError), match=re.escape(str(path))) as caught:
            load()
        assert type(caught.value) in (ValueError, FileNotFoundError), f"{type(caught.value).__name__}: {caught.value}"


def meaning(content):
    """The value of a JSON file, which spaces do not change; any other file's bytes."""
    try:
        return json.dumps(json.loads(content))
    except (ValueError, RecursionError):
        return content


@pytest.mark.parametrize("where", [0.0, 0.3, 0.6, 0.999])
@pytest.mark.parametrize(
    "relative", ["run.json", "agent/agent.json", "agent/agent.safetensors", "replay/online", "replay/demos"]
)
def test_a_flipped_bit_is_named_with_its_file(saved, relative, where):
    good, algorithm = saved
    path = good.with_name("flipped")
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(good, path)
    file = path / relative
    if file.is_dir():
        file = next(file.iterdir())
    content = bytearray(file.read_bytes())
    content[int(where * len(content))] ^= 1
    file.write_bytes(content)
    with pytest.raises(ValueError, match=f"{re.escape(str(file))}.*(damaged|cut off)"):
        algorithm.load_checkpoint(str(path))


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
    is_refused(saved, relative, lambda content: json.dumps(replaced(json.loads(content), where, by)).encode())


@pytest.mark.parametrize("relative", ["run.json", "agent/agent.json", "agent/agent.safetensors"])
@given(edits=EDITS)
@fuzz(120)
def test_bytes(saved, relative, edits):
    is_refused(saved, relative, lambda content: edited(content, edits))


@given(edits=EDITS)
@fuzz(120)
def test_a_shard(saved, edits):
    [shard] = (saved[0] / "replay" / "online").iterdir()
    is_refused(saved, str(shard.relative_to(saved[0])), lambda content: edited(content, edits))
