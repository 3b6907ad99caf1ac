"""Policies on a robot's computer: their contract, and exported ones (`serl export`), by numpy and onnxruntime."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from pathlib import Path
from typing import Any, Callable, Mapping

import numpy as np

from serl_robot.orders import ACTION_TOLERANCE

POLICY_FORMAT = 1
MAX_FRAMES = 1000
"""Greatest number of stacked observations."""
GRAPH_FILE, POLICY_FILE = "policy.onnx", "policy.json"
FIELDS: dict[str, Any] = {
    "images": dict,
    "state_dim": int,
    "state_keys": list,
    "frame_stack": int,
    "action_dim": int,
    "in_robot_units": bool,
    "control_hz": (int, float, type(None)),
    "weights": str,
}
"""Fields that policy.json must have, with their types."""
SOUND: dict[str, Callable[[Any], bool]] = {
    "images": lambda images: all(map(_is_image, images.values())),
    "state_dim": lambda numbers: numbers >= 0,
    "state_keys": lambda keys: all(isinstance(key, str) for key in keys),
    "frame_stack": lambda frames: 1 <= frames <= MAX_FRAMES,
    "action_dim": lambda numbers: numbers >= 1,
}
"""Checks of values of the right type."""
STATE = "state"
OBJECT_STATE = "object_state"


class PolicyError(ValueError):
    """A folder that holds no policy, or an observation that is not the policy's."""


