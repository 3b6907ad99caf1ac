"""Networks of an agent: encoder, actor, critic ensemble, grasp critic and temperature (REFERENCE section 2)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from torch import nn

from serl_ray.networks.config import NetworkConfig
from serl_ray.networks.encoder import Encoder
from serl_ray.networks.inputs import ObservationSpec
from serl_ray.networks.mlp import MLP, EnsembleMLP, linear
from serl_ray.networks.pretrained import build_trunk
from serl_ray.networks.resnet import Trunk
from serl_ray.types import ActionLayout


@dataclass
class TanhNormal:
    """A diagonal Gaussian squashed by tanh; `mean` and `std` (B, A) are those of the Gaussian."""

    mean: torch.Tensor
    std: torch.Tensor

    @property
    def mode(self) -> torch.Tensor:
        """The most likely action before squashing, squashed: tanh(mean), (B, A)."""
        return torch.tanh(self.mean)

    def sample(self, eps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Reparametrised actions (B, A) from standard-normal noise (B, A), and their log-probabilities (B,)."""
        pre_tanh = self.mean + self.std * eps
        return torch.tanh(pre_tanh), self._log_prob(eps, pre_tanh)

    def log_prob(self, actions: torch.Tensor) -> torch.Tensor:
        """Log-probabilities (B,) of actions (B, A) inside (-1, 1)."""
        pre_tanh = torch.atanh(actions)
        return self._log_prob((pre_tanh - self.mean) / self.std, pre_tanh)

    def _log_prob(self, eps: torch.Tensor, pre_tanh: torch.Tensor) -> torch.Tensor:
        gaussian = -0.5 * eps**2 - self.std.log() - 0.5 * math.log(2 * math.pi)
        log_det_tanh = 2.0 * (math.log(2.0) - pre_tanh - F.softplus(-2.0 * pre_tanh))
        return (gaussian - log_det_tanh).sum(-1)


class Actor(nn.Module):
    """The tanh-Gaussian policy: latents (B, D) -> TanhNormal over (B, A)."""

    def __init__(self, latent_dim: int, action_dim: int, config: NetworkConfig) -> None:
        super().__init__()
        self.mlp = MLP(latent_dim, config.hidden_dims)
        self.mean = linear(config.hidden_dims[-1], action_dim)
        self.log_std = linear(config.hidden_dims[-1], action_dim)
        self.std_bounds = (config.std_min, config.std_max)

    def forward(self, latents: torch.Tensor, scales: Sequence[torch.Tensor] = ()) -> TanhNormal:
        hidden = self.mlp(latents, scales)
        mean, log_std = self.mean(hidden).float(), self.log_std(hidden).float()
        return TanhNormal(mean, log_std.exp().clamp(*self.std_bounds))


