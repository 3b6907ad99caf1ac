"""Cameras of a robot: a thread each reads the newest image, and none that is late, frozen or wrong is observed.

RealSense cameras need the extra `serl-ray[realsense]`, UVC cameras `serl-ray[uvc]`.
"""

from __future__ import annotations

import atexit
import threading
import time
from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from torch.nn import functional

from serl_ray.data.episodes import EnvFault
from serl_ray.envs.franka.settings import CameraSettings
from serl_ray.utils.errors import SetupError

FIRST_FRAME_SECONDS = 10.0
"""Seconds within which a camera must give its first frame after it was opened."""
THREAD_END_SECONDS = 2.0
"""Seconds to wait for a camera's thread at its end."""


class FrameSource(Protocol):
    """An opened camera."""

    def read(self) -> np.ndarray:
        """The next frame (H, W, 3), uint8, RGB; an OSError or RuntimeError where there is none."""

    def close(self) -> None:
        """Frees the camera."""


class RealSense:
    """RealSense camera with a serial number; its colour stream."""

    def __init__(self, serial: str, settings: CameraSettings) -> None:
        try:
            import pyrealsense2 as rs
        except ImportError as error:
            raise SetupError(
                f"RealSense cameras need their package ({error}): pip install 'serl-ray[realsense]'."
            ) from error
        found = [device.get_info(rs.camera_info.serial_number) for device in rs.context().query_devices()]
        if serial not in found:
            raise SetupError(
                f"There is no RealSense camera {serial}; connected are {', '.join(found) or 'none'}. Check its cable, "
                "and `realsense` in the settings."
            )
        config = rs.config()
        config.enable_device(serial)
        config.enable_stream(rs.stream.color, settings.width, settings.height, rs.format.rgb8, settings.fps)
        self._pipeline = rs.pipeline()
        device = self._pipeline.start(config).get_device()
        if settings.exposure is not None:
            sensor = device.first_color_sensor()
            sensor.set_option(rs.option.enable_auto_exposure, 0)
            sensor.set_option(rs.option.exposure, settings.exposure)

    def read(self) -> np.ndarray:
        """The next frame (H, W, 3), uint8, RGB."""
        return np.array(self._pipeline.wait_for_frames().get_color_frame().get_data())

    def close(self) -> None:
        """Ends the stream."""
        self._pipeline.stop()


class UvcCamera:
    """Camera of the operating system, by its number or path."""

    def __init__(self, device: int | str, settings: CameraSettings) -> None:
        try:
            import cv2
        except ImportError as error:
            raise SetupError(f"UVC cameras need OpenCV ({error}): pip install 'serl-ray[uvc]'.") from error
        self._capture = cv2.VideoCapture(device)
        if not self._capture.isOpened():
            raise SetupError(
                f"The camera {device} cannot be opened: check its cable, that no other program uses it, and `uvc` in "
                "the settings."
            )
        wanted = [(cv2.CAP_PROP_FRAME_WIDTH, settings.width), (cv2.CAP_PROP_FRAME_HEIGHT, settings.height)]
        wanted += [(cv2.CAP_PROP_FPS, settings.fps), (cv2.CAP_PROP_BUFFERSIZE, 1)]
        if settings.exposure is not None:
            wanted += [(cv2.CAP_PROP_AUTO_EXPOSURE, 1), (cv2.CAP_PROP_EXPOSURE, settings.exposure)]
        for name, value in wanted:
            self._capture.set(name, value)

    def read(self) -> np.ndarray:
        """The next frame (H, W, 3), uint8, RGB."""
        is_there, frame = self._capture.read()
        if not is_there:
            raise OSError("it gives no more frames")
        return np.ascontiguousarray(frame[..., ::-1])  # OpenCV has BGR

    def close(self) -> None:
        """Frees the device."""
        self._capture.release()


def open_source(settings: CameraSettings) -> FrameSource:
    """Opens a camera.

    Raises:
        SetupError: it is not there, or its package is not.
    """
    if settings.realsense is not None:
        return RealSense(settings.realsense, settings)
    assert settings.uvc is not None
    return UvcCamera(settings.uvc, settings)


def resized(image: np.ndarray, size: int) -> np.ndarray:
    """An image (H, W, 3), uint8, as (size, size, 3): bilinear without antialiasing, as the original's."""
    if image.shape[:2] == (size, size):
        return image
    planes = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float()
    scaled = functional.interpolate(planes, (size, size), mode="bilinear", align_corners=False)[0]
    return scaled.round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()


