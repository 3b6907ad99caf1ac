"""Files as the scripts of the original HIL-SERL write them: demonstrations, classifier images, buffers, and a trunk.

Their task has one arm with a learned gripper, two cameras for the policy and a third one for the classifier alone.
Observations have passed `SERLObsWrapper` and `ChunkingWrapper(obs_horizon=1)`: they are flat, and each array has a
first axis of length 1.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

CAMERAS = ("side_policy", "wrist_1", "side_classifier")
STATE_DIM, ACTION_DIM = 19, 7
SIZE = 128
Transition = dict[str, Any]


def observation(rng: np.random.Generator, has_succeeded: bool = False) -> dict[str, np.ndarray]:
    """What the last wrapper returns; after success there is a bright square in the middle of each image."""
    images = {}
    for camera in CAMERAS:
        image = rng.integers(0, 60, (SIZE, SIZE, 3), dtype=np.uint8)
        image[48:80, 48:80] += np.uint8(180 * has_succeeded)
        images[camera] = image[None]
    return {"state": rng.uniform(-1, 1, (1, STATE_DIM)).astype(np.float32), **images}


def spacemouse_action(rng: np.random.Generator, excess: float = 0.0) -> np.ndarray:
    """`SpacemouseIntervention`'s action (7,), float64: a gripper's number is drawn near -1 or 1, or is 0."""
    gripper = rng.choice([rng.uniform(-1, -0.9), 0.0, rng.uniform(0.9, 1)])
    return np.array([*rng.uniform(-1 - excess, 1 + excess, 6), gripper])


def episode(rng: np.random.Generator, steps: int, success: bool = True, excess: float = 0.0) -> list[Transition]:
    """The transitions of an episode, as `record_demos.py` keeps them; a person acts in the second half of it."""
    observations = [observation(rng) for _ in range(steps)] + [observation(rng, success)]
    transitions = []
    for t in range(steps):
        is_last = t == steps - 1
        reward = int(success and is_last)  # the classifier's verdict
        done = (is_last and not success) or reward
        infos: dict[str, Any] = {
            "succeed": bool(reward),
            "left": False,
            "right": False,
            "grasp_penalty": -0.02 * (t % 2),
        }
        infos["original_state_obs"] = {"tcp_pose": rng.uniform(size=7), "gripper_pose": rng.uniform(size=1)}
        action = np.zeros(ACTION_DIM)
        if t >= steps // 2:
            action = infos["intervene_action"] = spacemouse_action(rng, excess)
        transitions.append(
            {
                "observations": observations[t],
                "actions": action,
                "next_observations": observations[t + 1],
                "rewards": reward,
                "masks": 1.0 - done,
                "dones": done,
                "infos": infos,
            }
        )
    return transitions


def write(path: Path, value: Any) -> Path:
    """Pickles as the scripts do, by `pickle.dump` of a list."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        pickle.dump(value, file)
    return path


def write_demos(path: Path, episodes: int = 3, steps: int = 8, excess: float = 0.0) -> Path:
    """The file of `record_demos.py`."""
    rng = np.random.default_rng(0)
    return write(path, [each for _ in range(episodes) for each in episode(rng, steps, excess=excess)])


