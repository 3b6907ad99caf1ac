"""Places of a robot's joints and grippers in its actions."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Sequence

import numpy as np

from serl_robot.lerobot.settings import STEPS_OF_LEAD, LeRobotSettings
from serl_robot.spaces import UnservableEnv

SIDES = (re.compile(r"(left|l)_"), re.compile(r"(right|r)_"))
"""Beginnings of the names of the left and the right arm's joints."""
UNLIMITED_SCALE = 100.0
"""Divisor of a joint without limits, whose places are degrees or per cent."""


@dataclass(frozen=True)
class Arm:
    """An arm; indices count the robot's joints.

    Attributes:
        joints: indices of the joints that the policy moves.
        gripper: index of its gripper, if that is a part of the action.
    """

    joints: list[int]
    gripper: int | None


class Layout:
    """The joints of a robot by arms, with the limits of each.

    Args:
        names: names of the robot's P joints.
        settings: settings of the robot.

    Attributes:
        arms: its arms, left before right.
        moving: indices of all joints that the policy moves.
        grippers: indices of all grippers.
        step: greatest motion in a step (P,).
        lead: greatest distance of the target from the measured place (P,).
        low: least place (P,); minus infinity where there is no limit.
        high: greatest place (P,).

    Raises:
        UnservableEnv: the settings name other joints, or do not fit the arms.
    """

    def __init__(self, names: Sequence[str], settings: LeRobotSettings) -> None:
        self.names = list(names)
        self._check_names(settings)
        grippers = settings.grippers or [name for name in names if name.endswith("gripper")]
        moving = settings.joints or [name for name in names if name not in grippers]
        self.grippers = [self.names.index(name) for name in grippers]
        self.arms = [
            Arm([self.names.index(name) for name in joints], self._gripper_of(grips, settings))
            for joints, grips in zip(_by_arm(moving, settings.arms), _by_arm(grippers, settings.arms))
        ]
        self.moving = [index for arm in self.arms for index in arm.joints]
        self._set_limits(settings)

    def _check_names(self, settings: LeRobotSettings) -> None:
        for setting in ("joints", "grippers", "limits", "rest", "rest_noise", "rest_via"):
            value = getattr(settings, setting)
            used = [name for pose in value for name in pose] if setting == "rest_via" else list(value)
            unknown = [name for name in used if name not in self.names]
            if unknown:
                raise UnservableEnv(
                    f"{setting} names {', '.join(unknown)}; the robot's joints are {', '.join(self.names)}."
                )

    def _gripper_of(self, grippers: list[str], settings: LeRobotSettings) -> int | None:
        if not settings.has_learned_gripper:
            return None
        if len(grippers) != 1:
            raise UnservableEnv(
                f"An arm has {len(grippers)} grippers ({', '.join(grippers) or 'none'}), and setup_mode is "
                f"{settings.setup_mode}, which needs one: name it by `grippers`, or choose a fixed gripper."
            )
        return self.names.index(grippers[0])

    def _set_limits(self, settings: LeRobotSettings) -> None:
        moving = [self.names[index] for index in self.moving]
        step, lead = (np.array(settings.of_joints(name, moving)) for name in ("step", "lead"))
        lead = np.where(lead == 0, STEPS_OF_LEAD * step, lead)
        too_small = [name for name, small in zip(moving, lead < 2 * step) if small]
        if too_small:
            raise UnservableEnv(f"lead is less than two steps for {', '.join(too_small)}: the joint would hardly move.")
        self.step, self.lead = np.full(len(self.names), step.max()), np.full(len(self.names), lead.max())
        self.step[self.moving], self.lead[self.moving] = step, lead
        self.step[self.grippers], self.lead[self.grippers] = settings.gripper_step, settings.gripper_lead
        limits = [settings.limits.get(name, [-np.inf, np.inf]) for name in self.names]
        self.low, self.high = np.array(limits, np.float64).T

    def scaled(self, places: np.ndarray) -> np.ndarray:
        """Places (P,) of joints as numbers of about 1: the limits become -1 and 1."""
        is_limited = np.isfinite(self.low) & np.isfinite(self.high)
        low, high = np.where(is_limited, [self.low, self.high], [[-UNLIMITED_SCALE], [UNLIMITED_SCALE]])
        scaled: np.ndarray = (2 * places - low - high) / (high - low)
        return scaled

    def limited(self, target: np.ndarray, before: np.ndarray, measured: np.ndarray) -> np.ndarray:
        """The nearest target (P,) that may be sent.

        Args:
            target: wanted target (P,).
            before: target that was sent last (P,); the arm goes at most a step from it, along a straight line.
            measured: measured places (P,), at most the lead away. A joint outside its limits goes only inwards.
        """
        motion = target - before
        parts = np.abs(motion[self.moving]) / self.step[self.moving]
        motion[self.moving] /= max(1.0, parts.max())
        low, high = np.minimum(self.low, before), np.maximum(self.high, before)
        return np.clip(np.clip(before + motion, low, high), measured - self.lead, measured + self.lead)


def _by_arm(names: Sequence[str], arms: int) -> list[list[str]]:
    """The names by arm; with two arms, by the beginnings of their names."""
    if arms == 1:
        return [list(names)]
    sides = [[name for name in names if side.match(name)] for side in SIDES]
    if len(sides[0]) != len(sides[1]) or sum(map(len, sides)) != len(names):
        raise UnservableEnv(
            f"setup_mode has two arms, and the robot's joints are {', '.join(names)}: equally many must begin with "
            "left_ and right_. Choose a set-up with one arm, or name the joints by `joints`."
        )
    return sides
