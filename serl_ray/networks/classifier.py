"""The reward classifier and its network: images to the probability of success (REFERENCE section 8)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from serl_ray.files.digests import check_seal, sha256_of, write_sealed
from serl_ray.networks.config import EncoderConfig
from serl_ray.networks.encoder import Encoder
from serl_ray.networks.inputs import ObservationSpec, Tensors, to_tensors
from serl_ray.networks.mlp import LAYER_NORM_EPS, lecun_normal_
from serl_ray.networks.pretrained import build_trunk, fingerprint, trunk_without_weights
from serl_ray.networks.resnet import Trunk
from serl_ray.utils.device import DEVICE

CLASSIFIER_TENSORS = "classifier.safetensors"
CLASSIFIER_FILE = "classifier.json"
CLASSIFIER_FORMAT = 3


class ClassifierNetwork(nn.Module):
    """Encoder without state -> Dense -> Dropout -> LayerNorm -> ReLU -> logits.

    Logits are (B, 1) for two classes, and (B, num_classes) for more.
    """

    def __init__(
        self, config: EncoderConfig, spec: ObservationSpec, num_classes: int, hidden_dim: int, trunk: Trunk
    ) -> None:
        super().__init__()
        self.encoder = Encoder(config, spec, trunk)
        self.hidden = nn.Linear(self.encoder.latent_dim, hidden_dim)
        self.norm = nn.LayerNorm(hidden_dim, eps=LAYER_NORM_EPS)
        self.logits = nn.Linear(hidden_dim, 1 if num_classes == 2 else num_classes)
        self.keep_probability = 1.0 - config.dropout
        for layer in (self.hidden, self.logits):
            lecun_normal_(layer.weight, fan_in=layer.in_features)
            nn.init.zeros_(layer.bias)

    def forward(self, features: Tensors, keep: Sequence[torch.Tensor] | None = None) -> torch.Tensor:
        """The logits (B, 1) or (B, num_classes).

        Args:
            features: maps (B, h, w, C) by camera, from `encoder.features`.
            keep: dropout masks in training: one (B, C * F) for each camera, then one (B, hidden_dim).
        """
        latents = self.encoder(features, keep=None if keep is None else keep[:-1])
        hidden = self.hidden(latents)
        if keep is not None:
            hidden = hidden * keep[-1] / self.keep_probability
        logits: torch.Tensor = self.logits(torch.relu(self.norm(hidden)))
        return logits


class RewardClassifier:
    """Classifier of camera images: has the task succeeded?

    Args:
        image_keys: cameras that the classifier sees.
        threshold: probability of success from which an observation counts as a success.
        num_classes: 2 for failure and success; more for an N-way classifier, whose last class is success.
        hidden_dim: size of the hidden layer.
        encoder: sizes and trunk of the encoder; by default the original's.
        device: device of the network.
        trunk: trunk with its weights; by default the one that `encoder` names.
    """

    def __init__(
        self,
        image_keys: Sequence[str],
        threshold: float = 0.5,
        num_classes: int = 2,
        hidden_dim: int = 256,
        encoder: EncoderConfig | None = None,
        device: torch.device | str = DEVICE,
        trunk: Trunk | None = None,
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
        self.config = encoder or EncoderConfig()
        self.spec = ObservationSpec(self.image_keys)
        trunk = build_trunk(self.config.trunk, self.config.trunk_width) if trunk is None else trunk
        self.trunk = trunk
        self.network = ClassifierNetwork(self.config, self.spec, num_classes, hidden_dim, trunk).to(self.device)

    @torch.no_grad()
    def logits(self, observations: Mapping[str, Any]) -> torch.Tensor:
        """Logits (B, 1) or (B, N) of a batch of observations, (1,) or (N,) of a single one."""
        batch, is_single = to_tensors(observations, self.spec, self.device)
        logits: torch.Tensor = self.network(self.network.encoder.features(batch))
        return logits[0] if is_single else logits

    def predict_success(self, observations: Mapping[str, Any]) -> tuple[Any, Any]:
        """Success probabilities and decisions: a float and a bool for one observation, else arrays (B,)."""
        probability = success_probability(self.logits(observations)).cpu().numpy()
        if probability.ndim == 0:
            return float(probability), bool(probability >= self.threshold)
        return probability, probability >= self.threshold

    def save(self, path: str | Path, report: Mapping[str, Any] | None = None) -> None:
        """Writes `classifier.safetensors` and `classifier.json` into the existing folder `path`, which holds neither.

        Args:
            path: folder of the classifier.
            report: additional entries of the JSON, such as metrics.
        """
        description = {
            "format_version": CLASSIFIER_FORMAT,
            "image_keys": self.image_keys,
            "threshold": self.threshold,
            "num_classes": self.num_classes,
            "hidden_dim": self.hidden_dim,
            "encoder": self.config.model_dump(mode="json"),
            "trunk_fingerprint": fingerprint(self.trunk),
            **(report or {}),
        }
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self.network.state_dict().items()}
        save_file(tensors, Path(path) / CLASSIFIER_TENSORS)
        write_sealed(
            Path(path) / CLASSIFIER_FILE,
            {**description, "sha256": {CLASSIFIER_TENSORS: sha256_of(Path(path) / CLASSIFIER_TENSORS)}},
        )

    @classmethod
    def load(cls, path: str | Path, device: torch.device | str = DEVICE) -> Self:
        """The classifier in a folder that `save` wrote.

        Raises:
            FileNotFoundError: the folder holds no classifier.
            ValueError: the classifier is of another version, or its tensors do not match its description.
        """
        description = _describe(Path(path))
        try:
            encoder = EncoderConfig(**description["encoder"])
            options = {name: description[name] for name in ("image_keys", "threshold", "num_classes", "hidden_dim")}
            trunk = trunk_without_weights(encoder.trunk, encoder.trunk_width)
            classifier = cls(**options, encoder=encoder, device=device, trunk=trunk)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            fault = f"{type(error).__name__}: {error}"
            raise ValueError(
                f"{path}: {CLASSIFIER_FILE} does not describe a classifier ({fault}). Train it anew."
            ) from error
        if sha256_of(Path(path) / CLASSIFIER_TENSORS) != description.get("sha256", {}).get(CLASSIFIER_TENSORS):
            raise ValueError(
                f"{path}: {CLASSIFIER_TENSORS} is not what {CLASSIFIER_FILE} describes, by its SHA-256. Copy the "
                "folder again."
            )
        try:
            classifier.network.load_state_dict(load_file(Path(path) / CLASSIFIER_TENSORS))
        except (RuntimeError, SafetensorError) as error:
            raise ValueError(
                f"{path}: {CLASSIFIER_TENSORS} is not what {CLASSIFIER_FILE} describes. Train it anew. ({error})"
            ) from error
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
    if not (path / CLASSIFIER_FILE).is_file() or not (path / CLASSIFIER_TENSORS).is_file():
        raise FileNotFoundError(
            f"{path} holds no reward classifier: {CLASSIFIER_FILE} and {CLASSIFIER_TENSORS} are not both there."
        )
    try:
        description = json.loads((path / CLASSIFIER_FILE).read_text())
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{path / CLASSIFIER_FILE}: not JSON ({error}). Copy the folder again, or train it anew."
        ) from error
    if not isinstance(description, dict) or "format_version" not in description:
        raise ValueError(
            f"{path / CLASSIFIER_FILE}: no format_version, so no reward classifier. Train one with serl "
            "train-classifier."
        )
    if description["format_version"] != CLASSIFIER_FORMAT:
        raise ValueError(
            f"{path} has format version {description['format_version']}; this release reads {CLASSIFIER_FORMAT}."
        )
    check_seal(path / CLASSIFIER_FILE, description)
    return description
