"""How long a learner step takes: from stored maps, from raw pixels, from state alone."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from serl_ray.agents.acceleration import keep_freed_memory
from serl_ray.agents.config import SACConfig
from serl_ray.agents.sac import SACAgent
from serl_ray.benchmarks.timing import Row, medians, report
from serl_ray.types import Batch

Observation = dict[str, np.ndarray]


@dataclass
class Learner:
    """Times learner steps (cta_ratio 2: one update of the critics, one full update)."""

    output: Path = Path("runs/benchmark")
    """Folder for learner.json."""
    batch_size: int = 256
    """Transitions an update."""
    state_dim: int = 18
    """Numbers of proprioception."""
    action_dim: int = 6
    """Continuous action dimensions."""
    image_size: int = 128
    """Side of a frame, pixels."""
    repeats: int = 5
    """Of which the median counts."""
    compile: bool = True
    """Whether the update with compiled networks is timed, too, which takes minutes first."""

    def run(self) -> None:
        """Times, and reports."""
        keep_freed_memory()
        rng = np.random.default_rng(0)
        frames = [self._frames(rng) for _ in range(2)]
        maps = [{"image": np.float16(rng.normal(size=(self.batch_size, 1, 4, 4, 512)))} for _ in range(2)]
        pixel, stored, state = (self._agent(images) for images in (("image",), ("image",), ()))
        pixel_batch, stored_batch, state_batch = (self._batch(rng, images) for images in (frames, maps, ({}, {})))
        others = {"bfloat16": self._agent((), bfloat16=True)}
        if self.compile:
            others["compiled"] = self._agent((), compile=True)
        pixel.sample_actions(frames[0] | self._state(rng))
        trunk, images = pixel.networks.encoder.trunk, torch.as_tensor(frames[0]["image"], device=pixel.device)

        def trunk_passes() -> None:
            with torch.no_grad():
                for _ in range(4):
                    trunk(images)

        seconds = medians(
            {
                "maps": lambda: _learner_step(stored, stored_batch),
                "pixels": lambda: _learner_step(pixel, pixel_batch),
                "trunk": trunk_passes,
            },
            self.repeats,
        ) | medians(
            {
                "state": lambda: state.update(state_batch),
                **{name: partial(agent.update, state_batch) for name, agent in others.items()},
            },
            20 * self.repeats,
        )
        rows = [
            Row("learner step, stored maps", 1e3 * seconds["maps"], "ms"),
            Row("learner step, raw pixels", 1e3 * seconds["pixels"], "ms"),
            Row("4 bare trunk passes over the batch", 1e3 * seconds["trunk"], "ms"),
            Row("raw pixels / stored maps", seconds["pixels"] / seconds["maps"], "", ">= 35"),
            Row("raw pixels / 4 bare trunk passes", seconds["pixels"] / seconds["trunk"], "", "<= 1.25"),
            Row("full update, state alone", 1e3 * seconds["state"], "ms", "<= 10"),
            *(
                Row(f"full update, state alone, {name}", 1e3 * seconds[name], "ms", "<= 10" if name == "compiled" else "")
                for name in others
            ),
        ]
        report("learner", asdict(self), rows, self.output)

    def _agent(self, image_keys: tuple[str, ...], **options: bool) -> SACAgent:
        return SACAgent(image_keys, self.action_dim, config=SACConfig(**options))

    def _frames(self, rng: np.random.Generator) -> Observation:
        return {"image": rng.integers(0, 256, (self.batch_size, self.image_size, self.image_size, 3), np.uint8)}

    def _state(self, rng: np.random.Generator) -> Observation:
        return {"state": rng.normal(size=(self.batch_size, self.state_dim)).astype(np.float32)}

    def _batch(self, rng: np.random.Generator, images: Any) -> Batch:
        return {
            "observations": images[0] | self._state(rng),
            "next_observations": images[1] | self._state(rng),
            "actions": rng.uniform(-1, 1, (self.batch_size, self.action_dim)).astype(np.float32),
            "rewards": rng.integers(0, 2, self.batch_size).astype(np.float32),
            "masks": rng.integers(0, 2, self.batch_size).astype(np.float32),
        }


def _learner_step(agent: SACAgent, batch: Batch) -> None:
    agent.update(batch, critics_only=True)
    agent.update(batch)
