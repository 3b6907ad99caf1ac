"""The agent for an action layout."""

from __future__ import annotations

import torch

from serl_ray.agents.agent import Agent
from serl_ray.agents.config import SACConfig
from serl_ray.agents.hybrid import HybridAgent
from serl_ray.networks.actor_critic import AgentNetworks
from serl_ray.networks.inputs import ObservationSpec
from serl_ray.types import ActionLayout
from serl_ray.utils.device import DEVICE


def make_agent(
    layout: ActionLayout,
    spec: ObservationSpec,
    config: SACConfig,
    *,
    device: torch.device | str = DEVICE,
    seed: int = 0,
    networks: AgentNetworks | None = None,
) -> Agent:
    """An `Agent`, or a `HybridAgent` for a layout with learned grippers; for the arguments see `Agent`."""
    kind = HybridAgent if layout.num_grippers else Agent
    return kind(layout, spec, config, device=device, seed=seed, networks=networks)
