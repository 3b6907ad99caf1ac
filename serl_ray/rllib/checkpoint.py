"""A run on disk: the agent, the replay, counters and random states; safetensors, Parquet and JSON only.

CHECKPOINT/agent/             networks, targets, temperature, optimisers, noise; the agent's configuration
CHECKPOINT/replay/online/     what the run has experienced: links to the shards of the run
CHECKPOINT/replay/demos/      demonstrations and interventions, likewise
CHECKPOINT/rllib_checkpoint.json  tells RLlib's own classes who loads this
CHECKPOINT/run.json           the rest, the order of the shards, and the SHA-256 of each file of the agent and the
replay
"""

from __future__ import annotations

import copy
import logging
import platform
import re
from dataclasses import dataclass, replace
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch

from serl_ray.agents.agent import Agent
from serl_ray.agents.arithmetic import with_arithmetic_of
from serl_ray.agents.checkpoint import AGENT_FILE, AGENT_TENSORS, read_config, read_tensors, save_agent
from serl_ray.agents.config import SACConfig
from serl_ray.data.replay.log import ReplayLog, read_shards
from serl_ray.data.replay.ring import ReplayBuffer
from serl_ray.files.atomic import read_json, sync, write_json
from serl_ray.files.digests import check_files, check_seal, write_sealed
from serl_ray.options.sets import HybridOptions, TrainingOptions
from serl_ray.rllib.agreement import (
    check_contract,
    check_demonstration_count,
    check_match,
    check_shards,
    check_trunk,
    classifier_ids,
    differing_classifiers,
)
from serl_ray.rllib.buffers import add_in_pieces
from serl_ray.rllib.fade import FADE_COUNTERS
from serl_ray.rllib.failures import FaultLog, LearnerError
from serl_ray.rllib.metrics import EpisodeLog, is_count

logger = logging.getLogger(__name__)

CHECKPOINTS = "checkpoints"
"""Folder of the checkpoints in a run's folder."""
NAME = re.compile(r"step-\d{9,}")
AGENT_DIR = "agent"
REPLAY_DIR = "replay"
RUN_FILE = "run.json"
FORMAT_VERSION = 5
RLLIB_FILE = "rllib_checkpoint.json"
"""Read by `from_checkpoint` of RLlib's own classes, whose error message quotes a version that is none."""
NOT_RLLIBS = {"checkpoint_version": "a checkpoint of serl_ray: load it with serl_ray.rllib.SERL.from_checkpoint"}
REPLAYS = ("online", "demos")
NETWORKS = ("networks.", "target.")
SHARD = re.compile(r"[\w-]+\.parquet")
COUNTERS = ("env_steps", "learner_steps", "interventions", "demonstrations", *FADE_COUNTERS)
PARTS = dict.fromkeys(("options", "contract", "counters", "episodes", "faults", "random", "replay", "sha256"), dict)
PACKAGES = ("serl-ray", "torch", "ray", "numpy", "pyarrow")


@dataclass
class RunState:
    """Everything that makes a run what it is.

    Attributes:
        options: its options.
        contract: what env and agent agree on.
        agent: networks, targets, optimisers and their noise.
        counters: counts by the names of `COUNTERS`.
        episodes: running averages over episodes.
        faults: counts of survived faults.
        logs: the shards of each replay on disk.
        buffers: each replay in memory, by the names of the logs.
        generators: random generators by name.
        found: names of options that were found and not given, so that those of a checkpoint go on.
    """

    options: TrainingOptions
    contract: dict[str, Any]
    agent: Agent
    counters: dict[str, int]
    episodes: EpisodeLog
    faults: dict[str, int]
    logs: dict[str, ReplayLog]
    buffers: dict[str, ReplayBuffer]
    generators: dict[str, np.random.Generator]
    found: tuple[str, ...] = ()


