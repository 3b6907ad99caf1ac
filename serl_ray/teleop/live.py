"""Images of a robot between two steps, for operators alone: they are no transition's, and nobody learns from them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np

from serl_ray.teleop.views import can_be_shown, shown_cameras
from serl_ray.teleop.wrapper import OperatedEnv

logger = logging.getLogger(__name__)

LIVE_SECONDS = 1 / 15
"""Least seconds between two live frames."""
SLOW_SECONDS = 0.15
"""Age of the newest step's view from which live frames are taken; an env of 10 Hz does without them."""
CAMERA_SECONDS = 1.0
"""Seconds that a camera may take when a run ends."""


class LiveFrames:
    """Takes live frames in a thread of its own, which is always the same one, while somebody watches and no step comes.

    An exception, or a result that is none, is logged once; the env is then asked no more.

    Args:
        env: env with operators.
        take: the env's `live_frames`.
        cameras: cameras that operators know of.
    """

    def __init__(self, env: OperatedEnv, take: Callable[[], Any], cameras: Collection[str]) -> None:
        self._env, self._take_images, self._cameras = env, take, cameras
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="live frames", daemon=True)
        self._thread.start()

    @classmethod
    def of(cls, env: OperatedEnv) -> LiveFrames | None:
        """The live frames of an env; None of one that has none."""
        take = getattr(env.unwrapped, "live_frames", None)
        return cls(env, take, shown_cameras(env)) if callable(take) else None

    def close(self) -> None:
        """Ends the thread."""
        self._closing.set()
        self._thread.join(CAMERA_SECONDS)

    def _run(self) -> None:
        while not self._closing.wait(LIVE_SECONDS):
            frame = due_frame(self._env)
            if frame is None:
                continue
            try:
                images = checked_live(self._take_images(), self._cameras)
            except ConnectionError:  # of a robot on another computer, which may come back
                continue
            except Exception:  # the env's code, in a thread of ours
                logger.exception("The env's live_frames() has failed, and is not called again.")
                return
            self._env.show_live(frame, images)


def due_frame(env: OperatedEnv) -> int | None:
    """The number of the view that live frames would follow now; None while none are needed."""
    with env.changed:
        frame = env.view.frame if env.view else 0
        is_new = frame > 0 and env.clock() - env.session.episodes.taken(frame) < SLOW_SECONDS
        return frame if env.watchers and not is_new else None


def checked_live(images: Any, cameras: Collection[str]) -> dict[str, np.ndarray]:
    """Copies of live images (H, W, 3) uint8 by camera.

    Raises:
        ValueError: this is no dict of images of known cameras.
    """
    if not isinstance(images, Mapping) or not images:
        raise ValueError(f"live_frames() returned {images!r:.100}: return a dict with an image for each camera.")
    arrays = {camera: np.array(image) for camera, image in images.items()}
    if unknown := sorted(map(str, arrays.keys() - {*cameras})):
        raise ValueError(f"live_frames() shows {', '.join(unknown)}; the env's cameras are {', '.join(cameras)}.")
    for camera, image in arrays.items():
        if not can_be_shown(image):
            raise ValueError(
                f"live_frames() shows {camera!r} as {image.dtype} of shape {image.shape}; it must be uint8 (H, W, 3)."
            )
    return arrays
