"""The learner's arithmetic: bfloat16 where it is faster, and the same in a run that goes on elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_agents import batch, small_config, with_maps

from serl_ray.agents import arithmetic
from serl_ray.agents.arithmetic import described_arithmetic, with_arithmetic_of
from serl_ray.agents.checkpoint import load_agent, read_config, save_agent
from serl_ray.agents.config import SACConfig
from serl_ray.agents.sac import SACAgent
from serl_ray.utils.device import multiplies_bfloat16

CPU = torch.device("cpu")


@pytest.fixture
def fast(monkeypatch):
    monkeypatch.setattr(arithmetic, "multiplies_bfloat16", lambda device: True)


def agent_of(bfloat16="auto", cameras=("a",)):
    """An agent that has made one update, and a batch for more."""
    rng = np.random.default_rng(0)
    agent = SACAgent(cameras, 6, config=small_config().replace(bfloat16=bfloat16), device="cpu")
    first, second = (with_maps(batch(rng, agent, cameras), cameras) for _ in range(2))
    agent.update(first)
    return agent.agent, second


@pytest.mark.parametrize("has_instructions", [True, False])
@pytest.mark.parametrize(("device", "generation"), [("cpu", 0), ("cuda", 7), ("cuda", 8), ("cuda", 9), ("mps", 0)])
def test_a_device_must_have_instructions_for_bfloat16(monkeypatch, has_instructions, device, generation):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has_instructions)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (generation, 5))
    expected = has_instructions if device == "cpu" else generation >= 8
    assert multiplies_bfloat16(torch.device(device)) == expected


@pytest.mark.usefixtures("fast")
def test_auto_is_bfloat16_for_cameras_alone():
    (from_images, _), (from_state, _) = agent_of(), agent_of(cameras=())
    assert (from_images.config.bfloat16, from_state.config.bfloat16) == ("on", "off")
    assert "bfloat16" in described_arithmetic(from_images.config)
    assert "float32" in described_arithmetic(from_state.config)


def test_auto_is_float32_where_there_are_no_instructions_and_equals_off():
    (auto, seen), (off, _) = agent_of(), agent_of("off")
    assert auto.update(seen) == off.update(seen)


def test_an_agent_in_bfloat16_goes_on_to_the_last_bit_where_nobody_would_choose_it(tmp_path):
    agent, seen = agent_of("on")
    save_agent(agent, tmp_path / "agent")
    again = load_agent(tmp_path / "agent", "cpu")
    assert again.config.bfloat16 == read_config(tmp_path / "agent").bfloat16 == "on"
    assert agent.update(seen) == again.update(seen)
    ours, theirs = agent.state.tensors(), again.state.tensors()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize(("value", "name"), [(True, "on"), (False, "off"), ("auto", "auto")])
def test_switches_of_yaml_and_of_older_checkpoints_are_read(value, name):
    assert SACConfig(bfloat16=value).bfloat16 == name


@pytest.mark.parametrize("begun", ["on", "off"])
@pytest.mark.usefixtures("fast")
def test_a_run_goes_on_with_the_arithmetic_that_it_began_with(begun):
    assert with_arithmetic_of(SACConfig(bfloat16="on"), SACConfig(bfloat16=begun), CPU).bfloat16 == begun


def test_a_run_in_bfloat16_says_that_this_machine_goes_on_in_float32(caplog):
    config = with_arithmetic_of(SACConfig(bfloat16="off"), SACConfig(bfloat16="on"), CPU)
    assert config.bfloat16 == "off" and "it goes on in float32. --bfloat16 on keeps bfloat16" in caplog.text
