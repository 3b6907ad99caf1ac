"""Robots and teleoperators of LeRobot's interface, without LeRobot and without hardware."""

from __future__ import annotations

import numpy as np

from serl_ray.benchmarks.lerobot_arm import SO101, CalibratedDevice, ObedientArm


class FakeArm(ObedientArm):
    """An arm whose joints go to their goals, less a sag, as far as nothing blocks them.

    Args:
        joints: names of the joints.
        cameras: height and width by camera.
        sag: distance by which gravity holds each joint below its goal.
        most: greatest difference of a command from the measured place, as `max_relative_target`.
    """

    def __init__(self, joints=SO101, cameras=None, sag=0.0, most=np.inf):
        super().__init__(joints, cameras)
        self.sag, self.most = sag, most
        self.blocked = {}  # greatest place by joint
        self.faults = []  # exceptions of the next observations, in turn
        self.sent = []

    def get_observation(self):
        if self.faults and (fault := self.faults.pop(0)):
            raise fault
        return super().get_observation()

    def move(self):
        for name, goal in self.goals.items():
            self.places[name] = min(goal - self.sag, self.blocked.get(name, np.inf))

    def send_action(self, action):
        assert np.isfinite([*action.values()]).all()
        limited = {
            name: float(np.clip(goal, self.places[name] - self.most, self.places[name] + self.most))
            for name, goal in action.items()
        }
        self.sent.append(super().send_action(limited))
        return dict(self.goals)


class FakeLeader(CalibratedDevice):
    """A leader arm, with torque off."""

    name = "so_leader"

    def __init__(self, joints=SO101):
        super().__init__()
        self.places = {f"{name}.pos": 90.0 if name.endswith("gripper") else 0.0 for name in joints}

    @property
    def action_features(self):
        return {name: float for name in self.places}

    def get_action(self):
        return dict(self.places)


class FakeGamepad(CalibratedDevice):
    """LeRobot's gamepad, whose features are of another form, and which takes no `calibrate`."""

    name = "gamepad"
    action_features = {
        "dtype": "float32",
        "shape": (4,),
        "names": {"delta_x": 0, "delta_y": 1, "delta_z": 2, "gripper": 3},
    }

    def __init__(self):
        super().__init__()
        self.deltas, self.grip, self.events = (0.0, 0.0, 0.0), 1, {}

    def connect(self):
        self.is_connected = True

    def is_calibrated(self):
        return True

    def get_action(self):
        return dict(zip(("delta_x", "delta_y", "delta_z"), self.deltas, strict=True), gripper=self.grip)

    def get_teleop_events(self):
        return self.events


class FakePhone(CalibratedDevice):
    """LeRobot's phone."""

    name = "phone"
    action_features = {"phone.pos": np.ndarray, "phone.rot": object, "phone.raw_inputs": dict, "phone.enabled": bool}

    def __init__(self):
        super().__init__()
        self.pos, self.enabled = np.zeros(3), False

    def connect(self):
        self.is_connected = True

    def get_action(self):
        return {
            "phone.pos": self.pos,
            "phone.rot": None,
            "phone.raw_inputs": {"a3": 0.0},
            "phone.enabled": self.enabled,
        }


class FakeKeys:
    """Keys of a terminal that a test presses."""

    def __init__(self, is_there=True):
        self.is_there, self.pressed, self.is_closed = is_there, "", False

    def read(self):
        pressed, self.pressed = self.pressed, ""
        return pressed

    def close(self):
        self.is_closed = True


class Gantry:
    """Kinematics of an arm whose first three joints shift its tip along x, y and z, by 1 mm a degree."""

    def forward_kinematics(self, joints):
        pose = np.eye(4)
        pose[:3, 3] = np.asarray(joints)[:3] / 1000
        return pose

    def inverse_kinematics(self, joints, pose, orientation_weight):
        return np.concatenate([pose[:3, 3] * 1000, np.asarray(joints)[3:]])
