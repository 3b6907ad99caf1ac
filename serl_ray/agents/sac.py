"""Public agents, whose networks are made at the first observation, which gives their sizes."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from serl_ray.agents.agent import Agent
from serl_ray.agents.checkpoint import load_agent, save_agent
from serl_ray.agents.config import SACConfig
from serl_ray.agents.make import make_agent
from serl_ray.agents.noise import UpdateNoise
from serl_ray.agents.state import TrainingState
from serl_ray.networks.actor_critic import AgentNetworks
from serl_ray.networks.inputs import ObservationSpec
from serl_ray.networks.pretrained import warn_if_random
from serl_ray.types import ActionLayout, Batch
from serl_ray.utils.device import DEVICE

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """Plan of an agent, complete except for the sizes of its observations."""

    layout: ActionLayout
    image_keys: tuple[str, ...]
    frame_stack: int
    config: SACConfig
    device: torch.device
    seed: int

    def make(self, observations: Mapping[str, Any]) -> Agent:
        """The agent for such observations."""
        spec = ObservationSpec.from_observation(observations, self.image_keys, self.frame_stack)
        if self.image_keys:
            warn_if_random(self.config.networks.encoder.trunk)
        return make_agent(self.layout, spec, self.config, device=self.device, seed=self.seed)


class PlannedAgent:
    """An agent that its first call with an observation makes from a plan; `serl_ray.agents.agent.Agent` serves all
    calls.

    Args:
        plan: plan of the agent.
    """

    def __init__(self, plan: Plan) -> None:
        self._agent: Agent | Plan = plan

    @property
    def layout(self) -> ActionLayout:
        return self._agent.layout

    @property
    def config(self) -> SACConfig:
        return self._agent.config

    @property
    def device(self) -> torch.device:
        return self._agent.device

    @property
    def agent(self) -> Agent:
        """The agent behind this one.

        Raises:
            ValueError: there was no observation yet.
        """
        if isinstance(self._agent, Plan):
            raise ValueError(
                "This agent has seen no observation yet, so it has no networks. Call sample_actions or update first."
            )
        return self._agent

    @property
    def networks(self) -> AgentNetworks:
        return self.agent.networks

    @property
    def target(self) -> AgentNetworks:
        return self.agent.target

    @property
    def state(self) -> TrainingState:
        return self.agent.state

    def sample_actions(
        self, observations: Mapping[str, Any], argmax: bool = False, eps: torch.Tensor | None = None
    ) -> np.ndarray:
        """Env actions in [-1, 1], (A + G,) or (B, A + G); see `Agent.sample_actions`."""
        return self._agent_for(observations).sample_actions(observations, argmax, eps)

    def in_robot_units(self, actions: np.ndarray) -> np.ndarray:
        """Sampled actions (..., A + G) in the units in which the demonstrations were recorded.

        They differ where the demonstrations were converted by `--rescale_actions`.
        """
        return self.agent.in_robot_units(actions)

    def q_values(self, observations: Mapping[str, Any], actions: np.ndarray) -> np.ndarray:
        """Q (E, B) of env actions (B, A + G); see `Agent.q_values`."""
        return self._agent_for(observations).q_values(observations, actions)

    def update(self, batch: Batch, critics_only: bool = False, noise: UpdateNoise | None = None) -> dict[str, float]:
        """One gradient step; see `Agent.update`."""
        return self._agent_for(batch["observations"]).update(batch, critics_only, noise)

    def save(self, path: str | Path) -> None:
        """Writes a folder with tensors and configuration, which atomically replaces an existing one."""
        save_agent(self.agent, Path(path))

    def _agent_for(self, observations: Mapping[str, Any]) -> Agent:
        if isinstance(self._agent, Plan):
            self._agent = self._agent.make(observations)
        return self._agent

    def _with_agent_of(self, path: str | Path) -> Self:
        """This object with the agent in a folder instead of its plan."""
        loaded = load_agent(Path(path), self.device)
        kind = SACHybridAgent if loaded.layout.num_grippers else SACAgent
        if not isinstance(self, kind):
            raise ValueError(
                f"{path} holds a {kind.__name__}, not a {type(self).__name__}. Load it with {kind.__name__}.load."
            )
        if loaded.action_scale:
            logger.warning(
                "The actions of this agent's demonstrations were scaled (%s). sample_actions() gives numbers in "
                "[-1, 1]; in_robot_units(actions) gives them as they were recorded.",
                "; ".join(loaded.action_scale.lines()),
            )
        self._agent = loaded
        return self


class SACAgent(PlannedAgent):
    """Soft actor-critic with a critic ensemble, for envs without learned grippers.

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
        layout, config = ActionLayout.from_sizes(action_dim), (config or SACConfig()).replace(lr=lr)
        super().__init__(Plan(layout, tuple(image_keys), frame_stack, config, torch.device(device), seed))

    @classmethod
    def load(cls, path: str | Path, device: torch.device | str = DEVICE) -> Self:
        """The agent that `save` wrote. On the same kind of device, training continues exactly.

        Raises:
            FileNotFoundError: the folder holds no agent.
            ValueError: the agent is of another kind, or damaged.
        """
        return cls(device=device)._with_agent_of(path)


class SACHybridAgent(PlannedAgent):
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
        config = (config or SACConfig()).replace(lr=lr)
        super().__init__(Plan(layout, tuple(image_keys), frame_stack, config, torch.device(device), seed))

    @classmethod
    def load(cls, path: str | Path, device: torch.device | str = DEVICE) -> Self:
        """The agent that `save` wrote; see `SACAgent.load`."""
        return cls(device=device)._with_agent_of(path)
