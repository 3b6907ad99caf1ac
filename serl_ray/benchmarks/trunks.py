"""Cost of image trunks: time of an image, bytes of its stored map, time of a learner step on such maps."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
from annotated_types import Ge

from serl_ray.agents.config import SACConfig
from serl_ray.agents.sac import SACAgent
from serl_ray.benchmarks.acting import ARM_DIM, STATE_DIM
from serl_ray.benchmarks.learner import learner_step, random_batch
from serl_ray.benchmarks.timing import Row, medians, print_report
from serl_ray.data.replay.maps import FrameEncoder
from serl_ray.networks.config import EncoderConfig, NetworkConfig
from serl_ray.utils.memory import keep_freed_memory
from serl_ray.utils.options import Options


class Trunks(Options):
    """Times image trunks with one camera, on the CPU, in turns."""

    save_dir: Path = Path("runs/benchmark")
    """Folder for trunks.json."""
    trunks: tuple[str, ...] = ("random", "efficientnet")
    """Trunks to compare, each as `--trunk` has it."""
    batch_size: Annotated[int, Ge(1)] = 256
    """Transitions in an update."""
    repeats: Annotated[int, Ge(1)] = 50
    """Number of measurements; the median counts."""

    def run(self) -> None:
        """Times, and reports."""
        keep_freed_memory()
        rng = np.random.default_rng(0)
        image = {"image": rng.integers(0, 256, (1, 128, 128, 3), np.uint8)}
        encoders = {trunk: FrameEncoder(("image",), trunk, crops=1) for trunk in self.trunks}
        steps = {trunk: self._learner_step(rng, trunk, encoders[trunk].map_shape) for trunk in self.trunks}
        encode = medians({trunk: partial(encoders[trunk], image) for trunk in self.trunks}, self.repeats)
        learn = medians(steps, -(-self.repeats // 10))
        rows = []
        for trunk in self.trunks:
            size = 2 * np.prod(encoders[trunk].map_shape)  # float16
            rows += [
                Row(f"{trunk}: an image to its map", 1e3 * encode[trunk], "ms"),
                Row(f"{trunk}: a stored map", size / 1024, "KiB"),
                Row(f"{trunk}: learner step on stored maps", 1e3 * learn[trunk], "ms"),
            ]
        print_report("trunks", self.flat(), rows, self.save_dir)

    def _learner_step(
        self, rng: np.random.Generator, trunk: str, map_shape: tuple[int, int, int, int]
    ) -> partial[None]:
        """A learner step of an agent with this trunk on a batch of random maps."""
        networks = NetworkConfig(encoder=EncoderConfig(trunk=trunk))
        agent = SACAgent(("image",), ARM_DIM, config=SACConfig(networks=networks), device="cpu")
        maps = [{"image": rng.normal(size=(self.batch_size, *map_shape)).astype(np.float16)} for _ in range(2)]
        return partial(learner_step, agent, random_batch(rng, maps, self.batch_size, STATE_DIM, ARM_DIM))
