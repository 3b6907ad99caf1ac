"""Conversion of the original's flax parameters to our names and shapes.

Parameter trees are nested dicts of numpy arrays, or flat dicts with '/'-joined paths. flax keeps dense kernels as (in,
out) and convolution kernels as (H, W, in, out); an ensemble's axis comes first (REFERENCE sections 1.3 and 2).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

Renaming = Sequence[tuple[str, str]]
"""Pairs of a flax module path's pattern and our module's name; the first pattern that matches the whole path wins."""

RESNET: Renaming = (
    (r"conv_init", "conv1"),
    (r"norm_init", "bn1"),
    (r"ResNetBlock_(\d)/Conv_(\d)", "layer{0+1}.0.conv{1+1}"),
    (r"ResNetBlock_(\d)/MyGroupNorm_(\d)", "layer{0+1}.0.bn{1+1}"),
    (r"ResNetBlock_(\d)/conv_proj", "layer{0+1}.0.downsample.0"),
    (r"ResNetBlock_(\d)/norm_proj", "layer{0+1}.0.downsample.1"),
)
HEADS: Renaming = (
    (r"modules_actor/network/Dense_(\d)", "actor.mlp.{0*3}"),
    (r"modules_actor/network/LayerNorm_(\d)", "actor.mlp.{0*3+1}"),
    (r"modules_actor/Dense_0", "actor.mean"),
    (r"modules_actor/Dense_1", "actor.log_std"),
    (r"modules_critic/network/VmapMLP_0/Dense_(\d)", "critic.mlp.{0*3}"),
    (r"modules_critic/network/VmapMLP_0/LayerNorm_(\d)", "critic.mlp.{0*3+1}"),
    (r"modules_critic/Dense_0", "critic.value"),
    (r"modules_grasp_critic/network/Dense_(\d)", "grasp_critic.mlp.{0*3}"),
    (r"modules_grasp_critic/network/LayerNorm_(\d)", "grasp_critic.mlp.{0*3+1}"),
    (r"modules_grasp_critic/Dense_0", "grasp_critic.value"),
    (r"modules_temperature", "temperature"),
)
CLASSIFIER: Renaming = ((r"Dense_0", "hidden"), (r"LayerNorm_0", "norm"), (r"Dense_1", "logits"))


def agent_state_dict(params: Mapping[str, Any], image_keys: Sequence[str]) -> dict[str, torch.Tensor]:
    """The original's agent parameters, or gradients of the same structure, under our names and in our shapes."""
    return _rename(_flatten(params), (*HEADS, *_encoder("modules_actor/encoder/", image_keys)))


def classifier_state_dict(params: Mapping[str, Any], image_keys: Sequence[str]) -> dict[str, torch.Tensor]:
    """The original's classifier parameters under our names and in our shapes."""
    return _rename(_flatten(params), (*CLASSIFIER, *_encoder("encoder_def/", image_keys)))


def resnet_state_dict(params: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """The original's ResNet-10 parameters under our names; other modules, such as an ImageNet head, are ignored."""
    backbone = {
        path: leaf for path, leaf in _flatten(params).items() if re.match(r"conv_init|norm_init|ResNetBlock_", path)
    }
    return _rename(backbone, RESNET)


def _encoder(prefix: str, image_keys: Sequence[str]) -> Renaming:
    renaming = [
        (re.escape(prefix) + r"Dense_0", "encoder.proprio.0"),
        (re.escape(prefix) + r"LayerNorm_0", "encoder.proprio.1"),
    ]
    for index, key in enumerate(image_keys):
        camera = re.escape(f"{prefix}encoder_{key}/")
        renaming += [(camera + "pretrained_encoder/" + pattern, "encoder.trunk." + name) for pattern, name in RESNET]
        renaming.append((camera + "SpatialLearnedEmbeddings_0", f"encoder.heads.{index}.embedding"))
        renaming.append((camera + "Dense_0", f"encoder.heads.{index}.dense"))
        renaming.append((camera + "LayerNorm_0", f"encoder.heads.{index}.norm"))
    return renaming


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, np.ndarray]:
    flat: dict[str, np.ndarray] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}/")
        else:
            flat[prefix + key] = np.asarray(value, dtype=np.float32)
    return flat


def _rename(flat: Mapping[str, np.ndarray], renaming: Renaming) -> dict[str, torch.Tensor]:
    state = {}
    for path, leaf in flat.items():
        module_path, _, kind = path.rpartition("/")
        module = _module_name(module_path, renaming)
        state[_tensor_name(module, kind)] = torch.from_numpy(_convert(module_path, kind, leaf).copy())
    return state


def _module_name(path: str, renaming: Renaming) -> str:
    for pattern, name in renaming:
        if match := re.fullmatch(pattern, path):
            return re.sub(r"\{(\d)(?:\*(\d))?(?:\+(\d))?\}", partial(_index, match.groups()), name)
    raise ValueError(
        f"The flax parameters hold {path!r}, which our networks lack. Check their cameras and their set-up."
    )


def _index(digits: Sequence[str], placeholder: re.Match[str]) -> str:
    """The value of a placeholder; {0*3+1} is digit 0 of the match, times three, plus one."""
    position, factor, offset = placeholder.groups()
    return str(int(digits[int(position)]) * int(factor or 1) + int(offset or 0))


def _tensor_name(module: str, kind: str) -> str:
    if module.endswith(".embedding"):
        return module
    return f"{module}.{ {'kernel': 'weight', 'scale': 'weight'}.get(kind, kind) }"


def _convert(module_path: str, kind: str, leaf: np.ndarray) -> np.ndarray:
    if "VmapMLP" in module_path:  # an ensemble: (E, in, out) kernels stay, (E, D) vectors become (E, 1, D)
        return leaf if kind == "kernel" else leaf[:, None]
    if kind != "kernel" or "SpatialLearnedEmbeddings" in module_path:
        return leaf
    return leaf.T if leaf.ndim == 2 else leaf.transpose(3, 2, 0, 1)
