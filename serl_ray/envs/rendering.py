"""Offscreen MuJoCo rendering that works on a desktop, on a headless server and inside a Ray worker.

MuJoCo reads `MUJOCO_GL` at its first import, so a process that imported it without that variable cannot render headless
through `mujoco.Renderer`. `OffscreenRenderer` makes its own OpenGL context, so the order of imports does not matter.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import importlib
import importlib.util
import os
import platform
import weakref
from typing import Any

import mujoco
import numpy as np

from serl_ray.utils.errors import SetupError

_LINUX_LIBRARIES = {
    "egl": ("libEGL.so.1", "libEGL.so"),
    "osmesa": ("libOSMesa.so.8", "libOSMesa.so.6", "libOSMesa.so"),
}
_FIXES = {
    "Linux": "Install software EGL (apt-get install libegl1 libgl1-mesa-dri) or OSMesa (apt-get install libosmesa6).",
    "Darwin": "Core OpenGL needs a logged-in macOS session.",
    "Windows": "Install a graphics driver with OpenGL, and `pip install glfw`.",
}


class OffscreenRenderer:
    """Renderer of a model's cameras to uint8 images (H, W, 3), without shadows or reflections.

    Args:
        model: compiled model, with an offscreen buffer (`<global offwidth offheight>`) at least as large as the image.
        height: image height H in pixels.
        width: image width W in pixels.
    """

    def __init__(self, model: mujoco.MjModel, height: int, width: int) -> None:
        self._model = model
        self._context = make_gl_context(width, height)
        _close_all_at_exit()
        _open_renderers.add(self)
        self._context.make_current()
        self._mjr = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._mjr)
        self._scene = mujoco.MjvScene(model, maxgeom=200)
        for costly in (
            mujoco.mjtRndFlag.mjRND_SHADOW,
            mujoco.mjtRndFlag.mjRND_REFLECTION,
            mujoco.mjtRndFlag.mjRND_HAZE,
        ):
            self._scene.flags[costly] = False
        self._option = mujoco.MjvOption()
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._viewport = mujoco.MjrRect(0, 0, width, height)
        self._pixels = np.empty((height, width, 3), np.uint8)

    def render(self, data: mujoco.MjData, camera: str) -> np.ndarray:
        """The image (H, W, 3) of the named camera of the model."""
        self._camera.fixedcamid = self._model.camera(camera).id
        self._context.make_current()
        mujoco.mjv_updateScene(
            self._model, data, self._option, None, self._camera, mujoco.mjtCatBit.mjCAT_ALL, self._scene
        )
        mujoco.mjr_render(self._viewport, self._scene, self._mjr)
        mujoco.mjr_readPixels(self._pixels, None, self._viewport, self._mjr)
        return self._pixels[::-1].copy()  # OpenGL's first row is the lowest

    def close(self) -> None:
        """Frees the OpenGL memory; the renderer cannot be used afterwards."""
        _open_renderers.discard(self)
        self._context.make_current()
        self._mjr.free()
        self._context.free()


_open_renderers: weakref.WeakSet[OffscreenRenderer] = weakref.WeakSet()


@functools.cache
def _close_all_at_exit() -> None:
    """Closes open renderers at exit; registered after MuJoCo's own hook, which ends EGL, so it runs first."""

    def close_all() -> None:
        for renderer in list(_open_renderers):
            renderer.close()

    atexit.register(close_all)


def make_gl_context(width: int, height: int) -> Any:
    """An OpenGL context of `choose_backend()`, not yet current.

    Raises:
        RuntimeError: the machine has no working OpenGL; the message names the packages to install.
    """
    backend = choose_backend()
    # Mesa's software EGL and triton have an LLVM each. Loading triton, which torch does late, crashes after the first
    # context.
    if importlib.util.find_spec("triton"):
        importlib.import_module("triton")
    try:
        return importlib.import_module(f"mujoco.{backend}").GLContext(width, height)
    except Exception as error:  # PyOpenGL raises AttributeError, ImportError, GLError or RuntimeError
        fix = _FIXES.get(platform.system(), "")
        raise SetupError(f"OpenGL context through {backend!r} failed ({error}). {fix}") from error


def choose_backend() -> str:
    """The backend in `MUJOCO_GL`, or one that this machine has: egl, osmesa, glfw or cgl.

    On Linux EGL comes before OSMesa, with or without a display, because neither opens a window.
    """
    wanted = os.environ.get("MUJOCO_GL", "").strip().lower()
    if wanted in ("disable", "disabled", "off", "false", "0"):
        raise SetupError(
            f"MUJOCO_GL={wanted} switches rendering off, but an image is needed. Unset it, or choose no cameras."
        )
    if wanted in ("egl", "osmesa", "glfw", "cgl"):
        return wanted
    if platform.system() != "Linux":
        return "cgl" if platform.system() == "Darwin" else "glfw"
    for backend, names in _LINUX_LIBRARIES.items():
        if any(_loads(name) for name in names):
            return backend
    raise SetupError(f"No offscreen OpenGL library found (looked for EGL and OSMesa). {_FIXES['Linux']}")


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
