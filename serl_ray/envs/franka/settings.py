"""Settings of the Franka env, read from one YAML file (docs/franka.md)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar
from urllib.parse import urlsplit

import numpy as np
from annotated_types import Ge, Gt, Interval
from pydantic import AfterValidator, Field, FiniteFloat, model_validator

from serl_ray.data.observations import STATE
from serl_ray.envs.franka.box import SafetyBox
from serl_ray.envs.franka.frames import FrameKind
from serl_ray.files.yaml import read_yaml
from serl_ray.types import GRASP_PENALTY
from serl_ray.utils.options import OptionError, Options, naming

Seconds = Annotated[FiniteFloat, Interval(ge=0.0, le=60.0)]
PROPRIO = ("gripper_pose", "tcp_force", "tcp_pose", "tcp_torque", "tcp_vel")
"""Parts of an arm's state, in their order, which is alphabetical as the original's."""
Group = TypeVar("Group", bound=Options)


def _six(numbers: tuple[float, ...] | None) -> tuple[float, ...] | None:
    if numbers is not None and len(numbers) != 6:
        raise ValueError(f"it has {len(numbers)} numbers, and needs 6: x, y, z in metres, three angles in radians.")
    return numbers


def _parts(names: tuple[str, ...]) -> tuple[str, ...]:
    if not names or not set(names) <= set(PROPRIO):
        raise ValueError(f"choose from {', '.join(PROPRIO)}.")
    return names


def _checked_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise ValueError("it must be http://HOST:PORT, the address of the arm's server.")
    return url.rstrip("/")


Six = Annotated[tuple[FiniteFloat, ...], AfterValidator(_six)]
"""A pose: x, y, z in metres and extrinsic Euler angles x, y, z in radians."""
MaybeSix = Annotated[tuple[FiniteFloat, ...] | None, AfterValidator(_six)]


class ArmSettings(Options):
    """One arm: its server, and where it may go."""

    title: ClassVar[str] = "arm"

    server: Annotated[str, AfterValidator(_checked_url)]
    """Address of the arm's server, http://HOST:PORT; the original's port is 5000."""
    translation_scale: Annotated[FiniteFloat, Interval(gt=0.0, le=0.1)]
    """Metres by which a full-scale action moves the target along an axis."""
    rotation_scale: Annotated[FiniteFloat, Interval(gt=0.0, le=0.5)]
    """Radians by which a full-scale action turns the target about an axis."""
    box_low: Six
    """Lower limits of the target's pose; the first Euler angle is taken by its absolute value."""
    box_high: Six
    """Upper limits of the target's pose; the first Euler angle is taken by its absolute value."""
    reset_pose: Six
    """Pose in which every episode begins."""
    random_xy: Annotated[FiniteFloat, Interval(ge=0.0, le=0.3)] = 0.0
    """Metres by which the reset pose is moved at random along x and y, to both sides."""
    random_yaw: Annotated[FiniteFloat, Interval(ge=0.0, le=3.2)] = 0.0
    """Radians by which the third Euler angle of the reset pose is changed at random, to both sides."""
    target_pose: MaybeSix = None
    """Pose that is a success; None where a classifier or the operator decides."""
    target_tolerance: MaybeSix = None
    """Distances from the target pose, by axis, below which it is reached: metres and radians."""
    compliance: dict[str, FiniteFloat] = Field(default_factory=dict)
    """Parameters of the impedance controller while the policy acts, as the server's /update_param takes them."""
    precision: dict[str, FiniteFloat] = Field(default_factory=dict)
    """Parameters of the impedance controller during a reset."""

    @model_validator(mode="after")
    def _check_together(self) -> ArmSettings:
        box = SafetyBox(self.box_low, self.box_high)
        reach = np.array([self.random_xy, self.random_xy, 0.0, 0.0, 0.0, self.random_yaw])
        for pose in (np.array(self.reset_pose) - reach, np.array(self.reset_pose) + reach):
            if (outside := np.flatnonzero(box.overshoot(pose) > 1e-9)).size:
                axis = outside[0]
                raise ValueError(
                    f"reset_pose[{axis}] reaches {pose[axis]:g} with its random part, outside the box of "
                    f"{self.box_low[axis]:g} to {self.box_high[axis]:g}: move the pose or widen the box."
                )
        if (self.target_pose is None) != (self.target_tolerance is None):
            raise ValueError("target_pose and target_tolerance belong together: give both, or neither.")
        return self


