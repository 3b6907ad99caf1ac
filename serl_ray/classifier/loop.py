"""The training loop of the reward classifier in each Ray Train worker (REFERENCE section 8)."""

from __future__ import annotations

import copy
import json
import math
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import ray.data
import ray.train
import ray.train.torch
import torch
from ray.experimental import tqdm_ray
from safetensors.torch import save_file
from torch import nn

from serl_ray.classifier.frames import NOTES
from serl_ray.networks.augment import crop_images, draw_offsets
from serl_ray.networks.classifier import ClassifierNetwork, RewardClassifier, classifier_loss
from serl_ray.networks.config import EncoderConfig
from serl_ray.networks.inputs import to_tensors
from serl_ray.utils.memory import num_cores

BEST_FILE, HISTORY_FILE = "best.safetensors", "history.json"
EVALUATION_BATCH = 256


@dataclass(frozen=True)
class LoopConfig:
    """Configuration of the loop; for most fields see `ClassifierOptions`.

    Attributes:
        device: cuda for the GPU that Ray has given to the worker; otherwise the device itself.
        encoder: configuration of the encoder.
        num_frames: number of images of each camera in the training set, for all workers together.
    """

    device: str
    image_keys: tuple[str, ...]
    encoder: EncoderConfig
    num_classes: int
    num_frames: int
    batch_size: int
    num_epochs: int
    lr: float
    patience: int
    seed: int


class LabelledFrames:
    """Images or stored maps (n, ...) of each camera in memory, and their classes (n,)."""

    def __init__(self, shard: ray.data.DataIterator | ray.data.Dataset) -> None:
        blocks = list(shard.iter_batches(batch_size=EVALUATION_BATCH, batch_format="numpy"))
        keys = [key for key in (blocks[0] if blocks else {}) if key not in NOTES]
        self.cameras = {key: np.concatenate([block[key] for block in blocks]) for key in keys}
        self.labels = (
            torch.as_tensor(np.concatenate([block["_label"] for block in blocks])).long() if blocks else torch.empty(0)
        )

    def whole(self, start: int) -> dict[str, np.ndarray]:
        """A batch from `start` on without crops; of stored maps the first crop is used, which is the whole image."""
        return {key: rows[start : start + EVALUATION_BATCH] for key, rows in self.cameras.items()}

    def drawn(self, indices: np.ndarray, generator: torch.Generator) -> dict[str, np.ndarray]:
        """Images, or a random one of the maps of each, the same for all cameras."""
        choice = torch.rand(len(indices), generator=generator).numpy()
        return {
            key: rows[indices]
            if rows.dtype == np.uint8
            else rows[indices, (choice * rows.shape[1]).astype(int)][:, None]
            for key, rows in self.cameras.items()
        }


class LogitsOfImages(nn.Module):
    """The network from images to logits as one module, so that gradients of several workers are averaged."""

    def __init__(self, network: ClassifierNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, observations: dict[str, torch.Tensor], keep: list[torch.Tensor] | None = None) -> torch.Tensor:
        return self.network(self.network.encoder.features(observations), keep)