def save(state: RunState, directory: str) -> None:
    """Writes a run's state into an existing folder; `run.json` comes last.

    Raises:
        LearnerError: a network holds NaN or infinite numbers; nothing is written.
    """
    path = Path(directory)
    check_finite(state.agent)
    digests = {f"{AGENT_DIR}/{name}": digest for name, digest in save_agent(state.agent, path / AGENT_DIR).items()}
    described = {
        "format_version": FORMAT_VERSION,
        "versions": {"python": platform.python_version(), **{package: version(package) for package in PACKAGES}},
        "options": state.options.flat(),
        "contract": state.contract,
        **classifier_ids(state.options.reward),
        "counters": state.counters,
        "episodes": state.episodes.to_json(),
        "faults": state.faults,
        "random": {name: generator.bit_generator.state for name, generator in state.generators.items()},
        "replay": {name: log.link_into(path / REPLAY_DIR / name) for name, log in state.logs.items()},
    }
    for name, log in state.logs.items():
        digests |= {f"{REPLAY_DIR}/{name}/{shard}": digest for shard, digest in log.digests().items()}
    write_json(path / RLLIB_FILE, NOT_RLLIBS)
    write_sealed(path / RUN_FILE, {**described, "sha256": digests})
    sync(path)


def load(state: RunState, directory: str) -> RunState:
    """Brings a run's agent, replay and generators to where `save` left off, and returns the state with the saved
    counts.

    What is wrong is found before anything is changed.

    Raises:
        FileNotFoundError: there is no checkpoint, or a part of it is missing.
        ValueError: it is of another set-up, or damaged; what is wrong is named.
    """
    path = Path(directory)
    saved = read_run(path)
    check_match(path, saved["options"], state.options)
    check_contract(path, saved["contract"], state.contract)
    if differing_classifiers(saved, state.options.reward):
        logger.warning("The rewards in %s are of another classifier than those to come.", path)
    check_demonstration_count(path, saved["counters"]["demonstrations"], state.counters["demonstrations"])
    shards = _shards_of(path, saved, state)
    check_shards(path, shards, saved["counters"])
    tensors = read_tensors(path / AGENT_DIR)
    files = [path / AGENT_DIR / AGENT_TENSORS, path / AGENT_DIR / AGENT_FILE, *chain.from_iterable(shards.values())]
    check_files(path, saved["sha256"], [str(file.relative_to(path)) for file in files])
    check_trunk(path, tensors, state.agent, state.options.agent.networks.encoder.trunk)
    state.agent.state.check(tensors)
    try:
        episodes = EpisodeLog.from_json(saved["episodes"], state.options.reward)
        options = _as_begun(state, saved["options"])
        for name, generator in state.generators.items():
            copy.deepcopy(generator).bit_generator.state = saved["random"][name]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{path / RUN_FILE} is damaged ({error!r}). Take another copy of the checkpoint.") from error
    state.agent.config = _config_with(options, state.agent, path / AGENT_DIR)
    state.agent.state.load(tensors)
    _load_replay(state, shards, saved["sha256"])
    for name, generator in state.generators.items():
        generator.bit_generator.state = saved["random"][name]
    counters = {name: saved["counters"][name] for name in COUNTERS}
    contract = {**saved["contract"], **{name: ours for name, ours in state.contract.items() if ours is not None}}
    taken = {"options": options, "contract": contract, "counters": counters}
    return replace(state, **taken, episodes=episodes, faults=saved["faults"])


def _shards_of(path: Path, saved: dict[str, Any], state: RunState) -> dict[str, list[Path]]:
    return {name: [path / REPLAY_DIR / name / shard for shard in saved["replay"].get(name, [])] for name in state.logs}


def _as_begun(state: RunState, saved: dict[str, Any]) -> TrainingOptions:
    """The options with the policy that the run began with, wherever it is resumed from, and with what was found for
    it."""
    begun = {name: saved[name] for name in state.found}
    if isinstance(state.options, HybridOptions):
        begun["init_from"] = saved.get("init_from")
    return state.options.replace(**begun)