class CameraSettings(Options):
    """One camera: where it is, and what is cut out of its image."""

    title: ClassVar[str] = "camera"

    name: str
    """Name of the camera's observation."""
    realsense: str | None = None
    """Serial number of a RealSense camera, in quotes."""
    uvc: int | str | None = None
    """Number or path of a UVC camera, such as 0 or /dev/video0."""
    width: Annotated[int, Interval(ge=16, le=7680)] = 640
    """Pixels in a row of the camera's own image."""
    height: Annotated[int, Interval(ge=16, le=4320)] = 480
    """Rows of the camera's own image."""
    fps: Annotated[int, Interval(ge=1, le=240)] = 15
    """Frames per second that the camera is asked for."""
    exposure: Annotated[int, Ge(1)] | None = None
    """Exposure in the driver's unit (RealSense: microseconds); None for the camera's automatic one."""
    crop: tuple[int, ...] | None = None
    """Rows and columns that are kept, in pixels: first row, end of rows, first column, end of columns."""
    max_age: Annotated[FiniteFloat, Gt(0.0)] = 0.5
    """Seconds after which the newest frame is too old to act on."""
    frozen_after: Annotated[FiniteFloat, Gt(0.0)] = 2.0
    """Seconds of frames that are equal to the last bit after which the camera counts as frozen."""

    @model_validator(mode="after")
    def _check_source(self) -> CameraSettings:
        if (self.realsense is None) == (self.uvc is None):
            raise ValueError("a camera has either realsense, its serial number, or uvc, its number or path.")
        if self.crop is not None and not self._has_valid_crop(*self.crop[:4]):
            raise ValueError(
                f"crop is {list(self.crop)}: it must be [top, bottom, left, right] with 0 <= top < bottom <= "
                f"{self.height} and 0 <= left < right <= {self.width}."
            )
        return self

    def _has_valid_crop(self, *crop: int) -> bool:
        if len(crop) != 4 or len(self.crop or ()) != 4:
            return False
        top, bottom, left, right = crop
        return 0 <= top < bottom <= self.height and 0 <= left < right <= self.width


