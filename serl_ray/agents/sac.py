"""Public agents, whose networks are made at the first observation, which gives their sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from serl_ray.agents.agent import Agent
from serl_ray.agents.checkpoint import load_agent, save_agent
from serl_ray.agents.config import SACConfig
from serl_ray.agents.make import make_agent
from serl_ray.agents.noise import UpdateNoise
from serl_ray.networks.inputs import ObservationSpec
from serl_ray.networks.pretrained import warn_if_random
from serl_ray.types import ActionLayout, Batch
from serl_ray.utils.device import DEVICE

UNSEEN = "This agent has seen no observation yet, so it has no networks. Call sample_actions or update first."


class SACAgent:
    """Soft actor-critic with a critic ensemble.

    The first `sample_actions` or `update` makes the `serl_ray.agents.agent.Agent` behind it, which serves all calls.

    Args:
        image_keys: cameras, in the order of their latents; empty to learn from the state alone.
        action_dim: number A of the env's action dimensions.
        lr: step size of Adam, in place of the one in `config`.
        config: other hyper-parameters.
        device: device of acting and learning.
        seed: seed of the initial weights and of all noise.
        frame_stack: number T of images and states in an observation.
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
        frame_stack: int = 1,
    ) -> None:
        layout = ActionLayout.from_sizes(action_dim)
        self._start(layout, image_keys, (config or SACConfig()).replace(lr=lr), device, seed, frame_stack)

    def _start(
        self,
        layout: ActionLayout,
        image_keys: Sequence[str],
        config: SACConfig,
        device: torch.device | str,
        seed: int,
        frame_stack: int,
    ) -> None:
        self.layout, self.config, self.seed, self.device = layout, config, seed, torch.device(device)
        self._image_keys, self._frame_stack = tuple(image_keys), frame_stack
        self._agent: Agent | None = None

    @property
    def agent(self) -> Agent:
        """The agent behind this one.

        Raises:
            ValueError: there was no observation yet.
        """
        if self._agent is None:
            raise ValueError(UNSEEN)
        return self._agent

    def _agent_for(self, observations: Mapping[str, Any]) -> Agent:
        if self._agent is None:
            spec = ObservationSpec.from_observation(observations, self._image_keys, self._frame_stack)
            if self._image_keys:
                warn_if_random(self.config.networks.encoder.trunk)
            self._agent = make_agent(self.layout, spec, self.config, device=self.device, seed=self.seed)
        return self._agent

    def sample_actions(
        self, observations: Mapping[str, Any], argmax: bool = False, eps: torch.Tensor | None = None
    ) -> np.ndarray:
        """Env actions in [-1, 1]; see `Agent.sample_actions`."""
        return self._agent_for(observations).sample_actions(observations, argmax, eps)

    def q_values(self, observations: Mapping[str, Any], actions: np.ndarray) -> np.ndarray:
        """Q (E, B) of env actions (B, A + G); see `Agent.q_values`."""
        return self._agent_for(observations).q_values(observations, actions)

    def update(self, batch: Batch, critics_only: bool = False, noise: UpdateNoise | None = None) -> dict[str, float]:
        """One gradient step; see `Agent.update`."""
        return self._agent_for(batch["observations"]).update(batch, critics_only, noise)

    def save(self, path: str | Path) -> None:
        """Writes a folder with tensors and configuration, which atomically replaces an existing one."""
        save_agent(self.agent, Path(path))

    @classmethod
    def load(cls, path: str | Path, device: torch.device | str = DEVICE) -> Self:
        """The agent that `save` wrote. On the same kind of device, training continues exactly.

        Raises:
            ValueError: the folder holds an agent of another kind, or is damaged.
        """
        agent = load_agent(Path(path), device)
        kind = SACHybridAgent if agent.layout.num_grippers else SACAgent
        if kind is not cls:
            raise ValueError(f"{path} holds a {kind.__name__}, not a {cls.__name__}. Load it with {kind.__name__}.load.")
        front = cls(agent.spec.image_keys, config=agent.config, lr=agent.config.lr, device=device, seed=agent.seed)
        front.layout, front._agent = agent.layout, agent
        return front

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.agent, name)


class SACHybridAgent(SACAgent):
    """SAC on the continuous dimensions and a double DQN on the grippers, with one shared encoder.

    The other arguments are those of `SACAgent`.

    Args:
        continuous_action_dim: number A of the continuous dimensions of all arms.
        grasp_action_dim: number K of the grasp critic's outputs: 3 for one gripper, 9 for two.
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
        frame_stack: int = 1,
    ) -> None:
        layout = ActionLayout.from_sizes(continuous_action_dim, grasp_action_dim)
        self._start(layout, image_keys, (config or SACConfig()).replace(lr=lr), device, seed, frame_stack)
