"""Learning from stored maps beside learning from raw pixels: the same task, demonstrations, seeds and steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from serl_ray.benchmarks.learn import Learn
from serl_ray.benchmarks.report import band
from serl_ray.runs.plots import Band, plot_success_panels
from serl_ray.utils.options import Options

CROPS = {"stored maps": "2", "raw pixels": "0"}
"""The option `augment_crops`: what is stored, or that everything is cropped and encoded anew in every update."""
SETTINGS = {"image_keys": "wrist", "batch_size": "32", "cta_ratio": "1", "objective": "awac"}
"""Few enough trunk passes for a processor."""


class Maps(Options):
    """Trains the peg task from one camera by both, and compares their success over all seeds whenever it is
    evaluated."""

    save_dir: Path = Path("runs/maps")
    """Folder for the runs of both, and maps.png. Those that are complete there are not made anew."""
    seeds: tuple[int, ...] = (0, 1, 2, 3)
    """Seeds, at least two; each has one run with maps and one with pixels."""
    demos: int = 50
    """Demonstrations of a run."""
    max_steps: int = 500
    """Env steps of a run."""
    evaluate_every: int = 100
    """Env steps between evaluations."""
    episodes: int = 50
    """Episodes in each evaluation."""

    def run(self) -> None:
        """Prints success over env steps with 95 % intervals, and draws it."""
        outcomes = {name: self._outcomes(name) for name in CROPS}
        bands = {name: band([outcome["curve"] for outcome in outcomes[name]]) for name in CROPS}
        print(f"\n| env steps | {' | '.join(CROPS)} | intervals meet |\n|---|{'---|' * len(CROPS)}---|")
        for step, (first, *others) in _by_step(bands).items():
            meet = all(low <= first[2] and high >= first[1] for _, low, high in others)
            print(f"| {step} | {' | '.join(map(_words, (first, *others)))} | {'yes' if meet else 'no'} |")
        for name in CROPS:
            print(
                f"{name}, each seed in {self.episodes} fresh episodes at last: {[o['success'] for o in outcomes[name]]}"
            )
        plot_success_panels({"peg, one camera": bands}, self.save_dir / "maps.png")

    def _outcomes(self, name: str) -> list[dict[str, Any]]:
        sizes = {"seeds": self.seeds, "demos": self.demos, "max_steps": self.max_steps}
        learn = Learn(
            save_dir=self.save_dir / name.replace(" ", "_"),
            tasks=("peg",),
            pixels=True,
            evaluate_every=self.evaluate_every,
            episodes=self.episodes,
            settings=SETTINGS | {"augment_crops": CROPS[name]},
            **sizes,
        )
        return learn.outcomes()


def _by_step(bands: dict[str, Band]) -> dict[int, list[tuple[float, float, float]]]:
    first = next(iter(bands.values()))
    return {step: [band[step] for band in bands.values()] for step in sorted(first)}


def _words(point: tuple[float, float, float]) -> str:
    rate, low, high = point
    return f"{rate:.2f} [{low:.2f}, {high:.2f}]"
