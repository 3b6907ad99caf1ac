"""LeRobot's teleoperators as wishes for an arm's joints: leader arms, deltas of the tip, and poses of a hand."""

from __future__ import annotations

from typing import Any, Mapping, NamedTuple, Protocol, Sequence

import numpy as np

from serl_robot.lerobot.body import PLACE
from serl_robot.lerobot.jaw import THRESHOLD
from serl_robot.lerobot.layout import Layout
from serl_robot.lerobot.motion import Tip
from serl_robot.lerobot.settings import LeRobotSettings
from serl_robot.spaces import UnservableEnv

OPENS_FROM, CLOSES_TO = 0.65, 0.35
"""Opening of a leader's gripper, in [0, 1], from which it opens the robot's, and to which it closes it."""
GRIPPER_NUMBERS = {0: -1, 1: 0, 2: 1}
"""Commands of LeRobot's deltas for a gripper (close, stay, open) as numbers of an action."""


class Wish(NamedTuple):
    """A person's wish in a step.

    Attributes:
        joints: wanted places (P,) of the robot's joints.
        grips: command by arm: -1 close, 0 none, 1 open.
    """

    joints: np.ndarray
    grips: list[int]


class Device(Protocol):
    """A teleoperator. It is polled in every step, and read while a person drives."""

    @property
    def is_held(self) -> bool | None:
        """True while the device itself says that a person drives; None if it cannot tell."""

    def poll(self) -> None:
        """Reads the teleoperator."""

    def refusal(self, measured: np.ndarray) -> str:
        """The reason why a person cannot take over with joints at `measured` (P,); empty if they can."""

    def begin(self, targets: np.ndarray) -> None:
        """Begins an intervention with the robot at `targets` (P,)."""

    def wish(self, targets: np.ndarray) -> Wish:
        """The wish for the step after `targets` (P,), which were sent last."""


class Leader:
    """A leader arm, or two: absolute places of joints.

    Args:
        teleop: teleoperator with the robot's joints.
        layout: joints of the robot.
        settings: settings of the robot.
    """

    is_held = None

    def __init__(self, teleop: Any, layout: Layout, settings: LeRobotSettings) -> None:
        self._teleop, self._layout, self._takeover = teleop, layout, settings.takeover
        self._range = settings.gripper_closed, settings.gripper_open
        names = [layout.names[index] for index in layout.moving]
        self._tolerance = np.array(settings.of_joints("tolerance", names))
        self._places: dict[str, float] = {}
        self._before: list[int | None] = [None] * len(layout.arms)

    def poll(self) -> None:
        """Reads the leader's joints."""
        action = self._teleop.get_action()
        self._places = {name: float(action[name + PLACE]) for name in self._layout.names if name + PLACE in action}

    def refusal(self, measured: np.ndarray) -> str:
        """The joints of the leader that are too far from the robot's, and by how much."""
        if self._takeover == "follow":
            return ""
        moving = self._layout.moving
        names = [self._layout.names[index] for index in moving]
        distances = np.array([self._places[name] for name in names]) - measured[moving]
        far = [
            f"{name} by {abs(distance):.0f} ({'lower' if distance > 0 else 'raise'} its number from "
            f"{self._places[name]:.0f} to {place:.0f})"
            for name, distance, place, most in zip(names, distances, measured[moving], self._tolerance)
            if not abs(distance) <= most
        ]
        return f"The leader is not where the robot is: {'; '.join(far)}." if far else ""

    def begin(self, targets: np.ndarray) -> None:
        """Begins an intervention: until a gripper of the leader is moved, the robot's keeps what it holds."""
        self._before = list(self._grips())

    def wish(self, targets: np.ndarray) -> Wish:
        """The places of the leader's joints, and the commands of its grippers."""
        joints = targets.copy()
        for index in self._layout.moving:
            joints[index] = self._places[self._layout.names[index]]
        grips = self._grips()
        self._before = [was if was == grip else None for was, grip in zip(self._before, grips)]
        return Wish(joints, [grip if was is None else 0 for was, grip in zip(self._before, grips)])

    def _grips(self) -> list[int]:
        return [self._grip(arm.gripper) for arm in self._layout.arms]

    def _grip(self, gripper: int | None) -> int:
        place = None if gripper is None else self._places.get(self._layout.names[gripper])
        if place is None:
            return 0
        closed, opened = self._range
        opening = (place - closed) / (opened - closed)
        return int(opening >= OPENS_FROM) - int(opening <= CLOSES_TO)