def balanced_batches(
    labels: torch.Tensor, num_classes: int, batch_size: int, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """Endless batches of indices (batch_size,), drawn with replacement, with equal numbers of each class."""
    by_class = [np.flatnonzero(labels.numpy() == label) for label in range(num_classes)]
    if empty := [label for label, indices in enumerate(by_class) if not len(indices)]:
        raise ValueError(f"A worker has no images of class {empty[0]}: record more, or train with fewer workers.")
    sizes = [len(part) for part in np.array_split(np.arange(batch_size), num_classes)]
    while True:
        yield np.concatenate([rng.choice(indices, size) for indices, size in zip(by_class, sizes, strict=True)])


def train_loop(config: LoopConfig) -> None:
    """Trains, and reports a checkpoint with the parameters of the smallest held-out loss and the losses of all
    epochs."""
    context = ray.train.get_context()
    rank, world_size = context.get_world_rank(), context.get_world_size()
    torch.set_num_threads(max(num_cores() // context.get_local_world_size(), 1))
    trainer = _Trainer(config, rank, world_size)
    history: list[dict[str, float]] = []
    best: dict[str, torch.Tensor] = {}
    best_epoch = 0
    epochs = range(config.num_epochs)
    for epoch in tqdm_ray.tqdm(epochs, desc="epochs", total=config.num_epochs) if rank == 0 else epochs:
        history.append({"train_loss": trainer.epoch(), "held_out_loss": trainer.held_out_loss()})
        if not best or history[-1]["held_out_loss"] < history[best_epoch]["held_out_loss"]:
            best, best_epoch = copy.deepcopy(trainer.classifier.network.state_dict()), epoch
        elif epoch - best_epoch >= config.patience:
            break
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = None
        if rank == 0:
            save_file({name: tensor.cpu().contiguous() for name, tensor in best.items()}, Path(folder) / BEST_FILE)
            (Path(folder) / HISTORY_FILE).write_text(json.dumps(history))
            checkpoint = ray.train.Checkpoint.from_directory(folder)
        ray.train.report({"best_epoch": best_epoch}, checkpoint=checkpoint)


class _Trainer:
    """One worker's share of the data, the network, and its optimiser."""

    def __init__(self, config: LoopConfig, rank: int, world_size: int) -> None:
        self._frames = LabelledFrames(ray.train.get_dataset_shard("train"))
        self._held_out = LabelledFrames(ray.train.get_dataset_shard("held_out"))
        self._generator = torch.Generator().manual_seed(config.seed + rank)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            device = ray.train.torch.get_device() if config.device == "cuda" else torch.device(config.device)
            keys = config.image_keys
            self.classifier = RewardClassifier(
                keys, num_classes=config.num_classes, encoder=config.encoder, device=device
            )
        self._logits = ray.train.torch.prepare_model(LogitsOfImages(self.classifier.network), move_to_device=device)
        trained = [p for p in self.classifier.network.parameters() if p.requires_grad]
        self._optimiser = torch.optim.Adam(trained, lr=config.lr)
        rng = np.random.default_rng((config.seed, rank))
        share = -(-config.batch_size // world_size)
        self._batches = balanced_batches(self._frames.labels, config.num_classes, share, rng)
        self._steps = math.ceil(config.num_frames / config.batch_size)

    def epoch(self) -> float:
        """Trains on as many images as the training set has, and returns the mean loss."""
        return float(np.mean([self._step(next(self._batches)) for _ in range(self._steps)]))

    @torch.no_grad()
    def held_out_loss(self) -> float:
        """The loss without dropout and crops, averaged first in each class and then over the classes."""
        labels = self._held_out.labels
        starts = range(0, len(labels), EVALUATION_BATCH)
        logits = torch.cat([self.classifier.logits(self._held_out.whole(start)).cpu() for start in starts])
        return float(
            np.mean([classifier_loss(logits[labels == label], labels[labels == label]) for label in labels.unique()])
        )

    def _step(self, indices: np.ndarray) -> float:
        device, network = self.classifier.device, self.classifier.network
        offsets = draw_offsets((len(indices), 1), self._generator).to(device)
        observations, _ = to_tensors(self._frames.drawn(indices, self._generator), self.classifier.spec, device)
        observations = crop_images(observations, offsets, self.classifier.image_keys, self.classifier.config.image_size)
        dims = [*(head.embedding_dim for _, head in network.encoder.image_heads()), self.classifier.hidden_dim]
        keep = [
            torch.rand((len(indices), dim), generator=self._generator).to(device) < network.keep_probability
            for dim in dims
        ]
        loss = classifier_loss(self._logits(observations, keep), self._frames.labels[indices].to(device))
        self._optimiser.zero_grad()
        loss.backward()
        self._optimiser.step()
        return loss.item()
