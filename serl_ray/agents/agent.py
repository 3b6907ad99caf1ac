"""SAC from pixels: actions, losses and updates (REFERENCE sections 3 and 4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from serl_ray.agents import losses
from serl_ray.agents.arithmetic import with_arithmetic
from serl_ray.agents.config import SACConfig
from serl_ray.agents.imitation import IMITATION_WEIGHT, actor_imitation_loss
from serl_ray.agents.noise import NoiseSource, PolicyNoise, UpdateNoise
from serl_ray.agents.state import TrainingState
from serl_ray.agents.transitions import Encoded, transition_tensors
from serl_ray.networks.actor_critic import AgentNetworks, TanhNormal, trained_parameters
from serl_ray.networks.augment import crop_images
from serl_ray.networks.inputs import ObservationSpec, Tensors, float_tensor, to_tensors
from serl_ray.types import ActionLayout, ActionScale, Batch
from serl_ray.utils.device import DEVICE

TEMPERATURE_SPEED = 10.0
"""Factor of the temperature's step size after imitation: demonstrations are often far from the target entropy, and a
slow temperature would drive the policy further away."""
BOUND_TOLERANCE = 0.05
"""Tolerance by which Q may exceed `max_return` before `critic/q_over_bound` counts it."""


class Agent:
    """Soft actor-critic with a critic ensemble.

    Args:
        layout: continuous and gripper dimensions of an env action.
        spec: parts of an observation that the agent reads.
        config: hyper-parameters; `bfloat16` becomes on or off in the agent's own.
        device: device of acting and learning.
        seed: seed of the initial weights and of all noise.
        networks: networks of the agent; by default they are made from `seed`.

    Attributes:
        state: everything that training changes.
        noise: source of the noise of updates and samples.
        imitation_share: share of imitation in the actor's loss, in [0, 1]; initially 1 for `bc` and `awac`, 0 for
            `sac`.
        action_scale: scale of the actions in the agent's demonstrations; None if they were recorded in [-1, 1].
    """

    def __init__(
        self,
        layout: ActionLayout,
        spec: ObservationSpec,
        config: SACConfig,
        *,
        device: torch.device | str = DEVICE,
        seed: int = 0,
        networks: AgentNetworks | None = None,
    ) -> None:
        self.layout, self.spec, self.seed, self.device = layout, spec, seed, torch.device(device)
        self.config = config = with_arithmetic(config, self.device, bool(spec.image_keys))
        self.target_entropy = -layout.action_dim / 2 if config.target_entropy is None else config.target_entropy
        self._imitates = config.objective != "sac"
        self.imitation_share = float(self._imitates)
        self.networks = (networks or AgentNetworks.seeded(seed, config.networks, layout, spec)).to(self.device)
        if self._imitates:
            self.networks.zero_values()
        parameters = self._parameters_of_losses()
        lrs = dict.fromkeys(parameters, config.lr)
        if self._imitates:
            lrs["temperature"] *= TEMPERATURE_SPEED
        self.state = TrainingState(self.networks, parameters, lrs, seed)
        self.target = self.state.target
        dims = spec.frame_stack, layout.continuous_dim, self.networks.encoder.embedding_dims
        self.noise = NoiseSource(config, *dims, self.state.generator)
        self.action_scale: ActionScale | None = None
        self._is_compiled = False

    def _parameters_of_losses(self) -> dict[str, list[nn.Parameter]]:
        """Parameters by loss.

        Critics and imitation train the image heads; the actor's loss also trains the state's branch.
        """
        n = self.networks
        return {
            "critic": trained_parameters(n.encoder, n.critic),
            "actor": trained_parameters(n.encoder if self._imitates else n.encoder.proprio, n.actor),
            "temperature": trained_parameters(n.temperature),
        }

    @torch.no_grad()
    def sample_actions(
        self, observations: Mapping[str, Any], argmax: bool = False, eps: torch.Tensor | None = None
    ) -> np.ndarray:
        """Env actions in [-1, 1] for one observation, (A + G,), or a batch, (B, A + G).

        Args:
            observations: one observation or a batch of them; see `to_tensors`.
            argmax: whether to take the policy's mode instead of a sample. Grippers are always the grasp critic's best
                choice.
            eps: standard-normal noise (B, A) of the sample; by default it is drawn.

        Raises:
            FloatingPointError: the actions are NaN or infinite, which no robot may execute.
        """
        tensors, is_single = self._tensors(observations)
        latents = self.networks.encoder(self.networks.encoder.features(tensors))
        policy = self.networks.actor(latents)
        continuous = policy.mode if argmax else policy.sample(self.noise.eps(len(latents)) if eps is None else eps)[0]
        actions: np.ndarray = self.layout.join(continuous, self._grasp_ids(latents)).cpu().numpy()
        if not np.isfinite(actions).all():
            raise FloatingPointError("The policy's actions are NaN or infinite. Act with an earlier checkpoint.")
        return np.asarray(actions[0]) if is_single else actions

    def in_robot_units(self, actions: np.ndarray) -> np.ndarray:
        """Sampled actions (..., A + G) in the units in which the demonstrations were recorded, by `action_scale`."""
        return actions if self.action_scale is None else self.action_scale.invert(actions)

    def _grasp_ids(self, latents: torch.Tensor) -> torch.Tensor | None:
        return None

    @torch.no_grad()
    def q_values(self, observations: Mapping[str, Any], actions: np.ndarray) -> np.ndarray:
        """Q (E, B) of the continuous part of env actions (B, A + G)."""
        tensors, _ = self._tensors(observations)
        latents = self.networks.encoder(self.networks.encoder.features(tensors))
        executed = float_tensor(actions, self.device)
        q: torch.Tensor = self.networks.critic(latents, self.layout.continuous(executed))
        return q.cpu().numpy()

    @torch.no_grad()
    def step_values(self, observation: Mapping[str, Any], action: np.ndarray) -> dict[str, float]:
        """The critics' values of an env action (A + G,) at one observation: `q`, the ensemble's mean of Q, and with
        learned grippers `grasp_q`, the value of its gripper choice. No random number is drawn."""
        tensors, _ = self._tensors(observation)
        latents = self.networks.encoder(self.networks.encoder.features(tensors))
        executed = float_tensor(action[None], self.device)
        values = {"q": float(self.networks.critic(latents, self.layout.continuous(executed)).mean())}
        if self.networks.grasp_critic is not None:
            values["grasp_q"] = float(self.networks.grasp_q(latents)[0, int(self.layout.grasp_ids(executed)[0])])
        return values

    def fit_normaliser(self, states: np.ndarray) -> None:
        """Takes the scale of the state from states (..., D); without `normalise_state` nothing changes."""
        tensor = float_tensor(states, self.device).flatten(0, -2)
        for networks in (self.networks, self.target):
            if networks.encoder.normaliser is not None:
                networks.encoder.normaliser.fit(tensor)

    def update(self, batch: Batch, critics_only: bool = False, noise: UpdateNoise | None = None) -> dict[str, float]:
        """One gradient step: all gradients at the old parameters, one Adam step per loss, then the target networks.

        With `critics_only` this differs from the original, which also steps Adam of the other networks, with zero
        gradients (REFERENCE section 10.3).

        Args:
            batch: fields `observations, actions, next_observations, rewards, masks`, and `grasp_penalty` with learned
                grippers.
            critics_only: whether to leave actor and temperature unchanged, as in the first `cta_ratio - 1` updates.
            noise: randomness of the update; by default it is drawn.

        Returns:
            Metrics named `group/name`.

        Raises:
            ValueError: the batch or the noise does not fit the agent and the kind of update.
        """
        observations, _ = self._tensors(batch["observations"])
        next_observations, _ = self._tensors(batch["next_observations"])
        noise = noise or self.noise.update(len(batch["actions"]), critics_only, self.imitation_share > 0.0)
        if (noise.actor is None) != critics_only:
            raise ValueError(f"critics_only is {critics_only}, but the noise is that of the other kind of update.")
        if noise.crops is not None:
            cameras = self.spec.image_keys, self.config.networks.encoder.image_size
            observations = crop_images(observations, noise.crops[0], *cameras)
            next_observations = crop_images(next_observations, noise.crops[1], *cameras)
        transitions = transition_tensors(batch, self.layout, self.config, self.device)
        self._compile_once()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.bfloat16 == "on"):
            loss_terms, metrics = self.losses(transitions, self.encode(observations, next_observations), noise)
        self.state.step(self.gradients(loss_terms))
        self.state.update_target(self.config.tau)
        return dict(zip(metrics, torch.stack([value.detach() for value in metrics.values()]).tolist(), strict=True))

    def losses(self, transitions: Tensors, encoded: Encoded, noise: UpdateNoise) -> tuple[Tensors, Tensors]:
        """The scalar losses and the metrics, by name; those of the critics only, if the noise has none for the
        actor."""
        with torch.no_grad():
            next_policy = self.policy(encoded.next_embedded, noise.critic.keep)
        loss, metrics = self._critic_loss(transitions, encoded, next_policy, noise)
        loss_terms = {"critic": loss}
        if noise.actor is not None:
            loss_terms["actor"], actor_metrics = self._actor_loss(transitions, encoded, noise.actor, noise.imitation)
            metrics |= actor_metrics
        if noise.temperature is not None and self.imitation_share < 1.0:
            loss_terms["temperature"], temperature_metrics = self._temperature_loss(
                encoded, next_policy, noise.temperature
            )
            metrics |= temperature_metrics
        return loss_terms, metrics

    def gradients(self, loss_terms: Tensors) -> dict[str, tuple[torch.Tensor | None, ...]]:
        """The gradients of each loss with respect to its parameters."""
        return {
            name: torch.autograd.grad(loss, self.state.parameters[name], retain_graph=True, allow_unused=self._imitates)
            for name, loss in loss_terms.items()
        }

    def encode(self, observations: Tensors, next_observations: Tensors) -> Encoded:
        """Embeddings and latents of a batch, by two passes of a frozen trunk, or three of a trained one."""
        online, target = self.networks.encoder, self.target.encoder
        embedded = online.embed(online.features(observations))
        with torch.no_grad():
            next_features = online.features(next_observations)
            next_target_features = next_features if online.is_frozen else target.features(next_observations)
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
            rewards, masks, discounts = (transitions[name] for name in ("rewards", "masks", "discounts"))
            target = losses.td_target(rewards, masks, next_value, discounts, self.config.max_return)
        q = self.networks.critic(encoded.latents, self.layout.continuous(transitions["actions"]))  # (E, B)
        loss = losses.critic_loss(q, target)
        metrics = {
            "critic/loss": loss,
            "critic/q_mean": q.mean(),
            "critic/q_max": q.max(),
            "critic/target_mean": target.mean(),
        }
        if self.config.max_return is not None:
            metrics["critic/q_over_bound"] = (q > self.config.max_return + BOUND_TOLERANCE).float().mean()
        return loss, metrics

    def _actor_loss(
        self, transitions: Tensors, encoded: Encoded, noise: PolicyNoise, scales: Sequence[torch.Tensor]
    ) -> tuple[torch.Tensor, Tensors]:
        """SAC's loss, with a share `imitation_share` of it replaced by the imitation loss."""
        share = self.imitation_share
        actions, log_prob = self.policy(encoded.embedded, noise.keep).sample(noise.eps)
        loss = log_prob.new_zeros(())
        if share < 1.0:
            q = self.networks.critic(encoded.latents.detach(), actions)
            loss = losses.actor_loss(q, log_prob, self.networks.temperature().detach())
        metrics = {"actor/entropy": -log_prob.mean()}
        if share > 0.0:
            imitation = self._imitation_loss(transitions, encoded, noise, scales)
            loss = (1.0 - share) * loss + share * IMITATION_WEIGHT * imitation
            metrics["actor/imitation_loss"] = imitation
        return loss, metrics | {"actor/loss": loss}

    def _imitation_loss(
        self, transitions: Tensors, encoded: Encoded, noise: PolicyNoise, scales: Sequence[torch.Tensor]
    ) -> torch.Tensor:
        """The imitation loss; unlike behaviour cloning in the original, it trains the image heads (REFERENCE 10.10)."""
        policy = self.networks.actor(self.networks.encoder.latents(encoded.embedded, noise.keep), scales)
        actions, is_demo = self.layout.continuous(transitions["actions"]), transitions["is_demo"]
        weighted = self.config.objective == "awac"
        return actor_imitation_loss(policy, self.networks.critic, encoded.latents, actions, is_demo, weighted)

    def _temperature_loss(
        self, encoded: Encoded, next_policy: TanhNormal, noise: PolicyNoise
    ) -> tuple[torch.Tensor, Tensors]:
        with torch.no_grad():
            if noise.keep:  # another dropout mask than in the critic's target
                next_policy = self.policy(encoded.next_embedded, noise.keep)
            _, log_prob = next_policy.sample(noise.eps)
        temperature = self.networks.temperature()
        loss = losses.temperature_loss(temperature, log_prob, self.target_entropy)
        return loss, {"temperature/loss": loss, "temperature/value": temperature}

    def policy(self, embedded: Tensors, keep: Sequence[torch.Tensor] | None) -> TanhNormal:
        """The policy with dropout, without gradients of the image branch."""
        policy: TanhNormal = self.networks.actor(
            self.networks.encoder.latents(embedded, keep, stop_image_gradient=True)
        )
        return policy

    def _compile_once(self) -> None:
        """Compiles at the first update, because an agent that only acts must not wait for the compiler."""
        if self.config.compile and not self._is_compiled:
            self.networks.compile_parts()
            self.target.compile_parts()
            self._is_compiled = True

    def _tensors(self, observations: Mapping[str, Any]) -> tuple[Tensors, bool]:
        return to_tensors(observations, self.spec, self.device)
