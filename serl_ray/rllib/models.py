"""The agent's networks as an RLlib model of the classic stack."""

from __future__ import annotations

from typing import Any

import gymnasium
import torch
from ray.rllib.models import ModelCatalog
from ray.rllib.models.torch.torch_modelv2 import TorchModelV2
from ray.rllib.utils.annotations import override
from torch import nn

from serl_ray.networks.actor_critic import AgentNetworks
from serl_ray.networks.config import NetworkConfig
from serl_ray.networks.inputs import ObservationSpec, to_tensors
from serl_ray.options.groups import EnvOptions
from serl_ray.rllib.distribution import DIST_NAME, TanhGaussianWithGrippers
from serl_ray.types import ActionLayout

MODEL_NAME = "serl_ray"


class SERLModel(TorchModelV2, nn.Module):
    """Holds `AgentNetworks`; its output (B, 2 A + K) is what `TanhGaussianWithGrippers` reads: the Gaussian's means and
    log standard deviations, and the grasp critic's values where grippers are learned.

    Observations are read by key, never by their order in the space.

    Args:
        config, layout, spec, seed: given through `custom_model_config`.
    """

    def __init__(
        self,
        obs_space: gymnasium.spaces.Dict,
        action_space: gymnasium.spaces.Box,
        num_outputs: int,
        model_config: dict[str, Any],
        name: str,
        *,
        config: NetworkConfig,
        layout: ActionLayout,
        spec: ObservationSpec,
        seed: int,
    ) -> None:
        TorchModelV2.__init__(self, obs_space, action_space, num_outputs, model_config, name)
        nn.Module.__init__(self)
        self.layout, self.spec = layout, spec
        self.networks = AgentNetworks.seeded(seed, config, layout, spec)

    @override(TorchModelV2)
    def forward(
        self, input_dict: dict[str, Any], state: list[torch.Tensor], seq_lens: torch.Tensor | None
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        device = next(self.parameters()).device
        tensors, _ = to_tensors(input_dict["obs"], self.spec, device)
        latents = self.networks.encoder(self.networks.encoder.features(tensors))
        policy = self.networks.actor(latents)
        outputs = [policy.mean, policy.std.log()]
        if self.networks.grasp_critic is not None:
            outputs.append(self.networks.grasp_critic(latents))
        return torch.cat(outputs, dim=-1), state


def observation_spec(space: gymnasium.spaces.Dict, env: EnvOptions) -> ObservationSpec:
    """The parts of this observation space that the agent reads."""
    state_dim = space["state"].shape[-1] if "state" in space.spaces else 0
    return ObservationSpec(env.image_keys, env.frame_stack, state_dim)


def register_model() -> None:
    """Tells RLlib's catalog of the model and its action distribution, for each policy anew: it forgets them when Ray is
    restarted in a process."""
    ModelCatalog.register_custom_model(MODEL_NAME, SERLModel)
    ModelCatalog.register_custom_action_dist(DIST_NAME, TanhGaussianWithGrippers)
