"""A run on disk: the agent, the replay buffers, counters and random states; safetensors and JSON only."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.numpy import load_file, save_file

from serl_ray.agents.checkpoint import read_tensors
from serl_ray.agents.sac import SACAgent
from serl_ray.data.replay_buffer import ReplayBuffer
from serl_ray.settings import TrainingSettings

if TYPE_CHECKING:
    from serl_ray.rllib.algorithm import SERL

CHECKPOINT = "checkpoint"
"""In the folder of a run."""
AGENT_DIR = "agent"
RUN_FILE = "run.json"
COUNTERS = ("env_steps", "learner_steps", "interventions")
MUST_MATCH = ("setup_mode", "image_keys", "state_keys", "frame_stack", "hidden_dims", "critic_ensemble_size", "image_latent_dim")


def save(algorithm: SERL, directory: str) -> None:
    """Writes the run's state into an existing folder."""
    path = Path(directory)
    algorithm.agent.save(path / AGENT_DIR)
    for name, buffer in algorithm.buffers.items():
        _save_buffer(buffer, path / name)
    state = {
        "settings": asdict(algorithm.settings),
        "counters": {name: getattr(algorithm, name) for name in COUNTERS},
        "rng": algorithm.rng.bit_generator.state,
    }
    (path / RUN_FILE).write_text(json.dumps(state, indent=2))


def load(algorithm: SERL, directory: str) -> None:
    """Goes on where `save` left off; ValueError where the checkpoint is of another set-up."""
    path = Path(directory)
    state = read_run(path)
    check_match(path, state["settings"], algorithm.settings)
    algorithm.agent.load_tensors(read_tensors(path / AGENT_DIR))
    for name, buffer in algorithm.buffers.items():
        buffer.load_state_dict(_load_buffer(path / name))
    for name, value in state["counters"].items():
        setattr(algorithm, name, value)
    algorithm.rng.bit_generator.state = state["rng"]
    algorithm.policy.global_timestep = algorithm.env_steps


def start_from(agent: SACAgent, run: Path) -> None:
    """Takes over the networks, the targets and the temperature that another run has trained; optimisers start anew."""
    tensors = agent.tensors()
    trained = {name: tensor for name, tensor in read_tensors(checkpoint_of(run) / AGENT_DIR).items() if _is_network(name)}
    agent.load_tensors({name: tensor for name, tensor in tensors.items() if not _is_network(name)} | trained)


def check_match(path: Path, saved: dict[str, Any], settings: TrainingSettings) -> None:
    """Raises ValueError for the first option that decides what networks there are, and differs."""
    ours = json.loads(json.dumps(asdict(settings)))
    for name in MUST_MATCH:
        if saved[name] != ours[name]:
            raise ValueError(f"{path} was trained with {name} {saved[name]!r}, this run has {ours[name]!r}: choose the same.")


def checkpoint_of(run: Path) -> Path:
    """The checkpoint of a run's folder, or the folder itself where it is one."""
    return run / CHECKPOINT if (run / CHECKPOINT).is_dir() else run


def read_run(path: Path) -> dict[str, Any]:
    """Settings and counters of a checkpoint folder."""
    if not (path / RUN_FILE).is_file():
        raise FileNotFoundError(f"{path} holds no checkpoint: there is no {RUN_FILE} in it.")
    return json.loads((path / RUN_FILE).read_text())


def _save_buffer(buffer: ReplayBuffer, stem: Path) -> None:
    state = buffer.state_dict()
    arrays = {name: np.ascontiguousarray(value) for name, value in state.items() if _is_numeric(value)}
    rest = {name: np.asarray(value).tolist() for name, value in state.items() if name not in arrays}
    save_file(arrays, stem.with_suffix(".safetensors"))
    stem.with_suffix(".json").write_text(json.dumps(rest))


def _load_buffer(stem: Path) -> dict[str, Any]:
    return load_file(stem.with_suffix(".safetensors")) | json.loads(stem.with_suffix(".json").read_text())


def _is_network(name: str) -> bool:
    return name.startswith(("networks.", "target."))


def _is_numeric(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind in "biuf"
