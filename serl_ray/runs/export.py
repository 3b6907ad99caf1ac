"""Export of a trained policy to a folder that needs neither PyTorch nor Ray to act (docs/deploy.md)."""

from __future__ import annotations

import hashlib
import importlib.util
import itertools
import logging
import re
import warnings
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from serl_ray.agents.agent import Agent
from serl_ray.agents.checkpoint import load_agent
from serl_ray.data.observations import OBJECT_STATE, STATE
from serl_ray.files.atomic import new_folder, write_json
from serl_ray.files.digests import sha256_of
from serl_ray.rllib.action_scale import saved_scale
from serl_ray.rllib.checkpoint import AGENT_DIR, read_run
from serl_ray.runs.acting_graph import ActingGraph
from serl_ray.utils.errors import SetupError

POLICY_FORMAT = 1
GRAPH_FILE, POLICY_FILE = "policy.onnx", "policy.json"
NEEDED_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
EXPORTERS = ("torch.onnx", "onnxscript", "onnx_ir")
"""Loggers of packages that tell of every optimisation of a graph."""
LARGEST_DIFFERENCE = 1e-5
"""Greatest difference between an exported action and the agent's."""
BATCH_SIZE = 20
"""Observations that are compared at once."""


def export_policy(checkpoint: Path, folder: Path, observations: int) -> dict[str, Any]:
    """Writes the policy of a checkpoint, and compares its actions with those of the agent.

    Args:
        checkpoint: checkpoint of a run.
        folder: folder for policy.onnx and policy.json; it may hold an exported policy, which is replaced.
        observations: number of random observations on which the actions are compared.

    Returns:
        The content of policy.json.

    Raises:
        SetupError: a package for the export is missing.
        FileExistsError: the folder holds something else.
        ValueError: the checkpoint does not say how large its images are, or the exported actions differ.
    """
    agent, shapes, about = read_policy(checkpoint, "cpu")
    return write_policy(agent, shapes, about, folder, observations)


def read_policy(
    checkpoint: Path, device: torch.device | str
) -> tuple[Agent, dict[str, tuple[int, int]], dict[str, Any]]:
    """The agent of a checkpoint, and of its env what `write_policy` needs."""
    state = read_run(checkpoint)
    agent = load_agent(checkpoint / AGENT_DIR, device)
    agent.action_scale = saved_scale(checkpoint)  # the agents of older checkpoints do not hold it
    shapes = _image_shapes(checkpoint, agent, state["contract"])
    options = state["options"]
    about = {"setup_mode": options["setup_mode"], "env_steps": state["counters"].get("env_steps", 0)}
    about["stages"] = len(options.get("stage_classifiers") or ()) + 1
    return agent, shapes, about | {name: options.get(name) for name in ("state_keys", "control_hz")}


def write_policy(
    agent: Agent, image_shapes: Mapping[str, tuple[int, int]], about: Mapping[str, Any], folder: Path, observations: int
) -> dict[str, Any]:
    """Writes the policy of an agent; see `export_policy`.

    Args:
        agent: agent on the CPU.
        image_shapes: height and width in pixels of each camera's images.
        about: facts that the agent does not know: `setup_mode`, `state_keys` and `control_hz` (or None), `env_steps`,
            `stages`.
        folder: folder for policy.onnx and policy.json.
        observations: number of random observations on which the actions are compared.
    """
    _check_packages()
    _check_folder(folder)
    graph = ActingGraph(agent, image_shapes).eval()
    with new_folder(folder) as part:
        _write_graph(graph, agent, part / GRAPH_FILE)
        description = policy_contract(agent, image_shapes, about) | {"sha256": sha256_of(part / GRAPH_FILE)}
        description["difference"] = _greatest_difference(agent, graph, part / GRAPH_FILE, observations)
        write_json(part / POLICY_FILE, description)
    return description


def _check_packages() -> None:
    if missing := [name for name in NEEDED_PACKAGES if importlib.util.find_spec(name) is None]:
        raise SetupError(f"The export needs {', '.join(missing)}: pip install 'serl-ray[export]'.")


def _check_folder(folder: Path) -> None:
    if folder.exists() and not (folder / POLICY_FILE).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} exists and is no exported policy: name a new folder.")


