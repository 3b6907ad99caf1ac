"""Time of a learner step: from stored maps, from raw pixels, from state alone."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

from serl_ray.agents.config import SACConfig
from serl_ray.agents.sac import SACAgent
from serl_ray.benchmarks.timing import Row, medians, print_report
from serl_ray.data.observations import Observation
from serl_ray.types import Batch
from serl_ray.utils.memory import keep_freed_memory
from serl_ray.utils.options import Options


class Learner(Options):
    """Times learner steps (cta_ratio 2: one update of the critics, one full update)."""

    save_dir: Path = Path("runs/benchmark")
    """Folder for learner.json."""
    batch_size: int = 256
    """Transitions in each update."""
    state_dim: int = 18
    """Numbers of proprioception."""
    action_dim: int = 6
    """Continuous action dimensions."""
    image_size: int = 128
    """Side of an image, pixels."""
    repeats: int = 5
    """Number of measurements; the median counts."""
    compile: bool = True
    """Time the update with compiled networks as well; compiling takes minutes."""

    keep_memory: bool = True
    """Let the process keep the memory that an update has freed, as training does."""

    def run(self) -> None:
        """Times, and reports."""
        if self.keep_memory:
            keep_freed_memory()
        rng = np.random.default_rng(0)
        frames = [self._frames(rng) for _ in range(2)]
        maps = [{"image": np.float16(rng.normal(size=(self.batch_size, 1, 4, 4, 512)))} for _ in range(2)]
        sizes = (self.batch_size, self.state_dim, self.action_dim)
        pixel_batch, map_batch, state_batch = (random_batch(rng, images, *sizes) for images in (frames, maps, ({}, {})))
        pixel = self._agent(("image",))
        pixel.sample_actions(pixel_batch["observations"])
        trunk, images = pixel.networks.encoder.trunk, torch.as_tensor(frames[0]["image"], device=pixel.device)
        variants = {"": {}, ", bfloat16": {"bfloat16": "on"}} | (
            {", compiled": {"compile": True}} if self.compile else {}
        )
        steps = {
            f"learner step, stored maps{name}": self._agent(("image",), **options) for name, options in variants.items()
        }
        updates = {f"full update, state alone{name}": self._agent((), **options) for name, options in variants.items()}

        def trunk_passes() -> None:
            with torch.no_grad():
                for _ in range(4):
                    trunk(images)

        seconds = medians(
            {
                "learner step, raw pixels": partial(learner_step, pixel, pixel_batch),
                "4 bare trunk passes over the batch": trunk_passes,
                **{name: partial(learner_step, agent, map_batch) for name, agent in steps.items()},
            },
            self.repeats,
        ) | medians({name: partial(agent.update, state_batch) for name, agent in updates.items()}, 20 * self.repeats)
        print_report("learner", self.flat(), _rows(seconds), self.save_dir)

    def _agent(self, image_keys: tuple[str, ...], **options: bool | str) -> SACAgent:
        return SACAgent(image_keys, self.action_dim, config=SACConfig(**{"bfloat16": "off", **options}))

    def _frames(self, rng: np.random.Generator) -> Observation:
        return {"image": rng.integers(0, 256, (self.batch_size, self.image_size, self.image_size, 3), np.uint8)}


def random_batch(
    rng: np.random.Generator, images: Sequence[Observation], batch_size: int, state_dim: int, action_dim: int
) -> Batch:
    """A batch of random numbers around the images before and after a step."""
    before, after = (each | {"state": rng.normal(size=(batch_size, state_dim)).astype(np.float32)} for each in images)
    return {
        "observations": before,
        "next_observations": after,
        "actions": rng.uniform(-1, 1, (batch_size, action_dim)).astype(np.float32),
        "rewards": rng.integers(0, 2, batch_size).astype(np.float32),
        "masks": rng.integers(0, 2, batch_size).astype(np.float32),
    }


def learner_step(agent: SACAgent, batch: Batch) -> None:
    """One update of the critics, and one full update."""
    agent.update(batch, critics_only=True)
    agent.update(batch)


def _rows(seconds: dict[str, float]) -> list[Row]:
    limits = dict.fromkeys(("full update, state alone", "full update, state alone, compiled"), "<= 10")
    pixels = seconds["learner step, raw pixels"]
    return [
        *(Row(name, 1e3 * value, "ms", limits.get(name, "")) for name, value in seconds.items()),
        Row("raw pixels / stored maps", pixels / seconds["learner step, stored maps"], "", ">= 35"),
        Row("raw pixels / 4 bare trunk passes", pixels / seconds["4 bare trunk passes over the batch"], "", "<= 1.25"),
    ]
