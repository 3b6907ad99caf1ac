"""The agent's networks as an RLlib model of the classic stack."""

from __future__ import annotations

from typing import Any

import gymnasium
import torch
from ray.rllib.models import ModelCatalog
from ray.rllib.models.torch.torch_modelv2 import TorchModelV2
from ray.rllib.utils.annotations import override
from torch import nn

from serl_ray.agents.config import SACConfig
from serl_ray.networks.actor_critic import AgentNetworks
from serl_ray.networks.inputs import ObservationSpec, to_tensors
from serl_ray.types import ActionLayout

MODEL_NAME = "serl_ray"


class SERLModel(TorchModelV2, nn.Module):
    """Holds `AgentNetworks`; its output is the policy's Gaussian, mean and log standard deviation side by side, (B, 2 A).

    Observations are read by key, never by their order in the space.

    Args:
        sac_config, layout, seed: given through `custom_model_config`.
    """

    def __init__(
        self,
        obs_space: gymnasium.spaces.Dict,
        action_space: gymnasium.spaces.Box,
        num_outputs: int,
        model_config: dict[str, Any],
        name: str,
        *,
        sac_config: SACConfig,
        layout: ActionLayout,
        seed: int,
    ) -> None:
        TorchModelV2.__init__(self, obs_space, action_space, num_outputs, model_config, name)
        nn.Module.__init__(self)
        self.spec = observation_spec(obs_space, sac_config)
        self.networks = AgentNetworks.seeded(seed, sac_config.networks, layout, self.spec.state_dim)

    @override(TorchModelV2)
    def forward(
        self, input_dict: dict[str, Any], state: list[torch.Tensor], seq_lens: torch.Tensor | None
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        device = next(self.parameters()).device
        tensors, _ = to_tensors(input_dict["obs"], self.spec, device)
        policy = self.networks.actor(self.networks.encoder(self.networks.encoder.features(tensors)))
        return torch.cat([policy.mean, policy.std.log()], dim=-1), state


def observation_spec(space: gymnasium.spaces.Dict, sac_config: SACConfig) -> ObservationSpec:
    """What the agent reads of observations from this space."""
    encoder = sac_config.networks.encoder
    state_dim = space["state"].shape[-1] if "state" in space.spaces else 0
    return ObservationSpec(encoder.image_keys, encoder.frame_stack, state_dim)


def register_model() -> None:
    """Tells RLlib's catalog of the model, for each policy anew: it forgets it when Ray is restarted in a process."""
    ModelCatalog.register_custom_model(MODEL_NAME, SERLModel)
