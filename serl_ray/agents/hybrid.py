"""The hybrid agent: SAC on the continuous dimensions, a double DQN on the grippers (REFERENCE section 3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from serl_ray.agents import losses
from serl_ray.agents.agent import Agent
from serl_ray.agents.imitation import choice_imitation_loss
from serl_ray.agents.noise import UpdateNoise
from serl_ray.agents.transitions import Encoded
from serl_ray.networks.actor_critic import trained_parameters
from serl_ray.networks.inputs import Tensors


class HybridAgent(Agent):
    """SAC on the continuous dimensions and a double DQN on the grippers, with one shared encoder."""

    def _parameters_of_losses(self) -> dict[str, list[nn.Parameter]]:
        n = self.networks
        parameters = super()._parameters_of_losses()
        return {
            "critic": parameters.pop("critic"),
            "grasp_critic": trained_parameters(n.encoder, n.grasp_critic),
            **parameters,
        }

    def _grasp_ids(self, latents: torch.Tensor) -> torch.Tensor:
        return self.networks.grasp_q(latents).argmax(-1)

    def losses(self, transitions: Tensors, encoded: Encoded, noise: UpdateNoise) -> tuple[Tensors, Tensors]:
        loss_terms, metrics = super().losses(transitions, encoded, noise)
        loss_terms["grasp_critic"], grasp_metrics = self._grasp_critic_loss(transitions, encoded, noise.imitation)
        return loss_terms, metrics | grasp_metrics

    def _grasp_critic_loss(
        self, transitions: Tensors, encoded: Encoded, scales: Sequence[torch.Tensor]
    ) -> tuple[torch.Tensor, Tensors]:
        with torch.no_grad():
            next_q = self.networks.grasp_q(self.networks.encoder.latents(encoded.next_embedded))
            next_target_q = self.target.grasp_q(encoded.next_target_latents)
            next_value = losses.double_dqn_value(next_q, next_target_q)
            rewards = transitions["rewards"] + transitions["grasp_penalty"]
            target = losses.td_target(
                rewards, transitions["masks"], next_value, transitions["discounts"], self.config.max_return
            )
        q = self.networks.grasp_q(encoded.latents, scales)  # (B, K)
        grasp_ids = self.layout.grasp_ids(transitions["actions"])  # (B,)
        loss = losses.grasp_critic_loss(q, grasp_ids, target)
        metrics = {"grasp_critic/q_mean": q.mean(), "grasp_critic/target_mean": target.mean()}
        if self.imitation_share > 0.0:
            imitation = choice_imitation_loss(q, grasp_ids, transitions["is_demo"])
            loss = loss + self.imitation_share * imitation
            metrics["grasp_critic/imitation_loss"] = imitation
        return loss, metrics | {"grasp_critic/loss": loss}
