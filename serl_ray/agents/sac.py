"""The agents: `SACAgent`, and `SACHybridAgent` where grippers are learned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from serl_ray.agents.config import SACConfig
from serl_ray.agents.continuous import SACAgent
from serl_ray.agents.hybrid import SACHybridAgent
from serl_ray.types import ActionLayout

__all__ = ["SACAgent", "SACHybridAgent", "make_agent"]


def make_agent(layout: ActionLayout, image_keys: Sequence[str], config: SACConfig, **keywords: Any) -> SACAgent:
    """The agent for an action layout: hybrid where there are learned grippers."""
    if layout.num_grippers:
        sizes = (layout.continuous_dim, layout.grasp_choices)
        return SACHybridAgent(image_keys, *sizes, config.lr, config=config, **keywords)
    return SACAgent(image_keys, layout.action_dim, config.lr, config=config, **keywords)