def _config_with(options: TrainingOptions, agent: Agent, folder: Path) -> SACConfig:
    """The agent's config with the discount of the options, and the arithmetic of the agent in a folder, unless the
    options name one."""
    config = agent.config.replace(discount=options.discount)
    if options.agent.bfloat16 != "auto":
        return config
    return with_arithmetic_of(config, read_config(folder), agent.device)


def _load_replay(state: RunState, shards: dict[str, list[Path]], digests: dict[str, str]) -> None:
    for name, log in state.logs.items():
        state.buffers[name].clear()
        for segment in read_shards(shards[name], log.state_name):
            add_in_pieces(state.buffers[name], segment)
        log.take_over(
            shards[name], {shard.name: digests[f"{REPLAY_DIR}/{name}/{shard.name}"] for shard in shards[name]}
        )


def start_from(agent: Agent, run: Path) -> None:
    """Takes over the networks, the targets and the temperature that another run has trained; optimisers start anew."""
    tensors, theirs = agent.state.tensors(), read_tensors(checkpoint_of(run) / AGENT_DIR)
    check_trunk(run, theirs, agent, agent.config.networks.encoder.trunk)
    trained = {name: tensor for name, tensor in theirs.items() if name.startswith(NETWORKS)}
    agent.state.load({name: tensor for name, tensor in tensors.items() if not name.startswith(NETWORKS)} | trained)


def check_finite(agent: Agent) -> None:
    """Raises LearnerError where a network holds NaN or infinite numbers."""
    for name, tensor in agent.networks.state_dict().items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise LearnerError(
                f"{name} holds NaN or infinite numbers, so nothing is saved. Go on from an earlier checkpoint."
            )


def checkpoints_of(run: Path) -> list[Path]:
    """The checkpoints in a run's folder, the oldest first."""
    return sorted(
        path for path in (run / CHECKPOINTS).glob("step-*") if NAME.fullmatch(path.name) and (path / RUN_FILE).is_file()
    )


def step_of(name: str) -> int:
    """The step in the name of a checkpoint."""
    return int(name.removeprefix("step-"))


def checkpoint_of(run: Path) -> Path:
    """The newest checkpoint of a run's folder, or the folder itself where it is a checkpoint."""
    return [run, *checkpoints_of(run)][-1]


def read_run(path: Path) -> dict[str, Any]:
    """Settings, counters and the rest of `run.json` in a checkpoint.

    Raises:
        FileNotFoundError: there is no checkpoint.
        ValueError: it is damaged, or of another version.
    """
    state = read_json(path / RUN_FILE, "checkpoint")
    if state.get("format_version") != FORMAT_VERSION:
        raise ValueError(
            f"{path} has format version {state.get('format_version')!r}; this release reads {FORMAT_VERSION}."
        )
    check_seal(path / RUN_FILE, state)
    wrong = [name for name, kind in PARTS.items() if not isinstance(state.get(name), kind)]
    wrong += _wrong_counts(state) if not wrong else []
    wrong += (
        [f"replay.{name}" for name, shards in state["replay"].items() if not _is_log(name, shards)] if not wrong else []
    )
    if wrong:
        raise ValueError(
            f"{path / RUN_FILE} is damaged: {', '.join(wrong)} is missing or wrong. Take another copy of the "
            "checkpoint."
        )
    return state


def _wrong_counts(state: dict[str, Any]) -> list[str]:
    """Names of the counters that are no counts."""
    counters, faults, known = state["counters"], state["faults"], FaultLog().counts
    wrong = [f"counters.{name}" for name in COUNTERS if not is_count(counters.get(name))]
    if not wrong and counters["interventions"] > counters["env_steps"]:
        wrong.append("counters.interventions")
    return wrong + [f"faults.{name}" for name, count in faults.items() if name not in known or not is_count(count)]


def _is_log(name: str, shards: Any) -> bool:
    """True for a log's name with the names of its shards, none of which leads out of its folder."""
    is_list = name in REPLAYS and isinstance(shards, list)
    return is_list and all(isinstance(shard, str) and SHARD.fullmatch(shard) for shard in shards)