def write_classifier_data(folder: Path, episodes: int = 10, steps: int = 8) -> Path:
    """The two files of `record_success_fail.py`, which lie in one folder: in each episode success comes half-way."""
    rng = np.random.default_rng(1)
    kinds: dict[str, list[Transition]] = {"20_success": [], "failure": []}
    for _ in range(episodes):
        observations = [observation(rng, t >= steps // 2) for t in range(steps + 1)]
        for t in range(steps):
            done = t == steps - 1
            kinds["20_success" if t >= steps // 2 else "failure"].append(
                {
                    "observations": observations[t],
                    "actions": np.zeros(ACTION_DIM),
                    "next_observations": observations[t + 1],
                    "rewards": 0,
                    "masks": 1.0 - done,
                    "dones": done,
                }
            )
    for kind, transitions in kinds.items():
        write(folder / f"usb_{kind}_images_2026-11-27_10-00-00.pkl", transitions)
    return folder


def write_buffers(folder: Path, episodes: int = 2, steps: int = 8) -> Path:
    """The folders `buffer` and `demo_buffer` of an actor's checkpoint; the latter has the interventions alone."""
    rng = np.random.default_rng(2)
    transitions, interventions = [], []
    for _ in range(episodes):
        for each in episode(rng, steps):
            infos = each.pop("infos")
            stored = each | {"grasp_penalty": infos["grasp_penalty"]}
            transitions.append(stored)
            interventions += [stored] * ("intervene_action" in infos)
    write(folder / "buffer" / "transitions_1000.pkl", transitions)
    write(folder / "demo_buffer" / "transitions_1000.pkl", interventions)
    return folder


def trunk_params() -> dict[str, Any]:
    """The ResNet-10 as nested dicts of float32 arrays."""
    rng = np.random.default_rng(3)

    def conv(size: int, inner: int, outer: int) -> dict[str, np.ndarray]:
        return {
            "kernel": rng.normal(0, (2 / (size * size * inner)) ** 0.5, (size, size, inner, outer)).astype(np.float32)
        }

    def norm(width: int) -> dict[str, np.ndarray]:
        return {"scale": np.ones(width, np.float32), "bias": np.zeros(width, np.float32)}

    params: dict[str, Any] = {"conv_init": conv(7, 3, 64), "norm_init": norm(64)}
    inner = 64
    for index, width in enumerate((64, 128, 256, 512)):
        block = {"Conv_0": conv(3, inner, width), "Conv_1": conv(3, width, width)}
        block |= {"MyGroupNorm_0": norm(width), "MyGroupNorm_1": norm(width)}
        if inner != width:
            block |= {"conv_proj": conv(1, inner, width), "norm_proj": norm(width)}
        params[f"ResNetBlock_{index}"], inner = block, width
    return params


def agent_params(cameras: Sequence[str], ensemble: int = 2, hidden: int = 256, latent: int = 256) -> dict[str, Any]:
    """The parameters of the original's agent for one arm with a learned gripper, as nested dicts of float32 arrays."""
    rng = np.random.default_rng(4)

    def dense(*shape: int) -> dict[str, np.ndarray]:
        return {"kernel": rng.normal(0, shape[-2] ** -0.5, shape), "bias": np.zeros((*shape[:-2], shape[-1]))}

    def norm(*shape: int) -> dict[str, np.ndarray]:
        return {"scale": np.ones(shape), "bias": np.zeros(shape)}

    def mlp(inner: int, *lead: int) -> dict[str, Any]:
        layers = {"Dense_0": dense(*lead, inner, hidden), "LayerNorm_0": norm(*lead, hidden)}
        return layers | {"Dense_1": dense(*lead, hidden, hidden), "LayerNorm_1": norm(*lead, hidden)}

    encoder: dict[str, Any] = {"Dense_0": dense(STATE_DIM, 64), "LayerNorm_0": norm(64)}
    for camera in cameras:
        head = {"SpatialLearnedEmbeddings_0": {"kernel": rng.normal(0, 0.01, (4, 4, 512, 8))}}
        encoder[f"encoder_{camera}"] = head | {"Dense_0": dense(4096, latent), "LayerNorm_0": norm(latent)}
    encoder[f"encoder_{cameras[0]}"]["pretrained_encoder"] = trunk_params()
    size = latent * len(cameras) + 64
    grasp = mlp(size)
    del grasp["LayerNorm_1"]
    actor = {"encoder": encoder, "network": mlp(size), "Dense_0": dense(hidden, 6), "Dense_1": dense(hidden, 6)}
    critic = {"network": {"VmapMLP_0": mlp(size + 6, ensemble)}, "Dense_0": dense(hidden, 1)}
    return {
        "modules_actor": actor,
        "modules_critic": critic,
        "modules_grasp_critic": {"network": grasp, "Dense_0": dense(hidden, 3)},
        "modules_temperature": {"lagrange": np.float32(-4.6)},
    }


def write_lab(folder: Path) -> Path:
    """Everything that a lab has, under the names that the scripts give; its env is that of `hil_serl_envs`."""
    write_demos(folder / "demo_data" / "usb_3_demos_2026-11-27_09-00-00.pkl")
    write_classifier_data(folder / "classifier_data")
    write_buffers(folder / "checkpoint")
    head = {"kernel": np.zeros((512, 1000), np.float32), "bias": np.zeros(1000, np.float32)}
    write(folder / "resnet10_params.pkl", trunk_params() | {"output_head": head})  # of ImageNet, which no policy uses
    params = agent_params(CAMERAS[:2])
    write(folder / "usb_agent.pkl", {"params": params, "target_params": params})
    task = folder / "experiments" / "usb_pickup_insertion"
    task.mkdir(parents=True)
    (task / "config.py").write_text("from hil_serl_envs import TrainConfig as TrainConfig\n")
    return folder