def _image_shapes(checkpoint: Path, agent: Agent, contract: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """Height and width of the images of each camera of a policy."""
    shapes = {}
    for key in agent.spec.image_keys:
        text = str(contract.get("observations", {}).get(key, ""))
        sizes = [int(size) for size in re.findall(r"\d+", text.partition("shape")[2])]
        if len(sizes) < 3:
            raise ValueError(
                f"{checkpoint} does not say how large the images of camera {key!r} are ({text or 'nothing'})."
            )
        shapes[key] = (sizes[-3], sizes[-2])
    return shapes


def _write_graph(graph: ActingGraph, agent: Agent, path: Path) -> None:
    """Writes the graph as ONNX, with a batch axis of any length."""
    batch = torch.export.Dim("batch")
    example = [torch.as_tensor(array) for array in next(_random_inputs(graph, agent, 2, np.random.default_rng(0)))]
    for name in EXPORTERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of PyTorch, about its own exporter
        program = torch.onnx.export(
            graph,
            tuple(example),
            dynamo=True,
            verbose=False,
            input_names=list(graph.inputs),
            output_names=["action"],
            dynamic_shapes={"inputs": tuple({0: batch} for _ in example)},
        )
    assert program is not None
    program.save(str(path), external_data=False)


def policy_contract(
    agent: Agent, image_shapes: Mapping[str, tuple[int, int]], about: Mapping[str, Any]
) -> dict[str, Any]:
    """The contract of a policy, as JSON; for the arguments see `write_policy`."""
    keys = agent.spec.image_keys
    default = (STATE,) if keys else (STATE, OBJECT_STATE)
    return {
        "format": POLICY_FORMAT,
        "serl_ray": version("serl-ray"),
        **about,
        "state_keys": list(about["state_keys"] or default),
        "images": {key: [*image_shapes[key], 3] for key in keys},
        "state_dim": agent.spec.state_dim,
        "frame_stack": agent.spec.frame_stack,
        "action_dim": agent.layout.action_dim,
        "grippers": list(agent.layout.gripper_indices),
        "in_robot_units": agent.action_scale is not None,
        "weights": agent_fingerprint(agent),
    }


def agent_fingerprint(agent: Agent) -> str:
    """A short hash of the tensors that an agent acts with."""
    digest = hashlib.sha256()
    for name, tensor in sorted(agent.networks.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _greatest_difference(agent: Agent, graph: ActingGraph, path: Path, observations: int) -> float:
    """The greatest difference of an action's numbers on random observations; ValueError beyond the tolerance."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    batches = _random_inputs(graph, agent, BATCH_SIZE, np.random.default_rng(1))
    greatest, count = 0.0, -(-observations // BATCH_SIZE)
    for inputs in tqdm(itertools.islice(batches, count), total=count, unit="batch", desc="comparing actions"):
        by_name = dict(zip(graph.inputs, inputs, strict=True))
        wanted = agent.in_robot_units(agent.sample_actions(by_name, argmax=True))
        [found] = session.run(None, by_name)
        differences = np.abs(found - wanted).max(axis=1)
        if agent.layout.num_grippers:
            differences = differences[~_is_tie(agent, by_name)]
        greatest = max(greatest, float(differences.max(initial=0.0)))
    if not greatest <= LARGEST_DIFFERENCE:
        raise ValueError(
            f"The exported actions differ from the agent's by {greatest:.3g}; {LARGEST_DIFFERENCE:g} is allowed."
        )
    return greatest


@torch.no_grad()
def _is_tie(agent: Agent, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """True (B,) where the two best gripper choices are equally good but for rounding, so that either is right."""
    encoder = agent.networks.encoder
    latents = encoder(encoder.features({key: torch.as_tensor(array) for key, array in inputs.items()}))
    best = agent.networks.grasp_q(latents).topk(2, dim=-1).values
    return ((best[:, 0] - best[:, 1]) < LARGEST_DIFFERENCE).numpy()


def _random_inputs(
    graph: ActingGraph, agent: Agent, batch_size: int, rng: np.random.Generator
) -> Iterator[list[np.ndarray]]:
    """Batches of random inputs of the graph, without an end."""
    lead = (batch_size, agent.spec.frame_stack)
    while True:
        images = [rng.integers(0, 256, (*lead, *shape, 3), np.dtype(np.uint8)) for shape in graph.image_shapes]
        states = [rng.standard_normal((*lead, agent.spec.state_dim), np.float32)] if agent.spec.state_dim else []
        yield [*images, *states]
