"""An agent on disk: one folder of safetensors and JSON, written beside and renamed."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from serl_ray.agents.config import SACConfig
from serl_ray.files.atomic import new_folder, read_json, write_file, write_json
from serl_ray.networks.actor_critic import AgentNetworks, NetworkConfig
from serl_ray.networks.encoder import EncoderConfig
from serl_ray.networks.inputs import ObservationSpec
from serl_ray.networks.pretrained import trunk_without_weights
from serl_ray.option_types import check_types
from serl_ray.types import ActionLayout

if TYPE_CHECKING:
    from serl_ray.agents.sac import SACAgent

A = TypeVar("A", bound="SACAgent")
TENSORS_FILE = "agent.safetensors"
CONFIG_FILE = "agent.json"
FORMAT_VERSION = 1


def agent_tensors(agent: SACAgent) -> dict[str, torch.Tensor]:
    """Networks, targets (their frozen trunk is the networks' own), Adam moments and the noise generator's state, all by name."""
    if agent.spec is None:
        raise ValueError(
            "This agent has seen no observation yet, so it has no networks. Call build, sample_actions or update first."
        )
    tensors = {f"networks.{name}": tensor for name, tensor in agent.networks.state_dict().items()}
    tensors |= {f"target.{name}": tensor for name, tensor in agent.target.state_dict().items() if not _is_shared(agent, name)}
    for name, optimiser in agent.optimisers.items():
        for index, state in optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{name}.{index}.{key}": value for key, value in state.items()}
    tensors["generator"] = agent.generator.get_state()
    return tensors


def check_tensors(agent: SACAgent, tensors: dict[str, torch.Tensor]) -> None:
    """Raises ValueError where these are not tensors of such an agent."""
    expected = {name: (tensor.shape, tensor.dtype) for name, tensor in agent_tensors(agent).items()}
    found = {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}
    if expected != found:
        missing, surplus = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
        different = sorted(name for name in expected.keys() & found.keys() if expected[name] != found[name])
        raise ValueError(
            f"The checkpoint does not fit this agent: missing {missing or 'none'}, surplus {surplus or 'none'}, "
            f"of another shape or type {different or 'none'}."
        )
    try:
        torch.Generator(agent.generator.device).set_state(tensors["generator"].cpu())
    except RuntimeError as error:
        raise ValueError(f"The checkpoint's generator holds no state of a random generator: {error}") from error


def load_agent_tensors(agent: SACAgent, tensors: dict[str, torch.Tensor]) -> None:
    """The reverse of `agent_tensors`, all or nothing."""
    check_tensors(agent, tensors)
    agent.networks.load_state_dict(_under(tensors, "networks."))
    agent.target.load_state_dict(_under(tensors, "target."), strict=False)
    for name, optimiser in agent.optimisers.items():
        _load_optimiser(optimiser, _under(tensors, f"optimiser.{name}."))
    agent.generator.set_state(tensors["generator"].cpu())


def save_agent(agent: SACAgent, path: Path) -> None:
    """Writes `agent.safetensors` and `agent.json` into the folder `path`."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in agent_tensors(agent).items()}
    description = {
        "format_version": FORMAT_VERSION,
        "agent": type(agent).__name__,
        "config": dataclasses.asdict(agent.config),
        "layout": dataclasses.asdict(agent.layout),
        "spec": dataclasses.asdict(agent.spec),
        "seed": agent.seed,
    }
    with new_folder(path) as new:
        write_file(new / TENSORS_FILE, save(tensors))
        write_json(new / CONFIG_FILE, description)


def load_agent(cls: type[A], path: Path, device: torch.device | str) -> A:
    """Builds the agent a folder describes and loads its tensors."""
    description = _describe(path)
    if (name := description.get("agent")) != cls.__name__:
        raise ValueError(f"{path} holds a {name}, not a {cls.__name__}. Load it with {name}.load.")
    agent = cls.__new__(cls)
    try:
        config = config_from_json(description["config"])
        layout = ActionLayout(**{key: tuple(value) for key, value in description["layout"].items()})
        spec = ObservationSpec(**_with_tuples(description["spec"]))
        agent._setup(layout, config.networks.encoder.image_keys, config.lr, config, device, description["seed"])
        torch.Generator().manual_seed(agent.seed)
        with torch.device("meta"):
            described = _networks_to_fill(config.networks, layout, spec.state_dim)
    except (KeyError, TypeError, AttributeError, RuntimeError, ValueError, OverflowError) as error:
        raise ValueError(f"{path / CONFIG_FILE} is damaged: it describes no agent ({error!r}). Take another copy.") from error
    tensors = read_tensors(path)
    for name, tensor in described.state_dict().items():  # before there is memory for what a file only promises
        if f"networks.{name}" not in tensors or tensors[f"networks.{name}"].shape != tensor.shape:
            raise ValueError(f"{path} is damaged: {CONFIG_FILE} describes {name} as {tuple(tensor.shape)}, the tensors do not.")
    agent.build(spec, _networks_to_fill(config.networks, layout, spec.state_dim))
    agent.load_tensors(tensors)
    return agent


def _networks_to_fill(config: NetworkConfig, layout: ActionLayout, state_dim: int) -> AgentNetworks:
    """Networks whose tensors the checkpoint holds, those of the trunk, too: where it came from does not matter any more."""
    encoder = config.encoder
    trunk = trunk_without_weights(encoder.trunk, encoder.trunk_width) if encoder.image_keys else None
    return AgentNetworks(config, layout, state_dim, trunk)


def load_any_agent(path: Path, device: torch.device | str) -> SACAgent:
    """The agent in a folder, of whichever class it is."""
    from serl_ray.agents.sac import SACAgent, SACHybridAgent

    classes = {cls.__name__: cls for cls in (SACAgent, SACHybridAgent)}
    name = str(_describe(path).get("agent"))
    if name not in classes:
        raise ValueError(f"{path / CONFIG_FILE} names the agent {name!r}; this release has {', '.join(classes)}.")
    return load_agent(classes[name], path, device)


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """The tensors in an agent's folder."""
    file = path / TENSORS_FILE
    if not file.is_file():
        raise FileNotFoundError(f"{path} holds no agent: there is no {TENSORS_FILE} in it.")
    try:
        return load_file(file)
    except SafetensorError as error:
        raise ValueError(f"{file} is damaged: it does not hold the tensors it lists ({error}). Take another copy.") from error


def _describe(path: Path) -> dict[str, Any]:
    description = read_json(path / CONFIG_FILE, "agent")
    if description.get("format_version") != FORMAT_VERSION:
        version = description.get("format_version")
        raise ValueError(f"{path} has format version {version!r}; this release reads {FORMAT_VERSION}.")
    return description


def config_from_json(config: dict[str, Any]) -> SACConfig:
    """The SACConfig that `dataclasses.asdict` and JSON have taken apart."""
    networks = dict(config["networks"])
    encoder = EncoderConfig(**_with_tuples(networks.pop("encoder")))
    described = SACConfig(**{**config, "networks": NetworkConfig(encoder=encoder, **_with_tuples(networks))})
    for part in (encoder, described.networks, described):
        check_types(part)
    return described


def _with_tuples(values: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}


def _under(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _is_shared(agent: SACAgent, name: str) -> bool:
    return agent.config.networks.encoder.frozen and name.startswith("encoder.trunk.")


def _load_optimiser(optimiser: torch.optim.Optimizer, tensors: dict[str, torch.Tensor]) -> None:
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        index, key = name.split(".")
        state.setdefault(int(index), {})[key] = tensor
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