class ContractPolicy:
    """A policy with a contract, which observations must keep.

    Args:
        contract: content of policy.json.

    Attributes:
        contract: the same.
        fingerprint: short hash of the weights.
        action_dim: number of an action's numbers.
        control_hz: steps a second of its training; None where it is not known.
    """

    def __init__(self, contract: dict[str, Any]) -> None:
        self.contract = contract
        self.fingerprint: str = self.contract["weights"]
        self.action_dim: int = self.contract["action_dim"]
        self.control_hz: float | None = self.contract["control_hz"]
        self._images: dict[str, tuple[int, ...]] = {key: tuple(shape) for key, shape in self.contract["images"].items()}
        self._frames: deque[dict[str, np.ndarray]] = deque(maxlen=self.contract["frame_stack"])

    def reset(self) -> None:
        """Forgets the observations of the last episode; call it where an episode begins."""
        self._frames.clear()

    def act(self, observation: Mapping[str, Any]) -> np.ndarray:
        """The action (n,), float32, for the newest observation of the running episode.

        Args:
            observation: the env's observation: images (H, W, 3) uint8 by camera, and vectors (D,); others are ignored.

        Raises:
            PolicyError: something is missing, or has another dtype or shape, or is NaN; or an action leaves [-1, 1].
        """
        newest = self._checked(observation)
        if not self._frames:
            self._frames.extend([newest] * (self._frames.maxlen or 1))
        else:
            self._frames.append(newest)
        stacks = {key: np.stack([frame[key] for frame in self._frames])[None] for key in newest}
        action = self._infer(stacks)
        if not np.isfinite(action).all():
            raise PolicyError("The policy's action is NaN or infinite: export another checkpoint.")
        if not self.contract["in_robot_units"] and np.abs(action).max() > 1 + ACTION_TOLERANCE:
            raise PolicyError(
                f"The policy's action leaves [-1, 1]: {action.tolist()!r:.200}. Export another checkpoint."
            )
        return action

    def _infer(self, stacks: dict[str, np.ndarray]) -> np.ndarray:
        """The action (n,) for stacks (1, T, ...) of each part of an observation."""
        raise NotImplementedError

    def check(self, spaces: Mapping[str, Any], action_dim: int) -> None:
        """Raises PolicyError where an env is not the policy's.

        Args:
            spaces: space of each part of the env's observation.
            action_dim: number of an action's numbers.
        """
        if self.contract["in_robot_units"]:
            text = "This policy's actions are in the units of its demonstrations, and not in [-1, 1]"
            raise PolicyError(f"{text}: call Policy.act in a loop of your own.")
        if action_dim != self.action_dim:
            raise PolicyError(f"The env's actions have {action_dim} numbers, those of the policy {self.action_dim}.")
        for key, shape in self._images.items():
            if key in spaces and (tuple(spaces[key].shape) != shape or np.dtype(spaces[key].dtype) != np.uint8):
                found = f"{np.dtype(spaces[key].dtype)} of shape {tuple(spaces[key].shape)}"
                raise PolicyError(f"Camera {key!r} is {found} in the env, and uint8 of shape {shape} in the policy.")
        self._checked({key: np.zeros(space.shape, space.dtype) for key, space in spaces.items()})

    def _checked(self, observation: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """The images and the joined state that the policy reads."""
        read = {key: self._image(key, observation) for key in self._images}
        if self.contract["state_dim"]:
            read[STATE] = self._state(observation)
        return read

    def _image(self, key: str, observation: Mapping[str, Any]) -> np.ndarray:
        image = np.asarray(_value(key, observation, "camera"))
        if image.dtype != np.uint8 or image.shape != self._images[key]:
            raise PolicyError(
                f"Camera {key!r} gives {image.dtype} of shape {image.shape}; the policy was trained on uint8 of shape "
                f"{self._images[key]}. Give images of that size."
            )
        return image.copy()  # an env may write into its own image again

    def _state(self, observation: Mapping[str, Any]) -> np.ndarray:
        keys = [key for key in self.contract["state_keys"] if key in observation or key != OBJECT_STATE]
        parts = [_vector(key, observation) for key in keys]
        shapes = {key: part.shape for key, part in zip(keys, parts)}
        if any(part.ndim != 1 for part in parts) or sum(map(len, parts)) != self.contract["state_dim"]:
            raise PolicyError(
                f"The state is joined from {shapes}; the policy reads {self.contract['state_dim']} numbers, joined "
                f"from {' + '.join(self.contract['state_keys'])}.{self._stage_note()}"
            )
        state = np.concatenate(parts)
        if not np.isfinite(state).all():
            raise PolicyError(f"The state holds NaN or infinity: {shapes}. Check the sensors.")
        return state

    def _stage_note(self) -> str:
        """A sentence on the number that a policy of several stages reads; nothing for others."""
        stages = self.contract.get("stages", 1)
        text = f" The last number of {STATE!r} is the share of {stages} stages that are reached: append it, 0 at first."
        return text if stages > 1 else ""


class Policy(ContractPolicy):
    """A policy of `serl export`.

    Args:
        folder: folder with policy.onnx and policy.json.

    Raises:
        PolicyError: the folder holds no policy, one of another release, or a changed one.
        ImportError: onnxruntime is missing.
    """

    def __init__(self, folder: str | Path) -> None:
        super().__init__(_read_contract(Path(folder)))
        self._session = _session(Path(folder) / GRAPH_FILE)

    def _infer(self, stacks: dict[str, np.ndarray]) -> np.ndarray:
        action: np.ndarray = self._session.run(None, stacks)[0][0]
        return action


def _read_contract(folder: Path) -> dict[str, Any]:
    """The content of policy.json, whose graph is the one that was exported."""
    file, graph = folder / POLICY_FILE, folder / GRAPH_FILE
    if not folder.is_dir():
        raise PolicyError(f"There is no folder {folder}: serl export writes one, and ws://HOST:8775 is a server's.")
    if not file.is_file() or not graph.is_file():
        raise PolicyError(f"{folder} holds no policy: {POLICY_FILE} and {GRAPH_FILE} of serl export must be in it.")
    try:
        contract: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        number = contract["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise PolicyError(f"{file} is damaged ({error!r}). Copy the folder again.") from error
    if number != POLICY_FORMAT:
        text = f"{file} has format {number!r}; this release reads {POLICY_FORMAT}"
        raise PolicyError(f"{text}. Install the release that it was exported with.")
    if wrong := damage_of(contract):
        raise PolicyError(f"{file} is damaged ({wrong}). Copy the folder again.")
    if hashlib.sha256(graph.read_bytes()).hexdigest() != contract.get("sha256"):
        raise PolicyError(f"{graph} is not the file that was exported with {file.name}. Copy the folder again.")
    return contract


def damage_of(contract: dict[str, Any]) -> str:
    """The names of a contract's fields that are missing or of another type; nothing for a sound one."""
    wrong = [name for name, kinds in FIELDS.items() if not isinstance(contract.get(name), kinds)]
    return ", ".join(wrong or [name for name, is_sound in SOUND.items() if not is_sound(contract[name])])


def _is_image(shape: Any) -> bool:
    return isinstance(shape, list) and len(shape) == 3 and all(type(size) is int and size > 0 for size in shape)


def _session(path: Path) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportError(f"Acting needs onnxruntime ({error}): pip install 'serl-robot[onnx]'.") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # a robot's computer has other things to do, and one image gains little by more
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _value(key: str, observation: Mapping[str, Any], kind: str) -> Any:
    if key not in observation:
        there = ", ".join(sorted(observation)) or "nothing"
        raise PolicyError(f"The observation has no {kind} {key!r}, which the policy reads; it has {there}.")
    return observation[key]


def _vector(key: str, observation: Mapping[str, Any]) -> np.ndarray:
    value = np.asarray(_value(key, observation, "vector"))
    if value.dtype.kind not in "biuf":
        raise PolicyError(f"Vector {key!r} is {value.dtype}; it must be of numbers.")
    return value.astype(np.float32)
