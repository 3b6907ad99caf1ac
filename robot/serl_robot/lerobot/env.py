"""Env of a LeRobot robot and, where there is one, a teleoperator."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any, Callable, Sequence

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict

from serl_robot.lerobot.body import Body, connect
from serl_robot.lerobot.devices import Wish, make_device
from serl_robot.lerobot.jaw import Jaw
from serl_robot.lerobot.keys import Keys
from serl_robot.lerobot.layout import Layout
from serl_robot.lerobot.motion import JointMotion, Tip, TipMotion, kinematics_of
from serl_robot.lerobot.pilot import Pilot, Verdict
from serl_robot.lerobot.rest import Rest
from serl_robot.lerobot.settings import LeRobotSettings
from serl_robot.lerobot.state import State
from serl_robot.lerobot.views import Views

SAME = 0.01
"""Difference of two actions below which they count as the same; the inverse kinematics is not exact."""


class LeRobotEnv(gymnasium.Env):
    """Env of a robot of LeRobot's interface, with images and a `state`, and actions in [-1, 1].

    What the robot's `send_action` returned is the executed action: `info["intervene_action"]` where a person drove, and
    else `info["executed_action"]` where it differs from the given one.

    Args:
        robot: LeRobot's Robot, calibrated; it is connected here.
        teleop: LeRobot's Teleoperator; None without one.
        settings: settings of the robot; None for the defaults.
        kinematics: kinematics of each arm, with `forward_kinematics` and `inverse_kinematics` in degrees; None for
            LeRobot's, where the settings name a URDF file.
        keys: keys of a terminal; None for those of this program's.
        tell: prints a sentence for the person.

    Raises:
        UnservableEnv: the robot, the teleoperator and the settings do not fit; the message says what to change.
    """

    def __init__(
        self,
        robot: Any,
        teleop: Any = None,
        settings: LeRobotSettings | None = None,
        kinematics: Sequence[Any] | None = None,
        keys: Keys | None = None,
        tell: Callable[[str], None] = print,
    ) -> None:
        self._settings = settings or LeRobotSettings()
        self.metadata = {"seen_from": self._settings.seen_from}
        self._body = Body(robot)
        self._layout = Layout(self._body.joints, self._settings)
        self._tips = self._make_tips(robot, kinematics)
        self._motions = [
            TipMotion(self._tips[number])
            if self._settings.motion == "tip"
            else JointMotion(self._layout.step[arm.joints])
            for number, arm in enumerate(self._layout.arms)
        ]
        self._jaws = [Jaw(self._settings) for _ in self._layout.arms]
        self._views = Views(robot.observation_features, self._settings)
        self._state = State(self._layout, self._tips, self._settings)
        self._rest = Rest(self._body, self._layout, self._settings)
        self._pilot = self._make_pilot(teleop, keys, tell)
        self._tell, self._teleop = tell, teleop
        self._targets = self._measured()
        self._steps_left = np.inf
        self._make_spaces()

    def _make_tips(self, robot: Any, kinematics: Sequence[Any] | None) -> list[Tip]:
        if kinematics is None and self._settings.urdf:
            kinematics = [
                kinematics_of(robot, [self._bare(index) for index in arm.joints], self._settings)
                for arm in self._layout.arms
            ]
        return [Tip(each, self._settings) for each in kinematics or []]

    def _bare(self, index: int) -> str:
        """The name of a joint without its arm's."""
        name = self._layout.names[index]
        return name.split("_", 1)[1] if self._settings.arms == 2 else name

    def _make_pilot(self, teleop: Any, keys: Keys | None, tell: Callable[[str], None]) -> Pilot:
        device = None
        if teleop is not None:
            device = make_device(teleop, self._layout, self._tips, self._settings)
            connect(teleop, "teleoperator")
        return Pilot(teleop, device, keys or Keys(), self._settings, tell)

    def _make_spaces(self) -> None:
        size = self._settings.image_size
        images = {name: Box(0, 255, (size, size, 3), np.uint8) for name in self._views.names}
        self.observation_space = Dict({**images, "state": Box(-np.inf, np.inf, (self._state.size,), np.float32)})
        numbers = sum(motion.size for motion in self._motions) + len(self._jaws) * self._settings.has_learned_gripper
        self.action_space = Box(-1.0, 1.0, (numbers,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Brings the arm to its rest pose at bounded speed, and waits for a person where the settings say so.

        Raises:
            RobotFault: the robot does not get there.
            Stopped: it was stopped on the way.
        """
        super().reset(seed=seed)
        self._body.release()
        self._pilot.reset()
        self._body.observe()
        self._targets = self._rest.reach(self.np_random)
        if self._settings.wait_for_person:
            self._tell("Prepare the scene, then press Enter.")
            while not self._pilot.has_begun():
                self._body.wait(self._settings.period)
        self._body.observe()
        for jaw, arm in zip(self._jaws, self._layout.arms):
            if arm.gripper is not None:
                jaw.begin(self._measured()[arm.gripper])
        self._state.begin(self._measured())
        self._steps_left = self._settings.episode_seconds * self._settings.hz or np.inf
        return self._observation(), {}

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Executes the action (n,), or a person's.

        Raises:
            RobotFault: the robot has failed.
            Stopped: it was stopped.
        """
        given = np.clip(np.asarray(action, np.float64).reshape(self.action_space.shape), -1.0, 1.0)
        if not np.isfinite(given).all():
            raise ValueError(f"The action is {given}; give finite numbers.")
        before, measured = self._targets, self._measured()
        wish, verdict = self._pilot.step(before, measured)
        chosen = given if wish is None else self._action_of(before, wish)
        target, useless = self._target_of(before, chosen)
        self._send(self._layout.limited(target, before, measured))
        executed = self._joined(self._numbers(before, self._targets), self._grips(chosen))
        self._body.wait(self._settings.observe_after or self._settings.period / 2)
        self._body.observe()
        self._steps_left -= 1
        info = self._info(given, executed, wish is not None, verdict, useless)
        terminated = verdict.success or verdict.failure
        truncated = not terminated and (verdict.rerecord or self._steps_left < 1)
        return self._observation(), float(verdict.success), terminated, truncated, info

    def hold(self) -> None:
        """Keeps the targets of the last step, at which a position controller stands still."""
        self._send(self._targets)

    def stop(self) -> None:
        """Keeps the arm where it is at this moment, under torque."""
        self._body.stop()

    def twist_to_action(self, arm: int, twist: np.ndarray, frame: str) -> np.ndarray:
        """The numbers of an arm for a shift of its tip; turns are left out. Without kinematics they are the twist's."""
        if not self._tips:
            numbers = np.zeros(self._motions[arm].size)
            numbers[: len(twist)] = np.asarray(twist)[: len(numbers)]
            return numbers
        tip, joints = self._tips[arm], self._targets[self._layout.arms[arm].joints]
        shift = np.asarray(twist[:3], np.float64) * tip.step
        if not shift.any():
            return np.zeros(self._motions[arm].size)
        return self._motions[arm].numbers(joints, tip.moved(joints, shift, frame == "tool"))

    def live_frames(self) -> dict[str, np.ndarray]:
        """The newest images by camera, unless a command is under way."""
        self._body.glance()
        return self._views.images(self._body.last)

    def render(self) -> Any:
        """The image of the first camera."""
        return self._views.images(self._body.last)[self._views.names[0]] if self._views.names else None

    def close(self) -> None:
        """Disconnects the robot and the teleoperator, and gives the terminal back."""
        with ExitStack() as ends:  # each of them, whatever becomes of the others
            if self._teleop is not None and self._teleop.is_connected:
                ends.callback(self._teleop.disconnect)
            ends.callback(self._body.disconnect)
            ends.callback(self._pilot.close)

    def _measured(self) -> np.ndarray:
        places = self._body.places()
        return np.array([places[name] for name in self._layout.names])

    def _send(self, targets: np.ndarray) -> None:
        sent = self._body.send(dict(zip(self._layout.names, targets.tolist())))
        self._targets = np.array([sent[name] for name in self._layout.names])

    def _action_of(self, before: np.ndarray, wish: Wish) -> np.ndarray:
        """The action (n,) that a person's wish is, or as far as a step goes."""
        grips = [float(grip) if grip != jaw.state else 0.0 for grip, jaw in zip(wish.grips, self._jaws)]
        return self._joined(self._numbers(before, wish.joints), grips)

    def _numbers(self, before: np.ndarray, after: np.ndarray) -> list[np.ndarray]:
        """The numbers of each arm, without grippers, of the motion between two targets (P,)."""
        arms = zip(self._motions, self._layout.arms)
        return [motion.numbers(before[arm.joints], after[arm.joints]) for motion, arm in arms]

    def _target_of(self, before: np.ndarray, action: np.ndarray) -> tuple[np.ndarray, int]:
        """The target (P,) that an action asks for, and the number of its useless commands of grippers."""
        target, useless = before.copy(), 0
        for arm, motion, jaw, numbers in zip(self._layout.arms, self._motions, self._jaws, self._by_arm(action)):
            target[arm.joints] = motion.moved(before[arm.joints], numbers[: motion.size])
            if arm.gripper is not None:
                useless += jaw.command(numbers[-1])
                target[arm.gripper] = jaw.target(before[arm.gripper])
        return target, useless

    def _by_arm(self, action: np.ndarray) -> list[np.ndarray]:
        return np.split(action, len(self._motions))

    def _grips(self, action: np.ndarray) -> list[float]:
        """The gripper's number of each arm."""
        return [float(numbers[-1]) for numbers in self._by_arm(action)]

    def _joined(self, numbers: Sequence[np.ndarray], grips: Sequence[float]) -> np.ndarray:
        """An action (n,) from the arms' numbers and, where they are learned, those of the grippers."""
        learned = self._settings.has_learned_gripper
        return np.concatenate([np.append(each, grip) if learned else each for each, grip in zip(numbers, grips)])

    def _observation(self) -> dict[str, np.ndarray]:
        state = self._state.vector(self._body.last, self._measured(), self._targets, [jaw.state for jaw in self._jaws])
        return {**self._views.images(self._body.last), "state": state}

    def _info(
        self, given: np.ndarray, executed: np.ndarray, by_person: bool, verdict: Verdict, useless: int
    ) -> dict[str, Any]:
        info: dict[str, Any] = {}
        if self._settings.has_learned_gripper:
            info["grasp_penalty"] = -self._settings.gripper_penalty * useless
        if self._pilot.can_judge:
            info["success"] = verdict.success
        if verdict.rerecord:
            info["rerecord_episode"] = True
        if by_person:
            info["intervene_action"] = executed.astype(np.float32)
            info["intervene_source"], info["intervention"] = self._pilot.source, self._pilot.interventions
        elif np.abs(executed - given).max() > SAME:
            info["executed_action"] = executed.astype(np.float32)
        return info
