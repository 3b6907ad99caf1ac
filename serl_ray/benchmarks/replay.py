"""Cost of the replay: memory per transition, seconds per batch, transitions per second."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from serl_ray.benchmarks.timing import Row, medians, print_report
from serl_ray.data.replay.ring import ReplayBuffer
from serl_ray.data.schema import ArraySpec, Segment
from serl_ray.utils.options import Options

EPISODE, FRAGMENT, ACTION_DIM = 100, 10, 7
STATE_SPECS = {"state": ArraySpec((18,), np.dtype(np.float32))}
CAMERA_SPECS = {
    "raw images": {"image": ArraySpec((128, 128, 3), np.dtype(np.uint8))},
    "maps": {"image": ArraySpec((4, 4, 4, 512), np.dtype(np.float16))},
}


class Replay(Options):
    """Times insertion and sampling, with one camera."""

    save_dir: Path = Path("runs/benchmark")
    """Folder for replay.json."""
    capacity: int = 20_000
    """Observations that the replay holds."""
    batch_size: int = 256
    """Transitions in each sample."""
    repeats: int = 50
    """Number of measurements; the median counts."""

    def run(self) -> None:
        """Times, and reports."""
        rows = [row for name, camera in CAMERA_SPECS.items() for row in self._measure(name, camera)]
        rows += [
            Row(
                "insertion, state alone",
                self._fill(ReplayBuffer(STATE_SPECS, ACTION_DIM, self.capacity)),
                "/s",
                ">= 40000",
            )
        ]
        print_report("replay", self.flat(), rows, self.save_dir)

    def _measure(self, name: str, camera: dict[str, ArraySpec]) -> Iterator[Row]:
        crop_keys = ("image",) if name == "maps" else ()
        buffer = ReplayBuffer(camera | STATE_SPECS, ACTION_DIM, self.capacity, crop_keys=crop_keys)
        insertion = self._fill(buffer)
        rng, batch = np.random.default_rng(0), buffer.empty_batch(self.batch_size)
        sampled = batch["observations"]["image"]
        flat = np.zeros(
            (self.capacity * camera["image"].nbytes // sampled[0].nbytes, *sampled.shape[1:]), sampled.dtype
        )
        flat[:] = 1  # touches the pages

        def gather() -> None:
            for _ in range(2):
                np.take(flat, rng.integers(len(flat), size=self.batch_size), axis=0, out=sampled, mode="clip")

        seconds = medians({"sample": lambda: buffer.sample_into(batch, rng), "gather": gather}, self.repeats)
        if name == "raw images":
            specs = {**camera, **STATE_SPECS, "action": ArraySpec((ACTION_DIM,), np.dtype(np.float32))}
            once = sum(spec.nbytes for spec in specs.values())
            yield Row(
                f"{name}: bytes a row / bytes of an image, state and action",
                buffer.nbytes / self.capacity / once,
                "",
                "<= 1.02",
            )
        yield Row(f"{name}: sample of {self.batch_size}", 1e3 * seconds["sample"], "ms")
        yield Row(f"{name}: sample / bare gather of the same bytes", seconds["sample"] / seconds["gather"], "", "<= 2")
        yield Row(f"{name}: insertion", insertion, "/s", ">= 40000")

    def _fill(self, buffer: ReplayBuffer) -> float:
        """Transitions a second, in fragments, the second time round the ring: its pages are real by then."""
        fragments = [_fragment(buffer, start) for start in range(0, EPISODE, FRAGMENT)]
        episodes = self.capacity // (EPISODE + 1)
        for turn in range(2):
            started = time.perf_counter()
            for episode in range(episodes):
                for fragment in fragments:
                    fragment.episode = f"{turn}-{episode}"
                    buffer.add(fragment)
            seconds = time.perf_counter() - started
        return episodes * EPISODE / seconds


def _fragment(buffer: ReplayBuffer, first_step: int) -> Segment:
    ends = np.arange(first_step, first_step + FRAGMENT) == EPISODE - 1
    return Segment(
        observations={
            key: np.ones((FRAGMENT + 1, *spec.shape), spec.dtype) for key, spec in buffer.observation_spec.items()
        },
        actions=np.zeros((FRAGMENT, ACTION_DIM), np.float32),
        rewards=np.zeros(FRAGMENT),
        masks=np.ones(FRAGMENT),
        dones=ends,
        truncateds=ends,
        grasp_penalty=np.zeros(FRAGMENT),
        intervened=np.zeros(FRAGMENT, bool),
        episode="",
        first_step=first_step,
    )
