"""Films of episodes: what an env's `render()` shows, as an mp4, and as the animated GIF that TensorBoard plays."""

from __future__ import annotations

import io
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import gymnasium
import imageio.v2 as imageio
import numpy as np
from PIL import Image

FPS = 10
"""Frames a second: one is a step."""
BORDER = (255, 128, 0)
"""Colour, RGB, of the edge that a frame has while somebody intervenes."""
BORDER_SHARE = 32
"""Of a frame's shorter side, one in so many pixels is the border's width."""
GIF_SIDE, GIF_FRAMES = 256, 200
"""Pixels and frames that a GIF has at most; of longer films it has every second frame, every third, and so on."""


class Film:
    """An mp4 that is written frame by frame, to a path."""

    def __init__(self, path: Path) -> None:
        self._writer = imageio.get_writer(path, fps=FPS, macro_block_size=None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._writer.close()

    def take(self, env: gymnasium.Env, intervened: bool) -> None:
        """Appends what the env shows; H.264 wants even sides, so an odd one loses a pixel.

        Raises:
            ValueError: the env has no pictures: its `render()` gives no array.
        """
        frame: Any = env.render()
        if not isinstance(frame, np.ndarray):
            raise ValueError(f"{type(env.unwrapped).__name__}.render() gives no picture, so there is no video to write.")
        height, width = (side // 2 * 2 for side in frame.shape[:2])
        frame = frame[:height, :width]
        self._writer.append_data(_with_border(frame) if intervened else frame)


def _with_border(frame: np.ndarray) -> np.ndarray:
    framed, edge = np.empty_like(frame), max(min(frame.shape[:2]) // BORDER_SHARE, 2)
    framed[:] = BORDER
    framed[edge:-edge, edge:-edge] = frame[edge:-edge, edge:-edge]
    return framed


def gif_of(video: Path) -> tuple[bytes, int, int]:
    """An mp4 as an animated GIF, its height and its width."""
    with imageio.get_reader(video) as reader:
        every = -(-reader.count_frames() // GIF_FRAMES)
        frames = [Image.fromarray(frame) for index, frame in enumerate(reader) if index % every == 0]
    for frame in frames:
        frame.thumbnail((GIF_SIDE, GIF_SIDE))
    first, *others = (frame.quantize(128, method=Image.Quantize.FASTOCTREE) for frame in frames)
    gif = io.BytesIO()
    first.save(gif, format="GIF", save_all=True, append_images=others, duration=1000 * every // FPS, loop=0)
    return gif.getvalue(), first.height, first.width
