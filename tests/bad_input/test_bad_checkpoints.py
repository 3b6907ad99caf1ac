"""Checkpoints that are damaged or do not fit: each is refused by name, and nothing is changed."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from sealing import reseal
from small_runs import SMALL

from serl_ray.rllib import SERLConfig

pytestmark = pytest.mark.usefixtures("shared_ray")


def config(tmp_path):
    options = SMALL | {"steps_per_iteration": 50, "evaluate_every": 0, "expert_interventions": 0.1}
    config = SERLConfig().training(env_name="line_envs:LineEnv", setup_mode="single-arm-learned-gripper", **options)
    return config.debugging(seed=3).keep_replay(tmp_path / "replay")


@pytest.fixture
def build(build, tmp_path):
    return lambda: build(config(tmp_path))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    algorithm = config(folder).build_algo()
    algorithm.train()
    algorithm.save_checkpoint(str(folder / "checkpoint"))
    algorithm.stop()
    return folder / "checkpoint"


def edit(change):
    def damage(path):
        state = json.loads((path / "run.json").read_text())
        change(state)
        (path / "run.json").write_text(json.dumps(state))
        reseal(path)

    return damage


def retensor(change):
    def damage(path):
        file = path / "agent" / "agent.safetensors"
        tensors = load_file(file)
        change(tensors)
        save_file(tensors, file)
        reseal(path)

    return damage


def first_shard(path):
    return min((path / "replay" / "online").iterdir())


def cut(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


DAMAGE = {
    "no run.json": (lambda path: (path / "run.json").unlink(), "holds no checkpoint: there is no run.json in it"),
    "half of run.json": (lambda path: cut(path / "run.json"), "run.json is damaged: it is not JSON"),
    "a list": (lambda path: (path / "run.json").write_text("[1]"), "run.json is damaged: it holds no JSON object"),
    "deep JSON": (lambda path: (path / "run.json").write_text("[" * 10**5), "run.json is damaged: it is not JSON"),
    "another version": (
        edit(lambda state: state.update(format_version=99)),
        "has format version 99; this release reads 5",
    ),
    "no options": (edit(lambda state: state.pop("options")), "run.json is damaged: options is missing or wrong"),
    "a word as counter": (
        edit(lambda s: s["counters"].update(env_steps="x")),
        "counters.env_steps is missing or wrong",
    ),
    "no counter": (edit(lambda s: s["counters"].pop("learner_steps")), "counters.learner_steps is missing or wrong"),
    "a path for a shard": (edit(lambda s: s["replay"].update(online=["../../x"])), "replay.online is missing or wrong"),
    "no random state": (edit(lambda s: s["random"].pop("batches")), "run.json is damaged .*batches"),
    "another random state": (edit(lambda s: s["random"]["batches"].update(bit_generator="x")), "run.json is damaged"),
    "another arm": (
        edit(lambda s: s["options"].update(setup_mode="dual-arm-fixed-gripper")),
        "with setup_mode 'dual-arm-fix",
    ),
    "another camera": (
        edit(lambda s: s["options"].update(image_keys=["top"])),
        r"with image_keys \['top'\], this run has \[\]",
    ),
    "other layers": (
        edit(lambda s: s["options"].update(hidden_dims=[8])),
        r"with hidden_dims \[8\], this run has \[16, 16\]",
    ),
    "another state": (
        edit(lambda s: s["contract"].update(observations={})),
        "an env whose observations are {}; this env has",
    ),
    "another action": (
        edit(lambda s: s["contract"].update(action_dim=9)),
        "an env whose action_dim are 9; this env has 7",
    ),
    "fewer steps": (edit(lambda s: s["counters"].update(env_steps=49)), "counts 49 env steps, but its replay has 50"),
    "no agent": (lambda path: shutil.rmtree(path / "agent"), "holds no agent: there is no agent.safetensors in it"),
    "half of the tensors": (lambda path: cut(path / "agent" / "agent.safetensors"), "agent.safetensors is damaged"),
    "a tensor too few": (
        retensor(lambda t: t.pop("networks.actor.mean.bias")),
        r"missing \['networks.actor.mean.bias'\]",
    ),
    "a tensor too many": (retensor(lambda t: t.update(more=np.zeros(2))), r"surplus \['more'\]"),
    "no moment": (retensor(lambda t: t.pop("optimiser.actor.0.exp_avg")), r"missing \['optimiser.actor.0.exp_avg'\]"),
    "another shape": (
        retensor(lambda t: t.update({"generator.cpu": np.zeros(3, np.uint8)})),
        "holds no state of a random",
    ),
    "a path for a replay": (edit(lambda s: s["replay"].update({"../../x": []})), "replay.../../x is missing or wrong"),
    "an absolute replay": (edit(lambda s: s["replay"].update({"/x": []})), "replay./x is missing or wrong"),
    "below no steps": (
        edit(lambda s: s["counters"].update(learner_steps=-(10**12))),
        "counters.learner_steps is missing or wrong",
    ),
    "more than all": (
        edit(lambda s: s["counters"].update(interventions=51)),
        "counters.interventions is missing or wrong",
    ),
    "another fault": (edit(lambda s: s["faults"].update({"faults/x": 1})), "faults.faults/x is missing or wrong"),
    "a word as fault": (edit(lambda s: s["faults"].update({"faults/env_error": "x"})), "env_error is missing or wrong"),
    "no number": (edit(lambda s: s["episodes"].update(number="x")), "run.json is damaged .*number of episodes is 'x'"),
    "another type": (
        retensor(lambda t: t.update({"generator.cpu": t["generator.cpu"].astype(np.int8)})),
        "holds no state of a random",
    ),
    "a damaged generator": (
        retensor(lambda t: t["generator.cpu"].fill(255)),
        "generator holds no state of a random generator",
    ),
    "no generator": (retensor(lambda t: t.pop("generator.cpu")), "needs the state of exactly one random generator"),
    "no shard": (lambda path: first_shard(path).unlink(), "is incomplete: 000000-.*parquet is not in"),
    "half a shard": (lambda path: cut(first_shard(path)), "cut off, or not a Parquet file"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_does_not_fit_is_refused_by_name_and_nothing_is_changed(build, saved, tmp_path, damage):
    path = tmp_path / "checkpoint"
    shutil.copytree(saved, path)
    hurt, message = DAMAGE[damage]
    hurt(path)
    algorithm = build()
    before = algorithm.agent.state.tensors()
    with pytest.raises((ValueError, FileNotFoundError), match=message) as raised:
        algorithm.load_checkpoint(str(path))
    assert str(path) in str(raised.value) or "checkpoint" in str(raised.value)
    assert all(np.array_equal(tensor, before[name]) for name, tensor in algorithm.agent.state.tensors().items())
    assert algorithm.env_steps == 0