class Deltas:
    """A device that shifts the tip of one arm: a gamepad, or a keyboard.

    Args:
        teleop: teleoperator with `delta_x`, `delta_y`, `delta_z`, and perhaps `gripper`.
        layout: joints of the robot.
        tip: tip of the arm.
    """

    is_held = None

    def __init__(self, teleop: Any, layout: Layout, tip: Tip) -> None:
        self._teleop, self._arm, self._tip = teleop, layout.arms[0], tip
        self._action: Mapping[str, Any] = {}

    def poll(self) -> None:
        """Reads the device."""
        self._action = self._teleop.get_action()

    def refusal(self, measured: np.ndarray) -> str:
        """An empty text: a shift is from where the robot is."""
        return ""

    def begin(self, targets: np.ndarray) -> None:
        """Begins an intervention; a shift needs nothing for it."""

    def wish(self, targets: np.ndarray) -> Wish:
        """The joints with the tip shifted by at most its step along each axis."""
        shift = np.array([float(self._action.get(f"delta_{axis}", 0.0)) for axis in "xyz"])
        joints = _shifted(targets, self._arm.joints, self._tip, np.clip(shift, -1.0, 1.0) * self._tip.step)
        return Wish(joints, [GRIPPER_NUMBERS.get(int(self._action.get("gripper", 1)), 0)])


class Poses:
    """A device that gives the pose of a hand while it is enabled, such as a phone: the tip follows its motion.

    Args:
        teleop: teleoperator with `NAME.pos` and `NAME.enabled`.
        name: this name.
        layout: joints of the robot.
        tip: tip of the arm.
        gain: metres of the tip for a metre of the hand.
    """

    def __init__(self, teleop: Any, name: str, layout: Layout, tip: Tip, gain: float) -> None:
        self._teleop, self._name, self._arm, self._tip, self._gain = teleop, name, layout.arms[0], tip, gain
        self._action: Mapping[str, Any] = {}
        self._hand, self._place = np.zeros(3), np.zeros(3)

    @property
    def is_held(self) -> bool:
        """True while the device is enabled, which is its clutch."""
        return bool(self._action.get(f"{self._name}.enabled", False))

    def poll(self) -> None:
        """Reads the device."""
        self._action = self._teleop.get_action() or {}

    def refusal(self, measured: np.ndarray) -> str:
        """An empty text: a motion is from where the hand and the robot are."""
        return ""

    def begin(self, targets: np.ndarray) -> None:
        """Begins an intervention with the hand where it is."""
        self._hand, self._place = self._hands_place(), self._tip.place(targets[self._arm.joints])

    def wish(self, targets: np.ndarray) -> Wish:
        """The joints with the tip as far from where it was taken over as the hand."""
        wanted = self._place + self._gain * (self._hands_place() - self._hand)
        here = self._tip.place(targets[self._arm.joints])
        shift = np.clip(wanted - here, -self._tip.step, self._tip.step)
        return Wish(_shifted(targets, self._arm.joints, self._tip, shift), [self._grip()])

    def _hands_place(self) -> np.ndarray:
        """Place of the hand with the robot's axes (x forward, y left, z up), for a phone's (x right, y back, z up)."""
        x, y, z = np.asarray(self._action[f"{self._name}.pos"], np.float64)
        return np.array([-y, x, z])

    def _grip(self) -> int:
        inputs = self._action.get(f"{self._name}.raw_inputs") or {}
        buttons = float(inputs.get("reservedButtonA", 0.0)) - float(inputs.get("reservedButtonB", 0.0))
        value = float(inputs.get("a3", 0.0)) + buttons
        return int(value >= THRESHOLD) - int(value <= -THRESHOLD)


def make_device(teleop: Any, layout: Layout, tips: Sequence[Tip], settings: LeRobotSettings) -> Device:
    """The device that a teleoperator is, by the names of its action.

    Raises:
        UnservableEnv: nothing is known about such an action, or the robot lacks what it needs.
    """
    features = teleop.action_features or {}
    names = list(features["names"]) if isinstance(features.get("names"), Mapping) else list(features)
    kind = getattr(teleop, "name", type(teleop).__name__)
    if all(layout.names[index] + PLACE in names for index in layout.moving):
        return Leader(teleop, layout, settings)
    poses = [name[: -len(PLACE)] for name in names if name.endswith(PLACE)]
    poses = [name for name in poses if f"{name}.enabled" in names]
    if "delta_x" not in names and not poses:
        missing = [layout.names[index] for index in layout.moving if layout.names[index] + PLACE not in names]
        raise UnservableEnv(
            f"The teleoperator {kind} gives {', '.join(map(str, names))}: neither delta_x, delta_y, delta_z, nor a "
            f"pose with a clutch, nor the robot's joints ({', '.join(missing)} are missing)."
        )
    if len(layout.arms) != 1 or not tips:
        reason = "it moves one arm, and this robot has two" if len(layout.arms) != 1 else "that needs the arm's urdf"
        raise UnservableEnv(f"The teleoperator {kind} moves the tip of an arm; {reason}.")
    if poses:
        return Poses(teleop, poses[0], layout, tips[0], settings.pose_gain)
    return Deltas(teleop, layout, tips[0])


def _shifted(targets: np.ndarray, joints: list[int], tip: Tip, shift: np.ndarray) -> np.ndarray:
    wanted = targets.copy()
    if np.any(shift):
        wanted[joints] = tip.moved(targets[joints], shift)
    return wanted
