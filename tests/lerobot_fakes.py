"""Robots and teleoperators of LeRobot's interface, without LeRobot and without hardware."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

SO101 = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")


class Device:
    """A device that is calibrated and can be connected."""

    name = "fake"
    id = "black"
    is_calibrated = True

    def __init__(self):
        self.is_connected = False

    def connect(self, calibrate=True):
        assert not calibrate, "LeRobot would ask a person to move the joints"
        self.is_connected = True

    def disconnect(self):
        self.is_connected = False


class FakeArm(Device):
    """An arm whose joints go to their goals, less a sag, as far as nothing blocks them.

    Args:
        joints: names of the joints.
        cameras: height and width by camera.
        sag: distance by which gravity holds each joint below its goal.
        most: greatest difference of a command from the measured place, as `max_relative_target`.
    """

    def __init__(self, joints=SO101, cameras=None, sag=0.0, most=np.inf):
        super().__init__()
        self.config = SimpleNamespace(use_degrees=True)
        self.joints, self.cameras, self.sag, self.most = joints, cameras or {}, sag, most
        self.goals = {f"{name}.pos": 90.0 if name.endswith("gripper") else 0.0 for name in joints}
        self.places = dict(self.goals)
        self.blocked = {}  # greatest place by joint
        self.faults = []  # exceptions of the next observations, in turn
        self.sent = []

    @property
    def action_features(self):
        return {name: float for name in self.goals}

    @property
    def observation_features(self):
        return self.action_features | {name: (*shape, 3) for name, shape in self.cameras.items()}

    def get_observation(self):
        assert self.is_connected
        if self.faults and (fault := self.faults.pop(0)):
            raise fault
        for name, goal in self.goals.items():
            self.places[name] = min(goal - self.sag, self.blocked.get(name, np.inf))
        images = {name: np.full((*shape, 3), 7, np.uint8) for name, shape in self.cameras.items()}
        return self.places | images

    def send_action(self, action):
        assert self.is_connected and action.keys() == self.goals.keys()
        assert np.isfinite([*action.values()]).all()
        for name, place in self.places.items():
            self.goals[name] = float(np.clip(action[name], place - self.most, place + self.most))
        self.sent.append(dict(self.goals))
        return dict(self.goals)


class FakeLeader(Device):
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


class FakeGamepad(Device):
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


class FakePhone(Device):
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
