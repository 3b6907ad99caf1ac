"""Reading and writing of videos."""

from __future__ import annotations

from fractions import Fraction
from math import prod
from pathlib import Path
from typing import BinaryIO, cast

import av
import numpy as np
from av.video.stream import VideoStream

from serl_ray.data.formats.lerobot.rows import leave_out
from serl_ray.files.lfs import MAX_POINTER_BYTES, check_not_lfs_pointer
from serl_ray.files.tables import check_memory
from serl_ray.files.uris import open_input

CODEC, PIXELS = "libx264", "yuv420p"
QUALITY = {"crf": "18", "g": "10"}
"""Options of the encoder: visually lossless, with every tenth frame a key frame."""

COLORS = {1: "gray", 3: "rgb24"}
"""PyAV's formats of decoded images by their number of channels."""


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


def read_video_frames(path: str, times: np.ndarray, fps: float, shape: tuple[int, ...]) -> np.ndarray:
    """Images (n, H, W, C) uint8 of a video, each from the frame nearest in time.

    Args:
        path: local path or URI of the video, always read as mp4, because other formats, such as playlists, can name
            files.
        times: times (n,) of the images in the video, seconds, in ascending order.
        fps: images per second.
        shape: shape (H, W, C) of an image, with C = 1 or 3.

    Raises:
        ValueError: the file is not a video of such images, or no frame is within half a step of an image's time.
    """
    with open_input(path) as file:
        check_not_lfs_pointer(path, file.read(MAX_POINTER_BYTES))
        file.seek(0)
        try:
            frames = _decode(file, times, 0.5 / fps, shape, path)
        except _OtherVideo as error:
            raise ValueError(f"{path}: {error}") from error
        except Exception as error:  # decoders raise exceptions of any type
            raise ValueError(f"{path}: cut off, or not a video ({error}). Copy the file again.") from error
    if missing := [index for index, frame in enumerate(frames) if frame is None]:
        raise ValueError(
            f"{path}: no frame at {times[missing[0]]:.3f} s, frame {missing[0]} of {len(times)} of an episode at "
            f"{fps} Hz. The video is too short, or has another frame rate."
        )
    return np.stack([frame for frame in frames if frame is not None])


class _OtherVideo(ValueError):
    """A video that holds other images than its data set says."""


def _decode(
    file: BinaryIO, times: np.ndarray, tolerance: float, shape: tuple[int, ...], path: str
) -> list[np.ndarray | None]:
    """The images nearest to the times (n,), None where the nearest is further off than the tolerance, seconds."""
    images: list[np.ndarray | None] = [None] * len(times)
    distances = np.full(len(times), tolerance * (1 + 1e-3))
    with av.open(file, "r", format="mp4") as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        _check_stream(stream, shape)
        check_memory(prod(shape) * len(times), path)
        if stream.time_base is None:
            raise ValueError("its stream has no time base")
        container.seek(max(0, int((times[0] - tolerance) / stream.time_base)), stream=stream)
        for frame in container.decode(stream):
            if frame.time > times[-1] + tolerance:
                break
            found = np.abs(times - frame.time)
            if (nearer := np.flatnonzero(found < distances)).size:
                image = frame.to_ndarray(format=COLORS[shape[-1]]).reshape(shape)
                for index in nearer:
                    images[index], distances[index] = image, found[index]
    return images


def _check_stream(stream: VideoStream, shape: tuple[int, ...]) -> None:
    """Raises _OtherVideo for a video of another size, or of distances in place of shades."""
    components = stream.codec_context.format.components if stream.codec_context.format else ()
    if len(components) == 1 and components[0].bits > 8:
        raise _OtherVideo(f"its shades have {components[0].bits} bits, as a depth map's. {leave_out('this camera')}")
    if len(shape) != 3 or shape[-1] not in COLORS or shape[:2] != (stream.height, stream.width):
        raise _OtherVideo(
            f"expected images of shape {list(shape)}, as info.json says, found a video of {stream.height} x "
            f"{stream.width} pixels, which gives 1 or 3 channels. Copy meta and videos of one data set."
        )
