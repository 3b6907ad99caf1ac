"""Settings of a LeRobot arm: its motions, limits, rest pose, cameras and leader."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from serl_robot.spaces import SETUP_MODES, UnservableEnv

STEPS_OF_LEAD = 4.0
"""Lead of a joint in steps, where the settings name none."""


@dataclass(frozen=True)
class LeRobotSettings:
    """Settings of a LeRobot arm.

    Joints go by their names in the robot's action, without `.pos`, and have its units: degrees, or per cent of a range.
    A setting by joint is one number for all of them, or a dict with a number for each.

    Attributes:
        hz: steps a second.
        setup_mode: layout of the action, such as `single-arm-learned-gripper`.
        motion: `joints` for actions that are differences of joints, `tip` for shifts of the tip (x, y, z).
        joints: joints that the policy moves, without grippers; empty for all. The others keep their rest pose.
        grippers: grippers; empty for the joints whose name ends in `gripper`.
        step: greatest motion of a joint in a step, which is an action of 1; also in motions of the tip.
        lead: greatest distance of a joint's target from its measured place; 0 for four steps.
        limits: least and greatest place by joint.
        gripper_open: place of an open gripper.
        gripper_closed: place of a closed gripper.
        gripper_step: greatest motion of a gripper in a step.
        gripper_lead: greatest distance of a gripper's target from its measured place, which limits its force.
        gripper_penalty: penalty of closing what is closed, or opening what is open; 0.02 is the original's.
        urdf: URDF file of one arm, for motions of its tip; its joints have the robot's names.
        tip_frame: name of the tip in this file.
        tip_step: greatest motion of the tip in a step along an axis, in metres.
        tip_low: least x, y, z of the tip in metres from the base; empty for no limit.
        tip_high: greatest x, y, z.
        rest: place by joint at which an episode begins; joints without one keep the place they had at the start.
        rest_via: poses through which the arm goes to it, in order.
        rest_noise: greatest random distance from it, by joint.
        rest_speed: speed on the way to it, in units of the joints a second.
        rest_tolerance: greatest distance from it at which it counts as reached.
        rest_seconds: time limit for each pose, beyond the time of the way at this speed.
        wait_for_person: whether to wait in a reset until a person presses Enter in the robot's terminal.
        episode_seconds: time limit of an episode, whose steps count as 1/hz; 0 for none.
        cameras: cameras to send; empty for all of the robot's with colours.
        crop: rectangle by camera as top, left, height and width in pixels.
        image_size: height and width of the images that are sent, in pixels.
        frozen_after: seconds after which a camera whose image stays the same to the last bit has frozen; 0 for never.
        extra_state: other numbers of the robot's observation that belong in the state, and what to divide them by.
        takeover: `match` to refuse a leader arm that is not where the robot is, `follow` to go to it at bounded speed.
        tolerance: greatest distance of a leader's joint from the robot's at which `match` takes over.
        pose_gain: metres of the tip for a metre of a hand that gives poses.
        person_judges: whether success and failure come from a person's key or button; False for a reward classifier.
        observe_after: seconds from a command to the observation of its effect; 0 for half a period.
        seen_from: side from which the cameras look at the robot.
    """

    hz: float = 10.0
    setup_mode: str = "single-arm-learned-gripper"
    motion: str = "joints"
    joints: list[str] = field(default_factory=list)
    grippers: list[str] = field(default_factory=list)
    step: float | dict[str, float] = 4.0
    lead: float | dict[str, float] = 0.0
    limits: dict[str, list[float]] = field(default_factory=dict)
    gripper_open: float = 100.0
    gripper_closed: float = 0.0
    gripper_step: float = 25.0
    gripper_lead: float = 30.0
    gripper_penalty: float = 0.02
    urdf: str = ""
    tip_frame: str = "gripper_frame_link"
    tip_step: float = 0.01
    tip_low: list[float] = field(default_factory=list)
    tip_high: list[float] = field(default_factory=list)
    rest: dict[str, float] = field(default_factory=dict)
    rest_via: list[dict[str, float]] = field(default_factory=list)
    rest_noise: dict[str, float] = field(default_factory=dict)
    rest_speed: float = 45.0
    rest_tolerance: float = 8.0
    rest_seconds: float = 3.0
    wait_for_person: bool = False
    episode_seconds: float = 0.0
    cameras: list[str] = field(default_factory=list)
    crop: dict[str, list[int]] = field(default_factory=dict)
    image_size: int = 128
    frozen_after: float = 2.0
    extra_state: dict[str, float] = field(default_factory=dict)
    takeover: str = "match"
    tolerance: float | dict[str, float] = 10.0
    pose_gain: float = 1.0
    person_judges: bool = True
    observe_after: float = 0.0
    seen_from: str = "behind"

    def __post_init__(self) -> None:
        """Checks what is wrong for every robot.

        Raises:
            UnservableEnv: a value is out of its limits.
        """
        _one_of("setup_mode", self.setup_mode, SETUP_MODES)
        _one_of("motion", self.motion, ("joints", "tip"))
        _one_of("takeover", self.takeover, ("match", "follow"))
        _one_of("seen_from", self.seen_from, ("behind", "left", "front", "right"))
        for name in ABOVE_ZERO:
            _check_numbers(name, getattr(self, name), above=True)
        for name in ZERO_OR_MORE:
            _check_numbers(name, getattr(self, name), above=False)
        for name, pair in self.limits.items():
            if len(pair) != 2 or not pair[0] < pair[1]:
                raise UnservableEnv(f"limits of {name} are {pair}: give the least and the greatest place.")
        if self.gripper_open == self.gripper_closed:
            raise UnservableEnv(f"gripper_open and gripper_closed are both {self.gripper_open:g}: make them different.")
        self._check_tip()

    def _check_tip(self) -> None:
        if self.motion == "tip" and not self.urdf:
            raise UnservableEnv("motion is tip, which needs the arm's URDF file: give urdf, or choose motion joints.")
        if (len(self.tip_low), len(self.tip_high)) not in ((0, 0), (3, 3)):
            raise UnservableEnv(
                "tip_low and tip_high need three numbers each, x, y and z in metres; or leave out both."
            )
        if any(not low < high for low, high in zip(self.tip_low, self.tip_high)):
            raise UnservableEnv(f"tip_low is {self.tip_low}, not below tip_high, {self.tip_high}.")

    @property
    def period(self) -> float:
        """Seconds of a step."""
        return 1.0 / self.hz

    @property
    def arms(self) -> int:
        """Number of arms."""
        return 2 if self.setup_mode.startswith("dual") else 1

    @property
    def has_learned_gripper(self) -> bool:
        """True where a gripper is a part of the action."""
        return self.setup_mode.endswith("learned-gripper")

    def of_joints(self, name: str, joints: list[str]) -> list[float]:
        """A setting by joint, in the order of the joints.

        Raises:
            UnservableEnv: it lacks a joint.
        """
        value = getattr(self, name)
        if not isinstance(value, dict):
            return [float(value)] * len(joints)
        missing = [joint for joint in joints if joint not in value]
        if missing:
            raise UnservableEnv(f"{name} has no number for {', '.join(missing)}: give all, or one number for all.")
        return [float(value[joint]) for joint in joints]


ABOVE_ZERO = (
    *("hz", "step", "gripper_step", "gripper_lead", "tip_step", "rest_speed", "rest_tolerance", "rest_seconds"),
    *("image_size", "extra_state", "tolerance", "pose_gain"),
)
"""Settings that are above 0."""
ZERO_OR_MORE = ("lead", "gripper_penalty", "rest_noise", "episode_seconds", "observe_after", "frozen_after")
"""Settings that are 0 or more."""


def _one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise UnservableEnv(f"{name} is {value!r}; it must be one of {', '.join(choices)}.")


def _check_numbers(name: str, value: Any, above: bool) -> None:
    for number in value.values() if isinstance(value, dict) else [value]:
        if not math.isfinite(number) or number < 0 or (above and number == 0):
            raise UnservableEnv(f"{name} is {value}; it must be {'above 0' if above else '0 or more'}.")
