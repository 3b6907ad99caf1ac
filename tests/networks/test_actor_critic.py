"""How critics weigh actions beside the latents of images."""

from __future__ import annotations

import pytest
import torch

from serl_ray.networks.actor_critic import Critic
from serl_ray.networks.config import NetworkConfig
from serl_ray.options.presets import preset
from serl_ray.options.sets import HybridOptions, OfflineOptions

LATENTS, ACTIONS = 200, 8


def critic(action_gain):
    torch.manual_seed(0)
    return Critic(LATENTS, ACTIONS, NetworkConfig(action_gain=action_gain, critic_ensemble_size=3))


def test_actions_weigh_as_much_as_all_latents():
    layer = critic(None).mlp[0]
    inputs = torch.empty(4000, LATENTS + ACTIONS).uniform_(-1, 1)
    latents, actions = inputs.clone(), inputs.clone()
    latents[:, LATENTS:], actions[:, :LATENTS] = 0.0, 0.0
    by_latents, by_actions = (layer(part.expand(3, *part.shape)).std().item() for part in (latents, actions))
    assert by_actions == pytest.approx(by_latents, rel=0.1)


def test_the_original_treats_every_number_alike():
    ours, original = critic(None).state_dict(), critic(1.0).state_dict()
    assert ours.keys() == original.keys()
    expected = original["mlp.0.weight"].clone()
    expected[:, LATENTS:] *= 5.0  # the square root of 200 / 8
    assert torch.equal(ours.pop("mlp.0.weight"), expected)
    assert all(torch.equal(tensor, original[name]) for name, tensor in ours.items())


@pytest.mark.parametrize("options", [HybridOptions, OfflineOptions])
def test_runs_weigh_actions_and_the_original_s_preset_does_not(options):
    assert options.of().agent.networks.action_gain is None
    assert options.of(**preset("hil-serl", options)).agent.networks.action_gain == 1.0
