"""Checks that a checkpoint agrees with the run that takes it over, its env, its demonstrations and its own parts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium
import torch

from serl_ray.agents.agent import Agent
from serl_ray.data.replay.log import num_transitions
from serl_ray.envs.make import BUNDLED_ENVS
from serl_ray.files.uris import local_copy
from serl_ray.options.groups import RewardOptions
from serl_ray.options.sets import TrainingOptions
from serl_ray.utils.options import Role, names_of

ACTION_SCALE = "action_scale"
"""Part of the contract that a run takes over from a checkpoint, where its own demonstrations have none."""


def check_trunk(path: Path, tensors: dict[str, torch.Tensor], agent: Agent, trunk: str) -> None:
    """Raises ValueError where a frozen trunk, which also encodes what is to come, is not the one that was trained
    with."""
    if not agent.config.networks.encoder.frozen:
        return
    for name, ours in agent.networks.state_dict().items():
        theirs = tensors.get(f"networks.{name}")
        if name.startswith("encoder.trunk.") and theirs is not None and not torch.equal(theirs, ours.cpu()):
            raise ValueError(f"{path} was trained with another trunk than {trunk!r}: name the same --trunk.")


def check_match(path: Path, saved: dict[str, Any], options: TrainingOptions) -> None:
    """Raises ValueError for the first option that decides the shape of the networks and has another value."""
    values = options.flat()
    for name in names_of(type(options), Role.MUST_MATCH):
        ours = json.loads(json.dumps(values[name]))
        if saved.get(name) != ours:
            raise ValueError(
                f"{path} was trained with {name} {saved.get(name)!r}, this run has {ours!r}: choose the same."
            )


def checked_env(path: Path, saved: dict[str, Any], env_name: str | None) -> str | None:
    """The env to make for a checkpoint: the one that is named, or the one that it was trained in, if that comes with
    serl_ray.

    Raises:
        ValueError: it is somebody's own, whose code would run because a file says so.
    """
    if env_name is None and saved.get("env_name") not in (None, *BUNDLED_ENVS):
        kwargs = f" with the arguments {saved['env_kwargs']}" if saved.get("env_kwargs") else ""
        raise ValueError(
            f"{path} says that it was trained in the env {saved['env_name']!r}{kwargs}. Opening that env would run its "
            "code. If you trust it, name it with --env_name."
        )
    return env_name or saved.get("env_name")


def described_observations(space: gymnasium.spaces.Dict) -> dict[str, str]:
    """The agent's observations in the words of a contract, by key."""
    return {key: f"{part.dtype} of shape {tuple(part.shape)}" for key, part in space.items() if part.shape is not None}


def check_contract(path: Path, saved: dict[str, Any], ours: dict[str, Any]) -> None:
    """Raises ValueError for the first part of the env's contract that differs."""
    for name, theirs in ours.items():
        is_left_open = name == ACTION_SCALE and None in (theirs, saved.get(name))
        if saved.get(name) != theirs and not is_left_open:
            raise ValueError(
                f"{path} was trained with an env whose {name} are {saved.get(name)!r}; this env has {theirs!r}."
            )


def check_demonstration_count(path: Path, saved: int, ours: int) -> None:
    """Raises ValueError where a run began with another number of demonstrated transitions."""
    if saved != ours:
        raise ValueError(
            f"{path} began with {saved} transitions of demonstrations, and has them; those of --demo_paths are now "
            f"{ours}. Name the same, or begin another run: --init_from takes over its policy."
        )


def check_shards(path: Path, shards: dict[str, list[Path]], counters: dict[str, Any]) -> None:
    """Finds what is missing or cut off before anything is taken over."""
    for files in shards.values():
        if missing := [file.name for file in files if not file.is_file()]:
            raise FileNotFoundError(
                f"{path} is incomplete: {', '.join(missing[:3])} is not in {files[0].parent}. Copy it again."
            )
    if "online" in shards and (found := num_transitions(shards["online"])) != counters.get("env_steps"):
        raise ValueError(
            f"{path} counts {counters.get('env_steps')} env steps, but its replay has {found}: it is damaged."
        )


def classifier_id(folder: str | None) -> str | None:
    """Identity of a trained classifier: a hash of the files in its folder."""
    if folder is None:
        return None
    digest = hashlib.sha256()
    for file in sorted(local_copy(folder).glob("*.*")):
        if file.suffix in (".json", ".safetensors"):
            digest.update(file.read_bytes())
    return digest.hexdigest()


def classifier_ids(reward: RewardOptions) -> dict[str, Any]:
    """The identities of the reward classifiers of a run, by the options that name them."""
    stages = [classifier_id(folder) for folder in reward.stage_classifiers]
    return {"classifier": classifier_id(reward.classifier), "stage_classifiers": stages}


def differing_classifiers(saved: Mapping[str, Any], reward: RewardOptions) -> bool:
    """True if a checkpoint is of other reward classifiers than a run."""
    identities = classifier_ids(reward)
    older = {"classifier": None, "stage_classifiers": []}
    return any(saved.get(name, older[name]) != identity for name, identity in identities.items())
