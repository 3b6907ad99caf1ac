"""Reading and writing of videos."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import BinaryIO, cast

import av
import numpy as np
from av.video.stream import VideoStream

from serl_ray.files.tables import check_memory
from serl_ray.files.uris import open_input

CODEC, PIXELS = "libx264", "yuv420p"
QUALITY = {"crf": "18", "g": "10"}
"""Options of the encoder: visually lossless, with every tenth frame a key frame."""


class VideoWriter:
    """Writer of images (H, W, 3) uint8 to an mp4 as H.264, which is lossy.

    Args:
        path: path of the video.
        fps: frames per second.
        shape: shape (H, W, 3) of an image, with even H and W.
    """

    def __init__(self, path: Path, fps: int, shape: tuple[int, ...]) -> None:
        height, width, _ = shape
        path.parent.mkdir(parents=True, exist_ok=True)
        self._container = av.open(str(path), "w")
        stream = self._container.add_stream(CODEC, rate=fps, options=QUALITY)
        self._stream = cast(VideoStream, stream)  # PyAV does not know the kind of a codec by its name
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, PIXELS
        self._stream.time_base = self._time_base = Fraction(1, fps)
        self.num_frames = 0

    def add(self, images: np.ndarray) -> None:
        """Appends images (n, H, W, 3)."""
        for pixels in images:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            frame.pts, frame.time_base = self.num_frames, self._time_base
            self._container.mux(self._stream.encode(frame))
            self.num_frames += 1

    def close(self) -> None:
        """Completes the file."""
        self._container.mux(self._stream.encode())
        self._container.close()


def read_frames(path: str, start: float, count: int, fps: float) -> np.ndarray:
    """Images (count, H, W, 3) uint8 of a video, each from the frame nearest in time.

    Args:
        path: local path or URI of the video, always read as mp4, because other formats, such as playlists, can name
            files.
        start: time of the first image in the video, seconds.
        count: number of images.
        fps: images per second.

    Raises:
        ValueError: the file is not a video, or a frame is missing.
    """
    with open_input(path) as file:
        try:
            frames = _decode(file, start, count, fps, path)
        except Exception as error:  # decoders raise exceptions of any type
            raise ValueError(f"{path}: cut off, or not a video ({error}). Copy the file again.") from error
    if missing := [index for index, frame in enumerate(frames) if frame is None]:
        raise ValueError(
            f"{path}: no frame at {start + missing[0] / fps:.3f} s, frame {missing[0]} of {count} of an episode at "
            f"{fps} Hz. The video is too short, or has another frame rate."
        )
    return np.stack([frame for frame in frames if frame is not None])


def _decode(file: BinaryIO, start: float, count: int, fps: float, path: str) -> list[np.ndarray | None]:
    """The images of a video by index, None for a missing one."""
    frames: list[np.ndarray | None] = [None] * count
    with av.open(file, "r", format="mp4") as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        check_memory(stream.width * stream.height * 3 * count, path)
        if stream.time_base is None:
            raise ValueError("its stream has no time base")
        container.seek(max(0, int((start - 0.5 / fps) / stream.time_base)), stream=stream)
        for frame in container.decode(stream):
            index = round((frame.time - start) * fps)
            if index >= count:
                break
            if index >= 0 and frames[index] is None:
                frames[index] = frame.to_ndarray(format="rgb24")
    return frames
