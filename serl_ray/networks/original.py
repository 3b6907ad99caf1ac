"""Loading of agents and classifiers that were trained with the original."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from serl_ray.networks.actor_critic import AgentNetworks
from serl_ray.networks.classifier import RewardClassifier
from serl_ray.networks.flax import agent_state_dict, classifier_state_dict


def load_flax_agent(networks: AgentNetworks, params: Mapping[str, Any]) -> None:
    """Loads the original's agent parameters (`modules_actor`, `modules_critic`, ...) into our networks, in place.

    Raises:
        ValueError: a tensor is missing, left over or of another shape. Only a frozen trunk may be missing; ours then
            stays.
    """
    _load(networks, agent_state_dict(params, networks.encoder.image_keys), trunk="encoder.trunk.")


def load_flax_classifier(classifier: RewardClassifier, params: Mapping[str, Any]) -> None:
    """Loads the original's reward classifier parameters into our networks, in place; see `load_flax_agent`."""
    _load(classifier.network, classifier_state_dict(params, classifier.image_keys), trunk="encoder.trunk.")


def _load(module: nn.Module, state: dict[str, torch.Tensor], trunk: str) -> None:
    try:
        missing, surplus = module.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise ValueError(f"The flax parameters do not fit these networks: {error}") from error
    trunk_is_absent = not any(name.startswith(trunk) for name in state)
    missing = [name for name in missing if not (trunk_is_absent and name.startswith(trunk))]
    if missing or surplus:
        raise ValueError(
            f"The flax parameters do not fit these networks: missing {missing or 'none'}, surplus {surplus or 'none'}."
        )
