"""SAC from pixels: the losses put together, and the update (REFERENCE sections 3 and 4)."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import nn

from serl_ray.agents import checkpoint, losses
from serl_ray.agents.acceleration import adam, autocast, compile_networks
from serl_ray.agents.config import SACConfig
from serl_ray.agents.imitation import actor_imitation_loss
from serl_ray.agents.noise import NoiseSource, PolicyNoise, UpdateNoise
from serl_ray.agents.transitions import Encoded, Tensors, transition_tensors
from serl_ray.networks.actor_critic import AgentNetworks, TanhNormal
from serl_ray.networks.augment import crop_frames
from serl_ray.networks.inputs import ObservationSpec, to_tensors
from serl_ray.types import ActionLayout, Batch
from serl_ray.utils.device import DEVICE

BOUND_TOLERANCE = 0.05
"""Values that should be `max_return` come out above it by as much."""


class SACAgent:
    """Soft actor-critic with a critic ensemble.

    The networks are made when an observation's sizes are known: at the first `sample_actions` or `update`, or by `build`.

    Args:
        image_keys: cameras, in the order of their latents; empty to learn from the state alone.
        action_dim: A, the env's action dimensions.
        lr: Adam's step size.
        config: the other hyper-parameters; `lr` and `image_keys` above win over its own.
        seed: of the initial weights and of all noise.

    Attributes:
        imitation_share: how much of the actor's loss is imitation, from 1 (all, as at first where the objective says so) to 0.
    """

    def __init__(
        self,
        image_keys: Sequence[str] = (),
        action_dim: int = 6,
        lr: float = 3e-4,
        *,
        config: SACConfig | None = None,
        device: torch.device | str = DEVICE,
        seed: int = 0,
    ) -> None:
        self._setup(ActionLayout.from_sizes(action_dim), image_keys, lr, config or SACConfig(), device, seed)

    def _setup(
        self, layout: ActionLayout, image_keys: Sequence[str], lr: float, config: SACConfig, device: torch.device | str, seed: int
    ) -> None:
        encoder = replace(config.networks.encoder, image_keys=tuple(image_keys))
        self.config = replace(config, lr=lr, networks=replace(config.networks, encoder=encoder))
        self.layout = layout
        self.device = torch.device(device)
        self.seed = seed
        self.target_entropy = -layout.action_dim / 2 if config.target_entropy is None else config.target_entropy
        self.spec: ObservationSpec | None = None
        self.imitation_share = float(self._imitates)

    @property
    def _imitates(self) -> bool:
        return self.config.objective != "sac"

    def build(self, spec: ObservationSpec, networks: AgentNetworks | None = None) -> Self:
        """Makes the networks (unless they are given), their targets and the optimisers for observations of these sizes."""
        self.spec = spec
        if networks is None:
            networks = AgentNetworks.seeded(self.seed, self.config.networks, self.layout, spec.state_dim)
        self.networks = networks.to(self.device)
        frozen_trunk = self.networks.encoder.trunk if self.config.networks.encoder.frozen else None
        self.target = copy.deepcopy(self.networks, {id(frozen_trunk): frozen_trunk}).requires_grad_(False)
        pairs = [(t, o) for t, o in zip(self.target.parameters(), self.networks.parameters(), strict=True) if t is not o]
        self._lagging, self._leading = [t for t, _ in pairs], [o for _, o in pairs]
        self.parameters = self._parameters_of_losses()
        self.optimisers = {name: adam(parameters, self.config.lr) for name, parameters in self.parameters.items()}
        self.generator = torch.Generator(self.device).manual_seed(self.seed)
        self._is_compiled = False
        self._noise = NoiseSource(self.networks, self.config.networks, self.layout.continuous_dim, self.generator)
        return self

    def _parameters_of_losses(self) -> dict[str, list[nn.Parameter]]:
        """What each loss trains. The image heads learn from critics and from imitation, the proprio branch from the actor too."""
        n = self.networks
        return {
            "critic": n.trained(n.encoder, n.critic),
            "actor": n.trained(n.encoder if self._imitates else n.encoder.proprio, n.actor),
            "temperature": n.trained(n.temperature),
        }

    @torch.no_grad()
    def sample_actions(
        self, observations: Mapping[str, Any], argmax: bool = False, eps: torch.Tensor | None = None
    ) -> np.ndarray:
        """Env actions in [-1, 1] for one observation, (A + G,), or a batch, (B, A + G).

        Args:
            argmax: the policy's mode in place of a sample. Grippers are always the grasp critic's best choice.
            eps: standard-normal noise (B, A) to use for the sample; drawn where it is not given.

        Raises:
            FloatingPointError: the networks hold what are no numbers; no robot is given their actions.
        """
        tensors, is_single = self._tensors(observations)
        latents = self.networks.encoder(self.networks.encoder.features(tensors))
        policy = self.networks.actor(latents)
        continuous = policy.mode if argmax else policy.sample(self._noise.eps(len(latents)) if eps is None else eps)[0]
        actions = self.layout.join(continuous, self._grasp_ids(latents)).cpu().numpy()
        if not np.isfinite(actions).all():
            raise FloatingPointError("The policy's actions are no finite numbers. Act with an earlier checkpoint.")
        return actions[0] if is_single else actions

    def _grasp_ids(self, latents: torch.Tensor) -> torch.Tensor | None:
        return None

    @torch.no_grad()
    def q_values(self, observations: Mapping[str, Any], actions: np.ndarray) -> np.ndarray:
        """Q (E, B) of env actions (B, A + G), of which the critics see the continuous part."""
        tensors, _ = self._tensors(observations)
        latents = self.networks.encoder(self.networks.encoder.features(tensors))
        actions = torch.as_tensor(actions, dtype=torch.float32, device=self.device)
        return self.networks.critic(latents, self.layout.continuous(actions)).cpu().numpy()

    def update(self, batch: Batch, critics_only: bool = False, noise: UpdateNoise | None = None) -> dict[str, float]:
        """One gradient step: all gradients at the same old parameters, then each loss's own Adam step, then the targets.

        Differs from the original where `critics_only`: networks that the update does not name are not touched, where the original
        steps their Adam with zero gradients (REFERENCE section 10.3).

        Args:
            batch: `observations, actions, next_observations, rewards, masks`, with learned grippers `grasp_penalty`.
            critics_only: leave actor and temperature alone, as the first `cta_ratio - 1` updates do.
            noise: the update's randomness; drawn where it is not given.

        Returns:
            Metrics named `group/name`.
        """
        observations, _ = self._tensors(batch["observations"])
        next_observations, _ = self._tensors(batch["next_observations"])
        if noise is None:
            size = len(batch["actions"])
            noise = self._noise.update(size, not critics_only, self.config.critic_subsample_size, self.config.augment)
        if noise.crops is not None:
            observations = crop_frames(observations, noise.crops[0])
            next_observations = crop_frames(next_observations, noise.crops[1])
        transitions = transition_tensors(batch, self.layout, self.config.reward_bias, self.device)
        if self.config.compile and not self._is_compiled:
            compile_networks(self.networks, self.target)
            self._is_compiled = True
        with autocast(self.device, self.config.bfloat16):
            loss_terms, metrics = self.losses(transitions, self._encode(observations, next_observations), noise, critics_only)
        self._step(self.gradients(loss_terms))
        self._update_target()
        return dict(zip(metrics, torch.stack([value.detach() for value in metrics.values()]).tolist(), strict=True))

    def losses(
        self, transitions: Tensors, encoded: Encoded, noise: UpdateNoise, critics_only: bool = False
    ) -> tuple[Tensors, Tensors]:
        """The scalar losses by name, and the metrics."""
        with torch.no_grad():
            next_policy = self._policy(encoded.next_embedded, noise.critic.keep)
        loss, metrics = self._critic_loss(transitions, encoded, next_policy, noise)
        loss_terms = {"critic": loss}
        if not critics_only:
            loss_terms["actor"], actor_metrics = self._actor_loss(transitions, encoded, noise.actor)
            metrics |= actor_metrics
        if not critics_only and self.imitation_share < 1.0:
            loss_terms["temperature"], temperature_metrics = self._temperature_loss(encoded, next_policy, noise.temperature)
            metrics |= temperature_metrics
        return loss_terms, metrics

    def gradients(self, loss_terms: Tensors) -> dict[str, tuple[torch.Tensor, ...]]:
        """The gradient of each loss with respect to the parameters it trains."""
        return {
            name: torch.autograd.grad(loss, self.parameters[name], retain_graph=True, allow_unused=self._imitates)
            for name, loss in loss_terms.items()
        }

    def _encode(self, observations: Tensors, next_observations: Tensors) -> Encoded:
        """Two trunk passes where the trunk is frozen, a third through the lagging target trunk where it is trained."""
        online, target = self.networks.encoder, self.target.encoder
        embedded = online.embed(online.features(observations))
        with torch.no_grad():
            next_features = online.features(next_observations)
            frozen = self.config.networks.encoder.frozen
            next_target_features = next_features if frozen else target.features(next_observations)
            next_embedded, next_target_latents = online.embed(next_features), target(next_target_features)
        return Encoded(embedded, next_embedded, online.latents(embedded), next_target_latents)

    def _critic_loss(
        self, transitions: Tensors, encoded: Encoded, next_policy: TanhNormal, noise: UpdateNoise
    ) -> tuple[torch.Tensor, Tensors]:
        with torch.no_grad():
            next_actions, next_log_prob = next_policy.sample(noise.critic.eps)
            target_q = self.target.critic(encoded.next_target_latents, next_actions)  # (E, B)
            bonus = -self.networks.temperature() * next_log_prob if self.config.backup_entropy else None
            next_value = losses.soft_min_value(target_q, noise.critic_subset, bonus)
            target = losses.td_target(
                transitions["rewards"], transitions["masks"], next_value, self.config.discount, self.config.max_return
            )
        q = self.networks.critic(encoded.latents, self.layout.continuous(transitions["actions"]))  # (E, B)
        loss = losses.critic_loss(q, target)
        metrics = {"critic/loss": loss, "critic/q_mean": q.mean(), "critic/q_max": q.max(), "critic/target_mean": target.mean()}
        if self.config.max_return is not None:
            metrics["critic/q_over_bound"] = (q > self.config.max_return + BOUND_TOLERANCE).float().mean()
        return loss, metrics

    def _actor_loss(self, transitions: Tensors, encoded: Encoded, noise: PolicyNoise) -> tuple[torch.Tensor, Tensors]:
        """SAC's loss, `imitation_share` of it replaced by that of imitation."""
        share = self.imitation_share
        actions, log_prob = self._policy(encoded.embedded, noise.keep).sample(noise.eps)
        loss = log_prob.new_zeros(())
        if share < 1.0:
            q = self.networks.critic(encoded.latents.detach(), actions)
            loss = losses.actor_loss(q, log_prob, self.networks.temperature().detach())
        metrics = {"actor/entropy": -log_prob.mean()}
        if share > 0.0:
            imitation = self._imitation_loss(transitions, encoded, noise)
            loss = (1.0 - share) * loss + share * imitation
            metrics["actor/imitation_loss"] = imitation
        return loss, metrics | {"actor/loss": loss}

    def _imitation_loss(self, transitions: Tensors, encoded: Encoded, noise: PolicyNoise) -> torch.Tensor:
        """Differs from the original's behaviour cloning, whose image heads stay as they were made (REFERENCE section 10.10)."""
        policy = self.networks.actor(self.networks.encoder.latents(encoded.embedded, noise.keep))
        actions, is_demo = self.layout.continuous(transitions["actions"]), transitions["is_demo"]
        weighted = self.config.objective == "awac"
        return actor_imitation_loss(policy, self.networks.critic, encoded.latents, actions, is_demo, weighted)

    def _temperature_loss(self, encoded: Encoded, next_policy: TanhNormal, noise: PolicyNoise) -> tuple[torch.Tensor, Tensors]:
        with torch.no_grad():
            if noise.keep:  # another dropout mask than the critic's target had
                next_policy = self._policy(encoded.next_embedded, noise.keep)
            _, log_prob = next_policy.sample(noise.eps)
        temperature = self.networks.temperature()
        loss = losses.temperature_loss(temperature, log_prob, self.target_entropy)
        return loss, {"temperature/loss": loss, "temperature/value": temperature}

    def _policy(self, embedded: Tensors, keep: Sequence[torch.Tensor] | None) -> TanhNormal:
        """The policy with dropout, and no gradient to the image branch."""
        return self.networks.actor(self.networks.encoder.latents(embedded, keep, stop_image_gradient=True))

    def _step(self, gradients: dict[str, tuple[torch.Tensor, ...]]) -> None:
        """A parameter that several losses train gets an Adam step from each (REFERENCE section 4.5)."""
        for name, grads in gradients.items():
            for parameter, grad in zip(self.parameters[name], grads, strict=True):
                parameter.grad = grad
            self.optimisers[name].step()
            self.optimisers[name].zero_grad()

    @torch.no_grad()
    def _update_target(self) -> None:
        """target = tau * new + (1 - tau) * target, for every network."""
        torch._foreach_lerp_(self._lagging, self._leading, self.config.tau)

    def _tensors(self, observations: Mapping[str, Any]) -> tuple[Tensors, bool]:
        if self.spec is None:
            encoder = self.config.networks.encoder
            self.build(ObservationSpec.from_observation(observations, encoder.image_keys, encoder.frame_stack))
        return to_tensors(observations, self.spec, self.device)

    def tensors(self) -> Tensors:
        """Everything that training changes, by name: networks, targets, optimisers, and the state of the noise generator."""
        return checkpoint.agent_tensors(self)

    def load_tensors(self, tensors: Tensors) -> None:
        """Puts back what `tensors` returned; ValueError names what does not fit, and nothing is changed."""
        checkpoint.load_agent_tensors(self, tensors)

    def acting_tensors(self) -> Tensors:
        """What `sample_actions` reads, without a frozen trunk: what a rollout worker needs after an update."""
        names = ("actor.", "grasp_critic.", "encoder.")
        trunk = "encoder.trunk." if self.config.networks.encoder.frozen else "no trunk"
        return {n: t for n, t in self.networks.state_dict().items() if n.startswith(names) and not n.startswith(trunk)}

    def load_acting_tensors(self, tensors: Tensors) -> None:
        """Takes over another agent's `acting_tensors`."""
        _, surplus = self.networks.load_state_dict(tensors, strict=False)
        if surplus or tensors.keys() != self.acting_tensors().keys():
            raise ValueError("These acting tensors are not of an agent with the same networks.")

    def save(self, path: str | Path) -> None:
        """Writes a folder with the tensors and the configuration; one that is there is replaced once the new one is complete."""
        checkpoint.save_agent(self, Path(path))

    @classmethod
    def load(cls, path: str | Path, device: torch.device | str = DEVICE) -> Self:
        """The agent that `save` wrote; its next update is the one that would have followed."""
        return checkpoint.load_agent(cls, Path(path), device)
