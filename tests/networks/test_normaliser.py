"""The scale of the state: taken from demonstrations, stored with the agent, and without effect where it is off."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_agents import batch, observations, small_config, with_maps

from serl_ray.agents.sac import SACHybridAgent
from serl_ray.networks.normaliser import LIMIT, StateNormaliser


def test_states_have_mean_0_and_deviation_1_and_a_constant_is_only_centred():
    rng = np.random.default_rng(0)
    states = torch.tensor(rng.normal([0.8, 100.0, 3.0], [0.02, 50.0, 0.0], (4000, 3)), dtype=torch.float32)
    normaliser = StateNormaliser(3)
    assert torch.equal(normaliser(states), states.clamp(-LIMIT, LIMIT)), "before fit, numbers stay as they are"
    normaliser.fit(states)
    scaled = normaliser(states)
    torch.testing.assert_close(scaled.mean(0), torch.zeros(3), atol=1e-3, rtol=0)
    torch.testing.assert_close(scaled.std(0), torch.tensor([1.0, 1.0, 0.0]), atol=1e-3, rtol=0)
    assert normaliser(torch.tensor([50.0, 100.0, 3.5])).tolist() == pytest.approx([LIMIT, 0.0, 0.5], abs=0.1)


@pytest.mark.parametrize("cameras", [(), ("a",)], ids=["state", "camera"])
def test_an_agent_acts_and_learns_on_normalised_states_and_keeps_the_scale(tmp_path, cameras):
    rng = np.random.default_rng(1)
    config = small_config(normalise_state=True)
    agent, plain = (SACHybridAgent(cameras, 6, 3, config=c, device="cpu") for c in (config, small_config()))
    first = with_maps(batch(rng, agent, cameras), cameras)
    states = rng.normal(0.8, 0.02, (500, 5)).astype(np.float32)
    for made in (agent, plain):
        made.sample_actions(first["observations"])
    agent.agent.fit_normaliser(states)
    np.testing.assert_allclose(agent.target.encoder.normaliser.mean, states.mean(0), atol=1e-5)
    scaled = {
        role: {**first[role], "state": (first[role]["state"] - states.mean(0)) / states.std(0)}
        for role in ("observations", "next_observations")
    }
    for role in scaled.values():
        role["state"] = role["state"].clip(-LIMIT, LIMIT).astype(np.float32)
    assert agent.update(first) == pytest.approx(plain.update({**first, **scaled}), rel=1e-3, abs=1e-4)
    agent.save(tmp_path / "agent")
    loaded = SACHybridAgent.load(tmp_path / "agent", device="cpu")
    seen = observations(rng, 4, cameras)
    assert np.array_equal(loaded.sample_actions(seen, argmax=True), agent.sample_actions(seen, argmax=True))
    actor = SACHybridAgent(cameras, 6, 3, config=config, device="cpu")
    actor.sample_actions(seen)
    actor.state.load_acting_tensors({name: tensor.clone() for name, tensor in agent.state.acting_tensors().items()})
    assert np.array_equal(actor.sample_actions(seen, argmax=True), agent.sample_actions(seen, argmax=True))


def test_without_the_option_an_agent_has_no_scale_and_no_tensor_for_it():
    agent = SACHybridAgent((), 6, 3, config=small_config(), device="cpu")
    agent.sample_actions({"state": np.zeros(5, np.float32)})
    before = agent.state.tensors()
    agent.agent.fit_normaliser(np.ones((10, 5), np.float32))
    assert not any("normaliser" in name for name in before) and before.keys() == agent.state.tensors().keys()