class FrankaSettings(Options):
    """One or two arms with their cameras and times."""

    title: ClassVar[str] = "franka"

    arms: tuple[ArmSettings, ...]
    """Arms, one or two; of two the left one first."""
    cameras: tuple[CameraSettings, ...] = ()
    """Cameras; in the file each stands under its name."""
    image_size: Annotated[int, Interval(ge=16, le=1024)] = 128
    """Pixels of the side of an observed image."""
    hz: Annotated[FiniteFloat, Interval(gt=0.0, le=1000.0)] = 10.0
    """Steps per second: a step observes 1 / hz seconds after it began."""
    max_episode_length: Annotated[int, Ge(1)] = 100
    """Number of steps after which an episode is truncated."""
    frame: FrameKind = "hil-serl"
    """Frame of actions, poses and velocities: the original's, the tool's axes alone, or the base's."""
    proprio_keys: Annotated[tuple[str, ...], AfterValidator(_parts)] = PROPRIO
    """Parts of an arm's state that the policy may see; their order is always alphabetical."""
    rewards: bool = True
    """Whether to reward the target pose and end the episode there; else only info tells of it."""
    fixed_gripper: Literal["close", "leave"] = "close"
    """Command in every step to a gripper that is not learned."""
    reset_gripper: Literal["open", "close", "leave"] = "leave"
    """Command to the gripper at the beginning of a reset."""
    gripper_seconds: Seconds = 0.6
    """Seconds after a command in which a gripper takes no other one."""
    grasp_penalty: Annotated[FiniteFloat, Interval(ge=-1.0, le=0.0)] = GRASP_PENALTY
    """Penalty of a useless command to a learned gripper."""
    joint_reset_period: Annotated[int, Ge(0)] = 0
    """Number of resets after which one also moves the joints to their rest position; 0 for never."""
    robot: Literal["panda", "fr3"] = "panda"
    """Robot, whose joint limits are watched."""
    joint_margin: Annotated[FiniteFloat, Interval(ge=0.0, le=0.5)] = 0.02
    """Radians from a joint's limit at which a step is refused."""
    settle_seconds: Seconds = 0.5
    """Seconds of rest during a reset, after the arm was held and after new parameters of the controller."""
    reset_seconds: Seconds = 1.0
    """Shortest duration of the move to the reset pose."""
    reset_speed: Annotated[FiniteFloat, Interval(gt=0.0, le=1.0)] = 0.25
    """Greatest speed of the move to the reset pose, metres per second."""
    reset_tolerance: Annotated[FiniteFloat, Interval(gt=0.0, le=0.5)] = 0.03
    """Metres from the reset pose within which an arm has arrived."""
    arrival_seconds: Seconds = 3.0
    """Seconds after the move to the reset pose within which an arm must arrive."""
    server_timeout: Annotated[FiniteFloat, Interval(gt=0.0, le=60.0)] = 1.0
    """Seconds that a server may take for an answer."""
    joint_reset_timeout: Annotated[FiniteFloat, Interval(gt=0.0, le=600.0)] = 120.0
    """Seconds that a server may take to move the joints to their rest position."""
    lateness: Annotated[FiniteFloat, Gt(0.0)] = 0.1
    """Seconds by which a step may exceed 1 / hz; several later ones in a row are an error."""

    @model_validator(mode="after")
    def _check_whole(self) -> FrankaSettings:
        if len(self.arms) not in (1, 2):
            raise ValueError(f"arms has {len(self.arms)} entries: list one arm or two, each from its `server` on.")
        if len({arm.server for arm in self.arms}) < len(self.arms):
            raise ValueError(f"both arms have the server {self.arms[0].server}: each arm has a server of its own.")
        if len({arm.target_pose is None for arm in self.arms}) == 2:
            raise ValueError("one arm has a target_pose and the other has none: give both one, or neither.")
        if STATE in (camera.name for camera in self.cameras):
            raise ValueError(f"a camera is named {STATE!r}, which is the name of the vector: give it another name.")
        return self


def read_settings(path: str | Path) -> FrankaSettings:
    """The settings in a YAML file.

    Raises:
        FileNotFoundError: there is no such file.
        OptionError: it is not YAML, a setting is unknown or missing, or its value is wrong.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"settings is {path}: there is no such file. docs/franka.md has an example.")
    values = read_yaml(path)
    with naming(path):
        arms, cameras = values.get("arms", ()), values.get("cameras", {})
        if isinstance(arms, list):
            values["arms"] = tuple(_group(ArmSettings, f"arms[{place}]", arm) for place, arm in enumerate(arms))
        if isinstance(cameras, dict):
            values["cameras"] = tuple(
                _group(CameraSettings, f"cameras: {name}", camera, name=name) for name, camera in cameras.items()
            )
        return FrankaSettings(**values)


def _group(cls: type[Group], where: str, given: Any, **more: Any) -> Group:
    with naming(where):
        if not isinstance(given, dict) or not all(isinstance(key, str) for key in given):
            raise OptionError("it holds no settings: write NAME: VALUE, one per line.")
        return cls(**{**given, **more})
