"""Videos of episodes: the images of an env's `render()`, as an mp4 (H.264), and as the animated GIF that TensorBoard
plays."""

from __future__ import annotations

import io
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import gymnasium
import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from serl_ray.data.formats.lerobot.video import VideoWriter

FPS = 10
"""Frames per second; one frame is one step."""
BORDER = (255, 128, 0)
"""Colour (RGB) of the border around a frame in which somebody intervenes."""
BORDER_SHARE = 32
"""Shorter side of a frame divided by the width of its border."""
GIF_SIDE, GIF_FRAMES = 256, 200
"""Greatest side, pixels, and number of frames of a GIF; it skips frames of longer videos evenly."""


class VideoFile:
    """An mp4 at a path, written frame by frame; without frames there is no file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: VideoWriter | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer:
            self._writer.close()

    def take(self, env: gymnasium.Env, intervened: bool) -> None:
        """Appends the env's image; H.264 needs even sides, so an odd side loses its last pixel.

        Raises:
            ValueError: the env has no images: it has no `render()`, or one that returns no array.
        """
        try:
            frame: Any = env.render()
        except NotImplementedError:
            frame = None
        if not isinstance(frame, np.ndarray):
            raise ValueError(f"{type(env.unwrapped).__name__}.render() gives no image, so there is no video to write.")
        height, width = (side // 2 * 2 for side in frame.shape[:2])
        frame = frame[:height, :width]
        if self._writer is None:
            from serl_ray.data.formats.lerobot.video import VideoWriter  # FFmpeg, for videos alone

            self._writer = VideoWriter(self._path, FPS, frame.shape)
        self._writer.add((_with_border(frame) if intervened else frame)[None])


def _with_border(frame: np.ndarray) -> np.ndarray:
    framed, edge = np.empty_like(frame), max(min(frame.shape[:2]) // BORDER_SHARE, 2)
    framed[:] = BORDER
    framed[edge:-edge, edge:-edge] = frame[edge:-edge, edge:-edge]
    return framed


def gif_of(video: Path) -> tuple[bytes, int, int]:
    """An mp4 as an animated GIF, its height and its width in pixels."""
    import av  # FFmpeg, for videos alone

    with av.open(str(video), format="mp4") as container:
        stream = container.streams.video[0]
        every = -(-stream.frames // GIF_FRAMES)
        frames = [frame.to_image() for index, frame in enumerate(container.decode(stream)) if index % every == 0]
    for frame in frames:
        frame.thumbnail((GIF_SIDE, GIF_SIDE))
    first, *others = (frame.quantize(128, method=Image.Quantize.FASTOCTREE) for frame in frames)
    gif = io.BytesIO()
    first.save(gif, format="GIF", save_all=True, append_images=others, duration=1000 * every // FPS, loop=0)
    return gif.getvalue(), first.height, first.width
