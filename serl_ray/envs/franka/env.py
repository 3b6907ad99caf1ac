"""Franka arms by the server of the original HIL-SERL, one or two, with a fixed or a learned gripper each."""

from __future__ import annotations

import logging
import math
import re
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from serl_ray.data.episodes import EnvFault
from serl_ray.data.observations import STATE, Observation
from serl_ray.envs.franka.arm import FrankaArm
from serl_ray.envs.franka.cameras import RobotCamera
from serl_ray.envs.franka.settings import FrankaSettings, read_settings
from serl_ray.files.atomic import locked
from serl_ray.types import SETUP_MODES, ActionLayout
from serl_ray.utils.errors import SetupError

logger = logging.getLogger(__name__)

LATE_STEPS = 5
"""Late steps in a row after which a robot counts as too slow."""


class FrankaServerEnv(gymnasium.Env):
    """One or two Franka arms that the original's server runs on; docs/franka.md has its settings.

    An action is, for each arm (left first), a translation and a rotation in [-1, 1] in the frame of the settings, and a
    learned gripper's number: close at <= -0.5, open at >= 0.5. `state` is, for each arm, gripper, force, pose relative
    to the reset (Euler angles), torque and velocity: 19 numbers that equal the original's. A step sends the action and
    observes 1 / hz seconds after it began.

    Every fault is an EnvFault with one sentence, and the arms are held before it is raised. `stop` may be called from
    another thread: the arms are held, and move no more until the next reset.

    Args:
        settings: path of the YAML file with the settings.
        setup_mode: one of `serl_ray.types.SETUP_MODES`.

    Raises:
        FileNotFoundError: there are no such settings.
        ValueError: a setting is wrong, or the number of arms is not that of the set-up; as an EnvFault, a server or a
            camera does not answer.
        SetupError: a camera or its package is missing, or another env of this computer has one of the arms.
    """

    metadata = {"render_modes": []}

    def __init__(self, settings: str, setup_mode: str) -> None:
        self._settings = read_settings(settings)
        self._layout = _layout(self._settings, setup_mode)
        self._stopped = threading.Event()
        self._moving = threading.Lock()
        self._num_steps = self._num_resets = self._num_late = 0
        with ExitStack() as opened:
            for settings_of_arm in self._settings.arms:
                opened.enter_context(_alone(settings_of_arm.server))
            self._arms = [FrankaArm(arm, self._settings) for arm in self._settings.arms]
            self._cameras: list[RobotCamera] = []
            for camera in self._settings.cameras:
                self._cameras.append(RobotCamera(camera, self._settings.image_size))
                opened.callback(self._cameras[-1].close)
            self._opened = opened.pop_all()
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (self._layout.action_dim,), np.float32)
        size = self._settings.image_size
        image = gymnasium.spaces.Box(0, 255, (size, size, 3), np.uint8)
        state = gymnasium.spaces.Box(-np.inf, np.inf, self._vector().shape, np.float32)
        self.observation_space = gymnasium.spaces.Dict(
            {STATE: state, **{camera.name: image for camera in self._settings.cameras}}
        )

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Moves the arms to their reset poses and starts an episode."""
        super().reset(seed=seed)
        self._stopped.clear()
        self._num_steps = self._num_late = 0
        with self._held_on_error():
            for camera in self._cameras:
                camera.revive()
            self._go_to_reset()
            for arm in self._arms:
                arm.begin_episode()
                arm.check_joints()
            observation, info = self._observe()
        return observation, info

    def step(self, action: np.ndarray) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Sends the action (A + G,), and observes its effect after 1 / hz seconds."""
        action = np.asarray(action, np.float64)
        if action.shape != (self._layout.action_dim,) or not np.isfinite(action).all():
            raise ValueError(f"The action must be {self._layout.action_dim} finite numbers in [-1, 1], not {action!r}.")
        began = time.monotonic()
        with self._held_on_error():
            useless = self._command(action.clip(-1.0, 1.0).reshape(len(self._arms), -1))
            self._stopped.wait(began + 1.0 / self._settings.hz - time.monotonic())
            for arm in self._arms:
                arm.observe()
                arm.check_joints()
            observation, info = self._observe()
            self._check_time(time.monotonic() - began)
        self._num_steps += 1
        if self._layout.num_grippers:
            info["grasp_penalty"] = self._settings.grasp_penalty * useless
        terminated = bool(info.get("success", False)) and self._settings.rewards
        truncated = not terminated and self._num_steps >= self._settings.max_episode_length
        return observation, float(terminated), terminated, truncated, info

    def hold(self) -> None:
        """Holds the arms where they are."""
        with self._moving:
            faults = self._hold_all()
        if faults:
            raise faults[0]

    def stop(self) -> None:
        """Holds the arms where they are; they take no command until the next reset. Any thread may call it."""
        self._stopped.set()
        self.hold()

    def close(self) -> None:
        """Holds the arms, and frees them and the cameras."""
        self._hold_if_possible()
        self._opened.close()
        self._arms.clear()  # another env may have them now, and a second call moves nothing

    def _command(self, numbers: np.ndarray) -> int:
        """Sends the arms' numbers (arms, 6 or 7), and returns the number of useless gripper commands."""
        useless = 0
        targets = [arm.target_of(own[:6]) for arm, own in zip(self._arms, numbers, strict=True)]
        for arm, own in zip(self._arms, numbers, strict=True):
            with self._permission():
                if self._layout.num_grippers:
                    useless += arm.gripper.command(float(own[6]), arm.state.gripper)
                elif self._settings.fixed_gripper == "close":
                    arm.gripper.command(-1.0, arm.state.gripper)
        self._send(targets)
        return useless

    def _send(self, poses: Sequence[np.ndarray]) -> None:
        for arm, pose in zip(self._arms, poses, strict=True):
            with self._permission():
                arm.server.move(pose)

    def _go_to_reset(self) -> None:
        """Moves the arms to their reset poses, as the original does: stiff, on a straight line, and then compliant."""
        self._num_resets += 1
        period = self._settings.joint_reset_period
        for arm in self._arms:
            arm.gripper.begin()
            arm.use("compliance")
        with self._permission():
            if self._settings.reset_gripper != "leave":
                for arm in self._arms:
                    arm.gripper.send(is_open=self._settings.reset_gripper == "open")
        self.hold()
        self._rest(self._settings.settle_seconds)
        for arm in self._arms:
            arm.use("precision")
        self._rest(self._settings.settle_seconds)
        if period and self._num_resets % period == 0:
            for arm in self._arms:
                self._rest(0.0)
                arm.server.reset_joints(self._settings.joint_reset_timeout)
            self._rest(self._settings.settle_seconds)
        self._move_to([arm.draw_reset_pose(self.np_random) for arm in self._arms])
        for arm in self._arms:
            arm.use("compliance")
            arm.server.clear()

    def _move_to(self, goals: Sequence[np.ndarray]) -> None:
        """Moves all arms at once on straight lines to goals (7,), and waits until they have arrived."""
        for arm in self._arms:
            arm.observe()
        pairs = list(zip(self._arms, goals, strict=True))
        seconds = max(arm.seconds_to(goal) for arm, goal in pairs)
        steps = max(2, math.ceil(seconds * self._settings.hz))
        for poses in zip(*(arm.path_to(goal, steps) for arm, goal in pairs), strict=True):
            self._send(poses)
            self._rest(1.0 / self._settings.hz)
        deadline = time.monotonic() + self._settings.arrival_seconds
        while True:
            for arm in self._arms:
                arm.observe()
            lacking = [text for arm, goal in pairs if (text := arm.lacking(goal))]
            if not lacking:
                return
            if time.monotonic() > deadline:
                raise EnvFault(
                    "timeout",
                    f"The arm of {lacking[0]} (reset_tolerance {self._settings.reset_tolerance:g} m), "
                    f"{self._settings.arrival_seconds:g} s after it was sent there: check that its controller runs, "
                    "that its stop is released, and that nothing is in its way.",
                )
            self._rest(1.0 / self._settings.hz)

    def _observe(self) -> tuple[Observation, dict[str, Any]]:
        images = {camera.name: camera.newest() for camera in self._cameras}
        observation = {STATE: self._vector(), **{name: image for name, (image, _) in images.items()}}
        info: dict[str, Any] = {}
        if images:
            info["image_age"] = max(age for _, age in images.values())
        reached = [arm.is_at_target() for arm in self._arms]
        if None not in reached:
            info["success"] = all(reached)
        return observation, info

    def _vector(self) -> np.ndarray:
        return np.concatenate([arm.proprio() for arm in self._arms]).astype(np.float32)

    def _check_time(self, seconds: float) -> None:
        """Raises EnvFault after several late steps in a row."""
        period = 1.0 / self._settings.hz
        self._num_late = self._num_late + 1 if seconds > period + self._settings.lateness else 0
        if self._num_late >= LATE_STEPS:
            self._num_late = 0
            raise EnvFault(
                "timeout",
                f"{LATE_STEPS} steps in a row were late, the last one took {seconds:.2f} s in place of {period:g} s "
                f"(lateness {self._settings.lateness:g} s): check the network to the robot's server and the load of "
                "this computer, or lower hz.",
            )

    def _rest(self, seconds: float) -> None:
        """Waits, or raises EnvFault at a stop."""
        self._stopped.wait(seconds)
        with self._permission():
            pass

    @contextmanager
    def _permission(self) -> Iterator[None]:
        """Keeps a stop waiting while a command is sent, so that the stop's comes last; EnvFault after a stop."""
        with self._moving:
            if self._stopped.is_set():
                raise EnvFault("error", "The robot was stopped, and takes no command until the next reset.")
            yield

    @contextmanager
    def _held_on_error(self) -> Iterator[None]:
        """Holds the arms before any error in the block is raised."""
        try:
            yield
        except BaseException:
            self._hold_if_possible()
            raise

    def _hold_if_possible(self) -> None:
        for fault in self._hold_all():
            logger.warning("An arm could not be held where it is, so its controller keeps the last target. %s", fault)

    def _hold_all(self) -> list[EnvFault]:
        """Holds every arm; returns the faults of those that could not be."""
        faults = []
        for arm in self._arms:
            try:
                arm.server.hold()
            except EnvFault as fault:
                faults.append(fault)
        return faults


