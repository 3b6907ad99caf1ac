"""The hybrid: SAC on the continuous dimensions, a double DQN on the grippers (REFERENCE section 3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from serl_ray.agents import losses
from serl_ray.agents.config import SACConfig
from serl_ray.agents.continuous import SACAgent
from serl_ray.agents.imitation import choice_imitation_loss
from serl_ray.agents.noise import UpdateNoise
from serl_ray.agents.transitions import Encoded, Tensors
from serl_ray.types import ActionLayout
from serl_ray.utils.device import DEVICE


class SACHybridAgent(SACAgent):
    """SAC on the continuous dimensions and a double DQN on the grippers, over one shared encoder.

    Args:
        image_keys, lr, config, seed: as in SACAgent.
        continuous_action_dim: A, all arms' continuous dimensions together.
        grasp_action_dim: K, the grasp critic's outputs: 3 for one gripper, 9 for two.
    """

    def __init__(
        self,
        image_keys: Sequence[str] = (),
        continuous_action_dim: int = 6,
        grasp_action_dim: int = 3,
        lr: float = 3e-4,
        *,
        config: SACConfig | None = None,
        device: torch.device | str = DEVICE,
        seed: int = 0,
    ) -> None:
        layout = ActionLayout.from_sizes(continuous_action_dim, grasp_action_dim)
        self._setup(layout, image_keys, lr, config or SACConfig(), device, seed)

    def _parameters_of_losses(self) -> dict[str, list[nn.Parameter]]:
        n = self.networks
        parameters = super()._parameters_of_losses()
        return {"critic": parameters.pop("critic"), "grasp_critic": n.trained(n.encoder, n.grasp_critic), **parameters}

    def _grasp_ids(self, latents: torch.Tensor) -> torch.Tensor:
        return self.networks.grasp_critic(latents).argmax(-1)

    def losses(
        self, transitions: Tensors, encoded: Encoded, noise: UpdateNoise, critics_only: bool = False
    ) -> tuple[Tensors, Tensors]:
        loss_terms, metrics = super().losses(transitions, encoded, noise, critics_only)
        loss_terms["grasp_critic"], grasp_metrics = self._grasp_critic_loss(transitions, encoded)
        return loss_terms, metrics | grasp_metrics

    def _grasp_critic_loss(self, transitions: Tensors, encoded: Encoded) -> tuple[torch.Tensor, Tensors]:
        with torch.no_grad():
            next_q = self.networks.grasp_critic(self.networks.encoder.latents(encoded.next_embedded))
            next_target_q = self.target.grasp_critic(encoded.next_target_latents)
            next_value = losses.double_dqn_value(next_q, next_target_q)
            rewards = transitions["rewards"] + transitions["grasp_penalty"]
            target = losses.td_target(rewards, transitions["masks"], next_value, self.config.discount, self.config.max_return)
        q, grasp_ids = self.networks.grasp_critic(encoded.latents), self.layout.grasp_ids(transitions["actions"])  # (B, K), (B,)
        loss = losses.grasp_critic_loss(q, grasp_ids, target)
        metrics = {"grasp_critic/q_mean": q.mean(), "grasp_critic/target_mean": target.mean()}
        if self.imitation_share > 0.0:
            imitation = choice_imitation_loss(q, grasp_ids, transitions["is_demo"])
            loss = loss + self.imitation_share * imitation
            metrics["grasp_critic/imitation_loss"] = imitation
        return loss, metrics | {"grasp_critic/loss": loss}
