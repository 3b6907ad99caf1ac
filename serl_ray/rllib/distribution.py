"""The policy's distribution over env actions, as RLlib's action distribution of the classic stack."""

from __future__ import annotations

import math
from typing import Any

import gymnasium
import torch
from ray.rllib.models.torch.torch_action_dist import TorchDistributionWrapper
from ray.rllib.models.torch.torch_modelv2 import TorchModelV2
from ray.rllib.utils.annotations import override

from serl_ray.networks.actor_critic import TanhNormal
from serl_ray.rllib.refusals import refuses
from serl_ray.types import ActionLayout

DIST_NAME = "serl_ray_tanh_gaussian"
INSIDE = 1.0 - torch.finfo(torch.float32).eps / 2
"""The largest number below 1: an action at a bound, where tanh never gets, has the likelihood of this one."""


@refuses(
    dict.fromkeys(
        ("kl", "multi_kl", "entropy", "multi_entropy"),
        "it has no closed form for a tanh-Gaussian. Estimate it from sample() and sampled_action_logp().",
    )
)
class TanhGaussianWithGrippers(TorchDistributionWrapper):
    """A tanh-Gaussian over the continuous dimensions, and for the grippers the choice of greatest value, which is
    certain.

    Args:
        inputs: `SERLModel`'s output (B, 2 A + K): means, log standard deviations, values of the grippers' joint
            choices.
        model: the model, whose `layout` says which dimensions are grippers.
    """

    def __init__(self, inputs: torch.Tensor, model: TorchModelV2) -> None:
        super().__init__(inputs, model)
        self._layout: ActionLayout = model.layout
        mean, log_std, values = self.inputs.tensor_split([n := self._layout.continuous_dim, 2 * n], dim=-1)
        self._gaussian = TanhNormal(mean, log_std.exp())
        self._grasp_ids = values.argmax(-1) if self._layout.num_grippers else None

    @override(TorchDistributionWrapper)
    def sample(self) -> torch.Tensor:
        """Env actions (B, A + G), drawn with torch's global generator."""
        return self._take(torch.randn_like(self._gaussian.mean))

    def deterministic_sample(self) -> torch.Tensor:
        """The policy's mode (B, A + G)."""
        return self._take(torch.zeros_like(self._gaussian.mean))

    def _take(self, eps: torch.Tensor) -> torch.Tensor:
        continuous, self._sampled_logp = self._gaussian.sample(eps)
        self.last_sample = self._layout.join(continuous, self._grasp_ids)
        return self.last_sample

    @override(TorchDistributionWrapper)
    def sampled_action_logp(self) -> torch.Tensor:
        """Log-likelihoods (B,) of the actions that were drawn last."""
        return self._sampled_logp

    @override(TorchDistributionWrapper)
    def logp(self, actions: torch.Tensor) -> torch.Tensor:
        """Log-likelihoods (B,) of env actions (B, A + G); minus infinity where a gripper is not the policy's choice."""
        actions = torch.as_tensor(actions, dtype=torch.float32, device=self._gaussian.mean.device)
        log_prob = self._gaussian.log_prob(self._layout.continuous(actions).clamp(-INSIDE, INSIDE))
        if self._grasp_ids is None:
            return log_prob
        return log_prob.masked_fill(self._layout.grasp_ids(actions) != self._grasp_ids, -math.inf)

    @staticmethod
    @override(TorchDistributionWrapper)
    def required_model_output_shape(action_space: gymnasium.Space, model_config: dict[str, Any]) -> int:
        layout: ActionLayout = model_config["custom_model_config"]["layout"]
        return 2 * layout.continuous_dim + (layout.grasp_choices if layout.num_grippers else 0)
