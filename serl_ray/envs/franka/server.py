"""Client of the original's server of one Franka arm (`robot_servers/franka_server.py` of HIL-SERL).

Every route is a POST. `http.client` of the standard library serves it: the server, Flask's development one, closes a
connection after each answer, so that nothing is gained by keeping any; and with a connection for each request, another
thread may stop the arm while a request of the first one hangs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from serl_ray.data.episodes import EnvFault, FaultKind

MAX_ANSWER = 1 << 20
"""Greatest length of an answer in bytes; a state has about 2 kB."""
GRIPPER = "gripper_pos"
STATE_SHAPES = {"pose": (7,), "vel": (6,), "force": (3,), "torque": (3,), "q": (7,), GRIPPER: ()}
"""Parts of a state that are used, with their shapes."""
QUATERNION_TOLERANCE = 0.01


@dataclass(frozen=True)
class ArmState:
    """Measured state of an arm, in the base's frame.

    Attributes:
        pose: position in metres and quaternion x, y, z, w of the tool (7,).
        vel: velocity of the tool (6,), m/s and rad/s.
        force: external force in the stiffness frame (3,), N.
        torque: external torque in the stiffness frame (3,), Nm.
        q: joint angles (7,), rad.
        gripper: opening of the gripper, 0 closed to 1 open.
    """

    pose: np.ndarray
    vel: np.ndarray
    force: np.ndarray
    torque: np.ndarray
    q: np.ndarray
    gripper: float


class FrankaServer:
    """One arm, by its server.

    All methods raise EnvFault, with one sentence, where the server does not do what it should.

    Args:
        url: address, http://HOST:PORT.
        timeout: seconds that an answer may take.
    """

    def __init__(self, url: str, timeout: float) -> None:
        self.url = url
        self._timeout = timeout
        parts = urlsplit(url)
        self._host, self._port, self._path = str(parts.hostname), parts.port or 80, parts.path

    def state(self) -> ArmState:
        """The arm's newest state."""
        arrays = self._arrays("getstate", STATE_SHAPES)
        return ArmState(
            **{name: arrays[name] for name in STATE_SHAPES if name != GRIPPER}, gripper=float(arrays[GRIPPER])
        )

    def move(self, pose: np.ndarray) -> None:
        """Clears errors, and makes a pose (7,) the target of the impedance controller."""
        self.clear()
        self._post("pose", {"arr": np.asarray(pose, np.float32).tolist()})

    def hold(self) -> None:
        """Makes the present pose the target, so that the controller holds the arm where it is."""
        self.move(self._arrays("getpos", {"pose": STATE_SHAPES["pose"]})["pose"])  # whatever its other sensors say

    def clear(self) -> None:
        """Takes the arm out of an error state."""
        self._post("clearerr")

    def set_parameters(self, parameters: Mapping[str, float]) -> None:
        """Changes parameters of the impedance controller."""
        if parameters:
            self._post("update_param", dict(parameters))

    def reset_joints(self, timeout: float) -> None:
        """Moves the joints to their rest position, which takes up to `timeout` seconds."""
        self._post("jointreset", timeout=timeout)

    def open_gripper(self) -> None:
        """Begins to open the gripper."""
        self._post("open_gripper")

    def close_gripper(self) -> None:
        """Begins to close the gripper."""
        self._post("close_gripper")

    def _post(self, route: str, body: Mapping[str, Any] | None = None, timeout: float | None = None) -> bytes:
        seconds = timeout or self._timeout
        connection = HTTPConnection(self._host, self._port, timeout=seconds)
        headers = {"Content-Type": "application/json"} if body is not None else {}
        text = None if body is None else json.dumps(body)
        try:
            connection.request("POST", f"{self._path}/{route}", text, headers)
            response = connection.getresponse()
            answer = response.read(MAX_ANSWER)
        except TimeoutError as error:
            raise self._fault("timeout", route, f"did not answer within {seconds:g} s: is its robot locked?") from error
        except (OSError, HTTPException) as error:
            text = f"cannot be reached ({type(error).__name__}: {error}): is it running, and is `server` its address?"
            raise self._fault("error", route, text) from error
        finally:
            connection.close()
        if response.status != 200:
            text = f"answered {response.status} {response.reason}: see its log, and whether it is the Franka server."
            raise self._fault("error", route, text)
        return answer

    def _arrays(self, route: str, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
        """The arrays of these names and shapes that a route answers."""
        answer = self._post(route)
        try:
            fields = json.loads(answer)
        except (ValueError, RecursionError) as error:
            raise self._fault("wrong_result", route, "gave no JSON: is it the Franka server?") from error
        if not isinstance(fields, dict) or (missing := [name for name in shapes if name not in fields]):
            lacking = ", ".join(missing) if isinstance(fields, dict) else "any names"
            raise self._fault("wrong_result", route, f"gave a state without {lacking}: is it the Franka server?")
        arrays = {name: self._array(route, name, fields[name], shape) for name, shape in shapes.items()}
        norm = float(np.linalg.norm(arrays["pose"][3:]))
        if abs(norm - 1.0) > QUATERNION_TOLERANCE:
            raise self._fault("wrong_result", route, f"gave a pose whose quaternion has the length {norm:.3g}, not 1.")
        return arrays

    def _array(self, route: str, name: str, value: Any, shape: tuple[int, ...]) -> np.ndarray:
        try:
            array = np.array(value, np.float64)
        except (ValueError, TypeError) as error:
            text = f"gave `{name}` that is not numbers: {value!r:.60}."
            raise self._fault("wrong_result", route, text) from error
        if array.shape != shape:
            raise self._fault("wrong_shape", route, f"gave `{name}` of shape {array.shape}, not {shape}.")
        if not np.isfinite(array).all():
            text = f"gave `{name}` with NaN or infinity: {array.tolist()}. Check the sensor, and restart the server."
            raise self._fault("not_finite", route, text)
        return array

    def _fault(self, kind: FaultKind, route: str, text: str) -> EnvFault:
        return EnvFault(kind, f"The arm's server {self.url}/{route} {text}")