class Critic(nn.Module):
    """Q ensemble: latents (B, D) and continuous actions (B, A) or (B, N, A) -> (E, B) or (E, B, N).

    The members share one linear value head and differ only in their MLP, as in the original (REFERENCE section 10.4).
    An action's few numbers are overlooked beside the many of images: no image comes twice, so that its value can be
    learned by heart. Hence `action_gain`.
    """

    def __init__(self, latent_dim: int, action_dim: int, config: NetworkConfig) -> None:
        super().__init__()
        self.mlp = EnsembleMLP(config.critic_ensemble_size, latent_dim + action_dim, config.hidden_dims)
        self.mlp.scale_inputs(latent_dim, config.action_gain or math.sqrt(latent_dim / action_dim))
        self.value = linear(config.hidden_dims[-1], 1)

    def forward(self, latents: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        if actions.ndim == 3:
            num_actions = actions.shape[1]
            flat: torch.Tensor = self(latents.repeat_interleave(num_actions, dim=0), actions.flatten(0, 1))
            return flat.reshape(len(flat), -1, num_actions)  # (E, B, N)
        q: torch.Tensor = self.value(self.mlp(torch.cat([latents, actions], dim=-1)))  # (E, B, 1)
        return q.squeeze(-1).float()


class GraspCritic(nn.Module):
    """DQN over joint gripper choices: latents (B, D) -> (B, K). The last hidden layer is linear, as in the original."""

    def __init__(self, latent_dim: int, grasp_choices: int, config: NetworkConfig) -> None:
        super().__init__()
        self.mlp = MLP(latent_dim, config.hidden_dims, activate_final=False)
        self.value = linear(config.hidden_dims[-1], grasp_choices)

    def forward(self, latents: torch.Tensor, scales: Sequence[torch.Tensor] = ()) -> torch.Tensor:
        q: torch.Tensor = self.value(self.mlp(latents, scales))
        return q.float()


class Temperature(nn.Module):
    """The entropy temperature, a scalar: softplus of one trained number."""

    def __init__(self, init: float) -> None:
        super().__init__()
        self.lagrange = nn.Parameter(torch.tensor(math.log(math.expm1(init))))

    def forward(self) -> torch.Tensor:
        return F.softplus(self.lagrange)


class AgentNetworks(nn.Module):
    """All networks of an agent. A second instance, with the frozen trunk shared, holds the target networks.

    Args:
        config: sizes of the networks.
        layout: continuous and gripper dimensions of an env action; with grippers there is a grasp critic.
        spec: parts of an observation that the encoder reads.
        trunk: image trunk; by default the one that `config` names, if there are cameras.
    """

    def __init__(
        self, config: NetworkConfig, layout: ActionLayout, spec: ObservationSpec, trunk: Trunk | None = None
    ) -> None:
        super().__init__()
        if spec.image_keys and trunk is None:
            trunk = build_trunk(config.encoder.trunk, config.encoder.trunk_width)
        self.encoder = Encoder(config.encoder, spec, trunk)
        latent_dim = self.encoder.latent_dim
        self.actor = Actor(latent_dim, layout.continuous_dim, config)
        self.critic = Critic(latent_dim, layout.continuous_dim, config)
        self.grasp_critic = GraspCritic(latent_dim, layout.grasp_choices, config) if layout.num_grippers else None
        self.temperature = Temperature(config.init_temperature)

    @classmethod
    def seeded(cls, seed: int, config: NetworkConfig, layout: ActionLayout, spec: ObservationSpec) -> Self:
        """Networks with initial weights from `seed` alone; torch's global generator is not changed."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return cls(config, layout, spec)

    def grasp_q(self, latents: torch.Tensor, scales: Sequence[torch.Tensor] = ()) -> torch.Tensor:
        """Values (B, K) of all joint gripper choices at latents (B, D), with dropout by `scales` (see `MLP`).

        Raises:
            ValueError: there is no grasp critic.
        """
        if self.grasp_critic is None:
            raise ValueError("These networks have no grasp critic, because their action layout has no grippers.")
        q: torch.Tensor = self.grasp_critic(latents, scales)
        return q

    @torch.no_grad()
    def zero_values(self) -> None:
        """Sets all values to 0, where sparse rewards begin: a random start of +-1 would take thousands of updates to
        forget."""
        for critic in (self.critic, self.grasp_critic):
            if critic is not None:
                critic.value.weight.zero_()
                critic.value.bias.zero_()

    def compile_parts(self) -> None:
        """Compiles the parts of every update in place, without new tensor names.

        The first updates then take minutes on a CPU. The learner benchmark measures the gain.
        """
        from torch._functorch import config  # whose import takes seconds

        config.donated_buffer = False  # several losses share a graph, and their gradients are taken one after the other
        for part in (self.actor, self.critic, self.grasp_critic):
            if part is not None:
                part.compile()
        for step in ("embed", "latents"):
            setattr(self.encoder, step, torch.compile(getattr(self.encoder, step)))


def trained_parameters(*modules: nn.Module | None) -> list[nn.Parameter]:
    """The parameters of the given modules that training may change."""
    return [p for module in modules if module is not None for p in module.parameters() if p.requires_grad]
