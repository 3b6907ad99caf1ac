"""Draws the README's moving picture: episodes of one run side by side, each from an evaluation during training.

    python docs/learning_gif.py hybrid_ckpt docs/learning.gif 250 1500 3000

The numbers are the env steps of evaluations, as in the names of the videos in the run folder.
"""

from __future__ import annotations

import sys
from pathlib import Path

import av
from PIL import Image, ImageDraw, ImageFont

SIDE, BAR, GAP, SECONDS, FPS = 216, 26, 6, 6, 10
MOST_STEPS = 101
"""Frames of an episode that ended without success, at the time limit of 100 steps."""


def panels(video: Path, steps: int) -> list[Image.Image]:
    """One labelled image per step; the last one stays until the end of the picture."""
    with av.open(str(video)) as container:
        frames = [
            frame.to_image().resize((SIDE, SIDE), Image.Resampling.LANCZOS) for frame in container.decode(video=0)
        ]
    solved, font = len(frames) < MOST_STEPS, ImageFont.load_default(15)
    shown = []
    for index in range(SECONDS * FPS):
        panel = Image.new("RGB", (SIDE, SIDE + BAR), "white")
        panel.paste(frames[min(index, len(frames) - 1)], (0, BAR))
        done = solved and index >= len(frames) - 1
        text = f"after {steps:,} env steps{' - lifted' if done else ''}"
        ImageDraw.Draw(panel).text((SIDE // 2, BAR // 2), text, "#2e7d32" if done else "#333333", font, anchor="mm")
        shown.append(panel)
    return shown


def main(run: Path, target: Path, *steps: str) -> None:
    """Writes the GIF."""
    columns = [panels(run / "videos" / f"{int(count):09d}.mp4", int(count)) for count in steps]
    images = []
    for row in zip(*columns, strict=True):
        image = Image.new("RGB", ((SIDE + GAP) * len(row) - GAP, SIDE + BAR), "white")
        for index, panel in enumerate(row):
            image.paste(panel, (index * (SIDE + GAP), 0))
        images.append(image)
    palette = images[len(images) // 2].quantize(96, method=Image.Quantize.MEDIANCUT)
    first, *others = (image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images)
    first.save(target, save_all=True, append_images=others, duration=1000 // FPS, loop=0, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
