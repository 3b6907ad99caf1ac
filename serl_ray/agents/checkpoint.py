"""Agents on disk: a folder of safetensors and JSON, written atomically."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any, TypeVar

import torch
from pydantic import TypeAdapter
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from serl_ray.agents.agent import Agent
from serl_ray.agents.config import SACConfig
from serl_ray.agents.make import make_agent
from serl_ray.files.atomic import new_folder, read_json, write_file
from serl_ray.files.digests import check_files, check_seal, sha256_of, write_sealed
from serl_ray.networks.actor_critic import AgentNetworks
from serl_ray.networks.config import EncoderConfig, NetworkConfig
from serl_ray.networks.inputs import ObservationSpec
from serl_ray.networks.pretrained import trunk_without_weights
from serl_ray.types import ActionLayout, ActionScale

T = TypeVar("T")

AGENT_TENSORS = "agent.safetensors"
AGENT_FILE = "agent.json"
AGENT_FORMAT = 3
UNDESCRIBED = (KeyError, TypeError, AttributeError, RuntimeError, ValueError, OverflowError)
"""Exceptions raised by damaged descriptions."""


def save_agent(agent: Agent, path: Path) -> dict[str, str]:
    """Writes `agent.safetensors` and `agent.json` into the folder `path`; returns the SHA-256 of each by its name."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in agent.state.tensors().items()}
    data = save(tensors)
    digests = {AGENT_TENSORS: hashlib.sha256(data).hexdigest()}
    description = {
        "format_version": AGENT_FORMAT,
        "config": agent.config.model_dump(mode="json"),
        "layout": dataclasses.asdict(agent.layout),
        "spec": dataclasses.asdict(agent.spec),
        "seed": agent.seed,
        "action_scale": dataclasses.asdict(agent.action_scale) if agent.action_scale else None,
        "sha256": digests,
    }
    with new_folder(path) as new:
        write_file(new / AGENT_TENSORS, data)
        write_sealed(new / AGENT_FILE, description)
    return digests | {AGENT_FILE: sha256_of(path / AGENT_FILE)}


def load_agent(path: Path, device: torch.device | str) -> Agent:
    """Builds the agent that a folder describes and loads its tensors.

    Raises:
        FileNotFoundError: the folder holds no agent.
        ValueError: the agent is damaged or of another version.
    """
    description = _describe(path)
    try:
        config = config_from_json(description["config"])
        layout = _checked(ActionLayout, description["layout"])
        spec = _checked(ObservationSpec, description["spec"])
        scale = _scale_in(description, layout)
        seed = description["seed"]
        torch.Generator().manual_seed(seed)
        with torch.device("meta"):
            described = _networks_to_fill(config.networks, layout, spec)
    except UNDESCRIBED as error:
        raise ValueError(
            f"{path / AGENT_FILE} is damaged: it describes no agent ({error!r}). Take another copy."
        ) from error
    tensors = read_tensors(path)
    for name, tensor in described.state_dict().items():  # before memory is allocated for an untrusted description
        if f"networks.{name}" not in tensors or tensors[f"networks.{name}"].shape != tensor.shape:
            raise ValueError(
                f"{path} is damaged: {AGENT_FILE} describes {name} as {tuple(tensor.shape)}, the tensors do not."
            )
    networks = _networks_to_fill(config.networks, layout, spec)
    agent = make_agent(layout, spec, config, device=device, seed=seed, networks=networks)
    agent.state.load(tensors)
    agent.action_scale = scale
    return agent


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """The tensors in an agent's folder.

    Raises:
        FileNotFoundError: the folder holds no agent.
        ValueError: the file is damaged.
    """
    file = path / AGENT_TENSORS
    if not file.is_file():
        raise FileNotFoundError(f"{path} holds no agent: there is no {AGENT_TENSORS} in it.")
    check_files(path, _describe(path)["sha256"], [AGENT_TENSORS])
    try:
        return load_file(file)
    except SafetensorError as error:
        raise ValueError(
            f"{file} is damaged: it does not hold the tensors it lists ({error}). Take another copy."
        ) from error


def read_config(path: Path) -> SACConfig:
    """The configuration of the agent in a folder.

    Raises:
        FileNotFoundError, ValueError, TypeError, KeyError: the folder holds none, or a damaged one.
    """
    return config_from_json(_describe(path)["config"])


def config_from_json(config: dict[str, Any]) -> SACConfig:
    """The SACConfig from the JSON of its `model_dump`."""
    networks = dict(config["networks"])
    encoder = EncoderConfig(**networks.pop("encoder"))
    return SACConfig(**{**config, "networks": NetworkConfig(**networks, encoder=encoder)})


def _networks_to_fill(config: NetworkConfig, layout: ActionLayout, spec: ObservationSpec) -> AgentNetworks:
    """Networks to fill with a checkpoint's tensors, which include those of the trunk."""
    trunk = trunk_without_weights(config.encoder.trunk, config.encoder.trunk_width) if spec.image_keys else None
    return AgentNetworks(config, layout, spec, trunk)


def _scale_in(description: dict[str, Any], layout: ActionLayout) -> ActionScale | None:
    """The scale of the actions; None where a description has none, or is older than scales are."""
    if (fields := description.get("action_scale")) is None:
        return None
    scale = ActionScale.from_fields(fields)
    if len(scale.limits) != layout.action_dim:
        raise ValueError(f"the scale of the actions has {len(scale.limits)} numbers, an action {layout.action_dim}")
    return scale


def _describe(path: Path) -> dict[str, Any]:
    description = read_json(path / AGENT_FILE, "agent")
    if description.get("format_version") != AGENT_FORMAT:
        version = description.get("format_version")
        raise ValueError(f"{path} has format version {version!r}; this release reads {AGENT_FORMAT}.")
    check_seal(path / AGENT_FILE, description)
    return description


def _checked(kind: type[T], values: dict[str, Any]) -> T:
    """A dataclass from JSON; raises TypeError for unknown names, and pydantic's ValueError for wrong types."""
    return TypeAdapter(kind).validate_python(vars(kind(**values)))