def _layout(settings: FrankaSettings, setup_mode: str) -> ActionLayout:
    """The layout of the action; ValueError where the arms are not those of the set-up."""
    if setup_mode not in SETUP_MODES:
        raise ValueError(f"setup_mode is {setup_mode!r}; choose one of {', '.join(SETUP_MODES)}.")
    num_arms = 2 if setup_mode.startswith("dual") else 1
    if len(settings.arms) != num_arms:
        raise ValueError(
            f"The settings have {len(settings.arms)} arm(s), and {setup_mode} has {num_arms}: change setup_mode, or "
            "`arms` in the settings."
        )
    per_arm = 7 if setup_mode.endswith("learned-gripper") else 6
    return ActionLayout.from_setup(setup_mode, per_arm * num_arms)


@contextmanager
def _alone(server: str) -> Iterator[None]:
    """Keeps other envs of this computer from an arm; SetupError where one has it."""
    path = Path(tempfile.gettempdir(), f"serl-franka{re.sub(r'[^A-Za-z0-9]+', '-', server)}.lock")
    with ExitStack() as held:
        try:
            held.enter_context(locked(path))
        except BlockingIOError as error:
            raise SetupError(
                f"Another env of this computer moves the arm of {server} ({path} is locked): end its process. A run "
                "whose evaluations would need a second env of the same arm takes --evaluate_every 0."
            ) from error
        yield
