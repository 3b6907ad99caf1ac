"""Time of an action, compared with the trunk pass that it contains."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from serl_ray.agents.sac import SACAgent
from serl_ray.benchmarks.timing import Row, medians, print_report
from serl_ray.data.replay.maps import FrameEncoder
from serl_ray.utils.options import Options

STATE_DIM, ARM_DIM = 18, 6


class Acting(Options):
    """Times single actions with one camera, on the CPU as a rollout worker does."""

    save_dir: Path = Path("runs/benchmark")
    """Folder for acting.json."""
    crops: int = 4
    """Crops of an image that are encoded for the replay."""
    repeats: int = 50
    """Number of measurements; the median counts."""

    def run(self) -> None:
        """Times, and reports."""
        rng = np.random.default_rng(0)
        agent = SACAgent(("image",), ARM_DIM, device="cpu")
        state = {"state": rng.normal(size=STATE_DIM).astype(np.float32)}
        images = {"image": rng.integers(0, 256, (128, 128, 3), np.uint8)}
        encode = FrameEncoder(("image",), "random", self.crops)
        agent.sample_actions(images | state)
        trunk, image = agent.networks.encoder.trunk, torch.as_tensor(images["image"])[None]

        def encode_and_act() -> None:
            maps = encode({"image": images["image"][None]})["image"][0]
            agent.sample_actions({"image": maps} | state)

        with torch.no_grad():
            seconds = medians(
                {
                    "act": lambda: agent.sample_actions(images | state),
                    "trunk": lambda: trunk(image),
                    "encode_and_act": encode_and_act,
                    "crops": lambda: trunk(image.expand(self.crops, -1, -1, -1)),
                },
                self.repeats,
            )
        rows = [
            Row("action from an image", 1e3 * seconds["act"], "ms"),
            Row("bare trunk pass", 1e3 * seconds["trunk"], "ms"),
            Row("action / bare trunk pass", seconds["act"] / seconds["trunk"], "", "<= 1.3"),
            Row(f"action and {self.crops} stored maps", 1e3 * seconds["encode_and_act"], "ms"),
            Row(
                f"action and {self.crops} maps / bare pass over {self.crops}",
                seconds["encode_and_act"] / seconds["crops"],
                "",
                "<= 1.3",
            ),
        ]
        print_report("acting", self.flat(), rows, self.save_dir)
