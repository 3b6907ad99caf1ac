"""A Franka's stand-in with an object on a table, and the env and the scripted expert of grasping and lifting it."""

from __future__ import annotations

import json
import time
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import gymnasium
import numpy as np
from scipy.spatial.transform import Rotation

from serl_ray.benchmarks.franka_arm import RESET_POSE, PointArm
from serl_ray.data.observations import Observation
from serl_ray.envs.franka import FrankaServerEnv
from serl_ray.envs.franka.cameras import RobotCamera
from serl_ray.envs.franka.frames import tool_to_base
from serl_ray.envs.franka.gripper import OPEN_FROM
from serl_ray.envs.franka.settings import CameraSettings, read_settings

WRIST_CAMERA = "wrist"
TABLE_HEIGHT = 0.12
"""Height of an object that lies on the table, metres."""
LIFTED = 0.06
"""Height over the table at which the task is solved, metres."""
SPREAD = np.array([0.03, 0.05])
"""Metres by which the object's place varies along x and y, to both sides."""
REACH = np.array([0.02, 0.02, 0.02])
"""Greatest distance of the tool from an object that it grasps, by axis, metres."""
APPROACH_HEIGHT = 0.03
"""Height over the object at which the expert comes to it, metres."""
WIDTH = 0.4
"""Opening of a gripper that holds the object."""
SIDE = 128
"""Side of an image in pixels: its upper half shows x and y from above, its lower half y and z from the front, both with
the tool in their middle column."""
METRES_PER_PIXEL = 0.2 / SIDE
FRAMES_PER_SECOND = 40


