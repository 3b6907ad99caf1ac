"""A run on disk: the agent, the replay buffers, counters and random states; safetensors and JSON only."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.numpy import load_file, save_file

from serl_ray.agents.checkpoint import read_tensors
from serl_ray.data.replay_buffer import ReplayBuffer

if TYPE_CHECKING:
    from serl_ray.rllib.algorithm import SERL

AGENT_DIR = "agent"
RUN_FILE = "run.json"
COUNTERS = ("env_steps", "learner_steps", "interventions")
MUST_MATCH = ("setup_mode", "image_keys", "state_keys", "frame_stack", "hidden_dims", "critic_ensemble_size")


def save(algorithm: SERL, directory: str) -> None:
    """Writes the run's state into an existing folder."""
    path = Path(directory)
    algorithm.agent.save(path / AGENT_DIR)
    for name, buffer in _buffers(algorithm).items():
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
    ours = json.loads(json.dumps(asdict(algorithm.settings)))
    for name in MUST_MATCH:
        if state["settings"][name] != ours[name]:
            raise ValueError(f"{path} was trained with {name} {state['settings'][name]!r}, this run has {ours[name]!r}.")
    algorithm.agent.load_tensors(read_tensors(path / AGENT_DIR))
    for name, buffer in _buffers(algorithm).items():
        buffer.load_state_dict(_load_buffer(path / name))
    for name, value in state["counters"].items():
        setattr(algorithm, name, value)
    algorithm.rng.bit_generator.state = state["rng"]
    algorithm.policy.global_timestep = algorithm.env_steps


def read_run(path: Path) -> dict[str, Any]:
    """Settings and counters of a checkpoint folder."""
    if not (path / RUN_FILE).is_file():
        raise FileNotFoundError(f"{path} holds no checkpoint: there is no {RUN_FILE} in it.")
    return json.loads((path / RUN_FILE).read_text())


def _buffers(algorithm: SERL) -> dict[str, ReplayBuffer]:
    return {"online_replay": algorithm.online, "demo_replay": algorithm.demos}


def _save_buffer(buffer: ReplayBuffer, stem: Path) -> None:
    state = buffer.state_dict()
    arrays = {name: np.ascontiguousarray(value) for name, value in state.items() if _is_numeric(value)}
    rest = {name: np.asarray(value).tolist() for name, value in state.items() if name not in arrays}
    save_file(arrays, stem.with_suffix(".safetensors"))
    stem.with_suffix(".json").write_text(json.dumps(rest))


def _load_buffer(stem: Path) -> dict[str, Any]:
    return load_file(stem.with_suffix(".safetensors")) | json.loads(stem.with_suffix(".json").read_text())


def _is_numeric(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind in "biuf"
