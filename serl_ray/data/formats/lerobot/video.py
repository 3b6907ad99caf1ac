"""Frames in and out of videos."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np

from serl_ray.files.tables import check_memory
from serl_ray.files.uris import open_input

CODEC, PIXELS = "libx264", "yuv420p"
QUALITY = {"crf": "18", "g": "10"}
"""Visually lossless, and a frame to begin from at every tenth."""


class VideoWriter:
    """Writes frames (H, W, 3) uint8 to an mp4 as H.264, which is lossy.

    Args:
        path: of the video.
        fps: frames a second.
        shape: (H, W, 3), H and W even.
    """

    def __init__(self, path: Path, fps: int, shape: tuple[int, ...]) -> None:
        height, width, _ = shape
        path.parent.mkdir(parents=True, exist_ok=True)
        self._container = av.open(str(path), "w")
        self._stream = self._container.add_stream(CODEC, rate=fps, options=QUALITY)
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, PIXELS
        self._stream.time_base = self._time_base = Fraction(1, fps)
        self.num_frames = 0

    def add(self, frames: np.ndarray) -> None:
        """Append frames (n, H, W, 3)."""
        for pixels in frames:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            frame.pts, frame.time_base = self.num_frames, self._time_base
            self._container.mux(self._stream.encode(frame))
            self.num_frames += 1

    def close(self) -> None:
        """Finish the file."""
        self._container.mux(self._stream.encode())
        self._container.close()


def read_frames(path: str, start: float, count: int, fps: float) -> np.ndarray:
    """Frames (count, H, W, 3) uint8, each the one whose time is nearest to its own.

    Args:
        path: the video, a local path or a URI. It is taken for an mp4: other formats, such as playlists, name files to open.
        start: seconds from its beginning to the first of the frames.
        count: how many.
        fps: frames a second.

    Raises:
        ValueError: it is no video, or a frame is not in it.
    """
    with open_input(path) as file:
        try:
            frames = _decode(file, start, count, fps, path)
        except Exception as error:  # whatever a decoder raises
            raise ValueError(f"{path}: cut off, or not a video ({error}). Copy the file again.") from error
    if missing := [index for index, frame in enumerate(frames) if frame is None]:
        raise ValueError(
            f"{path}: no frame at {start + missing[0] / fps:.3f} s, frame {missing[0]} of {count} of an episode at {fps} Hz. "
            "The video is too short, or of another frame rate."
        )
    return np.stack(frames)


def _decode(file: BinaryIO, start: float, count: int, fps: float, path: str) -> list[np.ndarray | None]:
    """The frames of a video by their place, None where there is none."""
    frames: list[np.ndarray | None] = [None] * count
    with av.open(file, format="mp4") as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        check_memory(stream.width * stream.height * 3 * count, path)
        container.seek(max(0, int((start - 0.5 / fps) / stream.time_base)), stream=stream)
        for frame in container.decode(stream):
            index = round((frame.time - start) * fps)
            if index >= count:
                break
            if index >= 0 and frames[index] is None:
                frames[index] = frame.to_ndarray(format="rgb24")
    return frames