class RobotCamera:
    """One camera, read by a thread.

    Args:
        settings: its settings.
        size: side of the observed image, pixels.
        open_it: function that opens it.
        clock: monotonic clock in seconds.

    Raises:
        SetupError: it cannot be opened.
        EnvFault: it gives no first frame.
    """

    def __init__(
        self,
        settings: CameraSettings,
        size: int,
        open_it: Callable[[CameraSettings], FrameSource] = open_source,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name, self._settings, self._size = settings.name, settings, size
        self._open, self._clock = open_it, clock
        self._arrived = threading.Condition()
        self._start()
        atexit.register(self.close)  # a thread inside a driver must not outlive the interpreter

    def newest(self) -> tuple[np.ndarray, float]:
        """The newest image (size, size, 3), uint8, RGB, and its age in seconds.

        Raises:
            EnvFault: the camera has failed, is late, or has frozen.
        """
        with self._arrived:
            if self._error:
                raise EnvFault("error", f"The camera {self.name} has failed: {self._error}. Check its cable.")
            now = self._clock()
            if (age := now - self._taken_at) > self._settings.max_age:
                raise EnvFault(
                    "timeout",
                    f"The camera {self.name} has given no frame for {age:.2g} s (max_age {self._settings.max_age:g} "
                    "s): check its cable, and whether too many cameras share one USB port.",
                )
            if (still := self._taken_at - self._changed_at) > self._settings.frozen_after:
                raise EnvFault(
                    "error",
                    f"The camera {self.name} has frozen: its image has been the same to the last bit for {still:.2g} s "
                    f"(frozen_after {self._settings.frozen_after:g} s). Unplug it and plug it in again.",
                )
            assert self._image is not None  # without a first frame there is no camera
            return self._image, age

    def revive(self) -> None:
        """Opens the camera again if it can not be used.

        Raises:
            EnvFault: it still cannot.
        """
        try:
            self.newest()
        except EnvFault:
            self._end()
            try:
                self._start()
            except SetupError as error:
                raise EnvFault("error", f"The camera {self.name} cannot be opened again. {error}") from error

    def close(self) -> None:
        """Ends the thread and frees the camera."""
        self._end()
        atexit.unregister(self.close)

    def _end(self) -> None:
        self._closed.set()
        self._thread.join(THREAD_END_SECONDS)

    def _start(self) -> None:
        self._error = ""
        self._image: np.ndarray | None = None
        self._taken_at = self._changed_at = self._clock()
        self._closed = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(self._open(self._settings), self._closed), name=f"camera {self.name}", daemon=True
        )
        self._thread.start()
        with self._arrived:
            self._arrived.wait_for(lambda: self._image is not None or self._error, FIRST_FRAME_SECONDS)
            if self._image is None:
                self._closed.set()
                reason = self._error or f"it gave none within {FIRST_FRAME_SECONDS:g} s"
                raise EnvFault("error", f"The camera {self.name} gives no frames: {reason}. Check its cable.")

    def _run(self, source: FrameSource, closed: threading.Event) -> None:
        """Reads frames until the camera is closed or fails."""
        before = np.empty(0, np.uint8)
        try:
            while not closed.is_set():
                frame = source.read()
                image = resized(self._cut(frame), self._size)
                with self._arrived:
                    if closed.is_set():
                        return
                    self._taken_at = self._clock()
                    if not np.array_equal(frame, before):
                        self._changed_at = self._taken_at
                    self._image = image
                    self._arrived.notify_all()
                before = frame
        except Exception as error:  # which is raised where the image is asked for
            with self._arrived:
                if not closed.is_set():
                    self._error = f"{type(error).__name__}: {error}"
                    self._arrived.notify_all()
        finally:
            source.close()

    def _cut(self, frame: np.ndarray) -> np.ndarray:
        """The part of a frame that is kept."""
        if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
            raise OSError(f"its frames are {frame.dtype} {frame.shape}, not uint8 (H, W, 3)")
        if self._settings.crop is None:
            return frame
        top, bottom, left, right = self._settings.crop
        if bottom > frame.shape[0] or right > frame.shape[1]:
            raise OSError(f"its frames are {frame.shape[:2]}, too small for the crop {list(self._settings.crop)}")
        return frame[top:bottom, left:right]