class GraspingArm(PointArm):
    """An arm and an object, which stays in a gripper that was closed around it and falls out of an open one.

    It has routes that no real server has: `place` with a position (2,), `object` for the position (3,) and whether it
    is held, and `view` for an image.
    """

    def __init__(self) -> None:
        super().__init__()
        self._object = np.array([*RESET_POSE[:2], TABLE_HEIGHT])
        self._is_held = False
        self._noise = np.random.default_rng(0)

    def answer(self, route: str, body: Any) -> bytes:
        """The server's answer; KeyError for an unknown route."""
        with self.lock:
            if route == "place":
                self._object, self._is_held = np.array([*body, TABLE_HEIGHT]), False
                return b"Done"
            if route == "object":
                return json.dumps({"position": self._object.tolist(), "is_held": self._is_held}).encode()
            if route == "view":
                return self._view().tobytes()
            return super().answer(route, body)

    def move(self) -> None:
        """Goes a share of the way to the target, with the object if it is held."""
        before = self.gripper
        super().move()
        is_closing = self.gripper_target == 0.0
        if is_closing and before > WIDTH and (np.abs(self.pose[:3] - self._object) <= REACH).all():
            self._is_held = True
        self._is_held &= is_closing
        if self._is_held:
            self.gripper, self._object = WIDTH, self.pose[:3].copy()
        else:
            self._object[2] = TABLE_HEIGHT

    def _view(self) -> np.ndarray:
        """An image (SIDE, SIDE, 3), uint8, of a camera at the wrist: the object red, the tool green, and brighter the
        wider it is open."""
        image = self._noise.integers(0, 8, (SIDE, SIDE, 3), np.uint8)
        tool = (20, 90 + round(150 * self.gripper), 20)
        away = self._object - self.pose[:3]
        for offset, colour, radius in ((away, (220, 40, 40), 8), (np.zeros(3), tool, 4)):
            x, y, z = np.rint(offset / METRES_PER_PIXEL).astype(int)
            _draw(image[: SIDE // 2], SIDE // 4 + x, SIDE // 2 + y, radius, colour)
            _draw(image[SIDE // 2 :], 8 - z, SIDE // 2 + y, radius, colour)
        return image


def _draw(image: np.ndarray, row: int, column: int, radius: int, colour: tuple[int, int, int]) -> None:
    rows, columns = (slice(max(0, centre - radius), max(0, centre + radius + 1)) for centre in (row, column))
    image[rows, columns] = colour


class GraspingFranka(FrankaServerEnv):
    """One arm with a learned gripper that lifts an object, whose place is drawn for each episode.

    Args:
        settings: path of the YAML file with the settings.
        pixels: whether the camera `wrist` shows the object; else `state` ends with its offset (3,) from the tool in the
            tool's frame, metres, as a tracker at the wrist measures it.
    """

    def __init__(self, settings: str, pixels: bool = False) -> None:
        self._url, self._pixels = read_settings(settings).arms[0].server, pixels
        self._scale = read_settings(settings).arms[0].translation_scale
        super().__init__(settings, "single-arm-learned-gripper")
        if pixels:
            seen = CameraSettings(name=WRIST_CAMERA, uvc=0)
            self._cameras.append(RobotCamera(seen, SIDE, lambda _: _Eye(self._url)))
            self._opened.callback(self._cameras[0].close)
            image = gymnasium.spaces.Box(0, 255, (SIDE, SIDE, 3), np.uint8)
            self.observation_space = gymnasium.spaces.Dict({**self.observation_space.spaces, WRIST_CAMERA: image})

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Lays the object somewhere else, and starts an episode."""
        gymnasium.Env.reset(self, seed=seed)
        place = np.array(RESET_POSE[:2]) + self.np_random.uniform(-SPREAD, SPREAD)
        _ask(self._url, "place", place.tolist())
        return super().reset(options=options)

    def expert_action(self) -> np.ndarray:
        """The action (7,): goes over the object, down, closes and lifts; opens after a miss."""
        position, is_held = self._object()
        state = self._arms[0].state
        way, gripper = position - state.pose[:3], 0.0
        if is_held:
            way = np.array([0.0, 0.0, self._scale])
        elif state.gripper < OPEN_FROM:
            way, gripper = np.zeros(3), 1.0
        elif np.abs(way[:2]).max() > REACH[0] / 2:
            way[2] += APPROACH_HEIGHT
        elif abs(way[2]) < REACH[2] / 2:
            way, gripper = np.zeros(3), -1.0
        motion = np.concatenate([np.clip(way / self._scale, -1.0, 1.0), np.zeros(3)])
        motion = np.linalg.solve(tool_to_base(state.pose, self._settings.frame), motion)
        return np.append(motion / max(1.0, np.abs(motion).max()), gripper).astype(np.float32)

    def _object(self) -> tuple[np.ndarray, bool]:
        answer = json.loads(_ask(self._url, "object"))
        return np.array(answer["position"]), answer["is_held"]

    def _vector(self) -> np.ndarray:
        if self._pixels:
            return super()._vector()
        pose = self._arms[0].state.pose
        offset = Rotation.from_quat(pose[3:]).inv().apply(self._object()[0] - pose[:3])
        return np.append(super()._vector(), offset).astype(np.float32)

    def _observe(self) -> tuple[Observation, dict[str, Any]]:
        observation, info = super()._observe()
        position, is_held = self._object()
        return observation, info | {"success": is_held and bool(position[2] > TABLE_HEIGHT + LIFTED)}


class _Eye:
    """Camera that looks at the arm and the object."""

    def __init__(self, url: str) -> None:
        self._url = url

    def read(self) -> np.ndarray:
        """The next frame (SIDE, SIDE, 3)."""
        time.sleep(1.0 / FRAMES_PER_SECOND)
        return np.frombuffer(_ask(self._url, "view"), np.uint8).reshape(SIDE, SIDE, 3)

    def close(self) -> None:
        """Has nothing to free."""


def _ask(url: str, route: str, body: Any = None) -> bytes:
    connection = HTTPConnection(urlsplit(url).netloc, timeout=5.0)
    try:
        connection.request("POST", f"/{route}", json.dumps(body))
        return connection.getresponse().read()
    finally:
        connection.close()
