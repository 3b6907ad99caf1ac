"""The success classifier's network: cameras to "did it work?" (REFERENCE section 8)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Self

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from serl_ray.networks.encoder import Encoder, EncoderConfig
from serl_ray.networks.inputs import ObservationSpec, to_tensors
from serl_ray.networks.mlp import LAYER_NORM_EPS, lecun_normal_
from serl_ray.networks.pretrained import build_trunk, fingerprint, trunk_without_weights
from serl_ray.utils.device import DEVICE

TENSORS_FILE = "classifier.safetensors"
CONFIG_FILE = "classifier.json"
FORMAT_VERSION = 1


class ClassifierNetwork(nn.Module):
    """Encoder without proprio -> Dense -> Dropout -> LayerNorm -> ReLU -> logits (B, 1), (B, num_classes) for more than two."""

    def __init__(self, config: EncoderConfig, num_classes: int, hidden_dim: int, trunk: nn.Module) -> None:
        super().__init__()
        self.encoder = Encoder(config, trunk, state_dim=0)
        self.hidden = nn.Linear(self.encoder.latent_dim, hidden_dim)
        self.norm = nn.LayerNorm(hidden_dim, eps=LAYER_NORM_EPS)
        self.logits = nn.Linear(hidden_dim, 1 if num_classes == 2 else num_classes)
        self.keep_probability = 1.0 - config.dropout
        for layer in (self.hidden, self.logits):
            lecun_normal_(layer.weight, fan_in=layer.in_features)
            nn.init.zeros_(layer.bias)

    def forward(self, features: dict[str, torch.Tensor], keep: Sequence[torch.Tensor] | None = None) -> torch.Tensor:
        """Logits.

        Args:
            features: maps (B, h, w, C) as `encoder.features` returns them.
            keep: dropout masks in training: one (B, C * F) a camera, then one (B, hidden_dim).
        """
        latents = self.encoder(features, keep=None if keep is None else keep[:-1])
        hidden = self.hidden(latents)
        if keep is not None:
            hidden = hidden * keep[-1] / self.keep_probability
        return self.logits(torch.relu(self.norm(hidden)))


class RewardClassifier:
    """Says of camera frames whether the task has succeeded.

    Args:
        image_keys: cameras it looks at.
        threshold: probability from which a frame counts as success.
        num_classes: 2 for failure and success; more for an N-way classifier, whose last class is success.
        encoder: sizes and trunk; the original's by default. Its image_keys are those given here.
        trunk: a trunk with its weights; by default the one that `encoder` names.
    """

    def __init__(
        self,
        image_keys: Sequence[str],
        threshold: float = 0.5,
        num_classes: int = 2,
        hidden_dim: int = 256,
        encoder: EncoderConfig | None = None,
        device: torch.device | str = DEVICE,
        trunk: nn.Module | None = None,
    ) -> None:
        if not image_keys:
            raise ValueError("A reward classifier needs at least one camera: image_keys is empty.")
        if num_classes < 2:
            raise ValueError(f"num_classes is {num_classes}: failure and success are two, so it must be at least 2.")
        if not 0.0 <= threshold <= 1.0:
            raise ValueError(f"threshold is a probability in [0, 1], not {threshold}.")
        self.image_keys = tuple(image_keys)
        self.threshold = threshold
        self.num_classes = num_classes
        self.hidden_dim = hidden_dim
        self.device = torch.device(device)
        self.config = replace(encoder or EncoderConfig(), image_keys=self.image_keys)
        self.spec = ObservationSpec(self.image_keys, self.config.frame_stack, state_dim=0)
        trunk = build_trunk(self.config.trunk, self.config.trunk_width) if trunk is None else trunk
        self.network = ClassifierNetwork(self.config, num_classes, hidden_dim, trunk).to(self.device)

    @torch.no_grad()
    def logits(self, observations: Mapping[str, Any]) -> torch.Tensor:
        """Logits (B, 1) or (B, N) of a batch of observations, (1,) or (N,) of a single one."""
        batch, is_single = to_tensors(observations, self.spec, self.device)
        logits = self.network(self.network.encoder.features(batch))
        return logits[0] if is_single else logits

    def predict_success(self, observations: Mapping[str, Any]) -> tuple[Any, Any]:
        """Success probabilities and verdicts: a float and a bool for one observation, numpy arrays (B,) for a batch."""
        probability = success_probability(self.logits(observations)).cpu().numpy()
        if probability.ndim == 0:
            return float(probability), bool(probability >= self.threshold)
        return probability, probability >= self.threshold

    def save(self, path: str | Path, report: Mapping[str, Any] | None = None) -> None:
        """Writes `classifier.safetensors` and `classifier.json` into the folder `path`, which exists and holds neither.

        Args:
            report: what else the JSON is to say, such as metrics.
        """
        description = {
            "format_version": FORMAT_VERSION,
            "image_keys": self.image_keys,
            "threshold": self.threshold,
            "num_classes": self.num_classes,
            "hidden_dim": self.hidden_dim,
            "encoder": asdict(self.config),
            "trunk_fingerprint": fingerprint(self.network.encoder.trunk),
            **(report or {}),
        }
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self.network.state_dict().items()}
        save_file(tensors, Path(path) / TENSORS_FILE)
        (Path(path) / CONFIG_FILE).write_text(json.dumps(description, indent=2))

    @classmethod
    def load(cls, path: str | Path, device: torch.device | str = DEVICE) -> Self:
        """The classifier in a folder that `save` wrote.

        Raises:
            FileNotFoundError: there is none.
            ValueError: it is of another version, or its tensors are not those it describes.
        """
        description = _describe(Path(path))
        try:
            encoder = EncoderConfig(**{k: tuple(v) if isinstance(v, list) else v for k, v in description["encoder"].items()})
            options = {name: description[name] for name in ("image_keys", "threshold", "num_classes", "hidden_dim")}
            trunk = trunk_without_weights(encoder.trunk, encoder.trunk_width)
            classifier = cls(**options, encoder=encoder, device=device, trunk=trunk)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            fault = f"{type(error).__name__}: {error}"
            raise ValueError(f"{path}: {CONFIG_FILE} does not describe a classifier ({fault}). Train it anew.") from error
        try:
            classifier.network.load_state_dict(load_file(Path(path) / TENSORS_FILE))
        except (RuntimeError, SafetensorError) as error:
            raise ValueError(f"{path}: {TENSORS_FILE} is not what {CONFIG_FILE} describes. Train it anew. ({error})") from error
        return classifier


def success_probability(logits: torch.Tensor) -> torch.Tensor:
    """Probabilities (...,) of success, from logits (..., 1) of two classes or (..., N) of more."""
    return logits[..., 0].sigmoid() if logits.shape[-1] == 1 else logits.softmax(-1)[..., -1]


def classifier_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy of logits (B, 1) or (B, N) and class numbers (B,) int64."""
    if logits.shape[-1] == 1:
        return F.binary_cross_entropy_with_logits(logits[:, 0], labels.to(logits.dtype))
    return F.cross_entropy(logits, labels)


def _describe(path: Path) -> dict[str, Any]:
    if not (path / CONFIG_FILE).is_file() or not (path / TENSORS_FILE).is_file():
        raise FileNotFoundError(f"{path} holds no reward classifier: {CONFIG_FILE} and {TENSORS_FILE} are not both there.")
    try:
        description = json.loads((path / CONFIG_FILE).read_text())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path / CONFIG_FILE}: not JSON ({error}). Copy the folder again, or train it anew.") from error
    if not isinstance(description, dict) or "format_version" not in description:
        raise ValueError(f"{path / CONFIG_FILE}: no format_version, so no reward classifier. Train one with train_classifier.py.")
    if description["format_version"] != FORMAT_VERSION:
        raise ValueError(f"{path} has format version {description['format_version']}; this release reads {FORMAT_VERSION}.")
    return description
