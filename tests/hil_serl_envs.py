"""An env in the way of the original HIL-SERL: nested observations, a person with a SpaceMouse, and a stack of wrappers.

The arm is a point that is to come near the origin. A wrapper returns what the original's one of that name does.
"""

from __future__ import annotations

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict

CAMERAS = ("side_policy", "wrist_1", "side_classifier")
PARTS = {"tcp_pose": 6, "tcp_vel": 6, "gripper_pose": 1, "tcp_force": 3, "tcp_torque": 3}
HORIZON, SIZE = 20, 128
STEP = 0.25
"""Way of a full-scale action."""


class PointFranka(gymnasium.Env):
    """Nested observations, and `done` at success as well as where the time is up, as `FrankaEnv` has them."""

    def __init__(self, fake_env=False, save_video=False, config=None):
        state = {name: Box(-np.inf, np.inf, shape=(size,)) for name, size in PARTS.items()}
        images = {camera: Box(0, 255, shape=(SIZE, SIZE, 3), dtype=np.uint8) for camera in CAMERAS}
        self.observation_space = Dict({"state": Dict(state), "images": Dict(images)})
        self.action_space = Box(np.ones(7, dtype=np.float32) * -1, np.ones(7, dtype=np.float32))

    def reset(self, joint_reset=False, **kwargs):
        self.rng = np.random.default_rng(kwargs.get("seed"))
        self.point, self.gripper, self.steps = self.rng.uniform(-1, 1, 3), 1.0, 0
        return self._get_obs(), {"succeed": False}

    def step(self, action):
        action = np.clip(action, self.action_space.low, self.action_space.high)
        self.point = np.clip(self.point + STEP * action[:3], -1, 1)
        self.gripper = float(np.clip(self.gripper + np.rint(action[6]), 0, 1))
        self.steps += 1
        return self._get_obs(), 0, self.steps >= HORIZON, False, {"succeed": 0}

    def _get_obs(self):
        state = {name: np.zeros(size) for name, size in PARTS.items()}
        state["tcp_pose"][:3], state["gripper_pose"][0] = self.point, self.gripper
        images = {}
        for camera in CAMERAS:
            images[camera] = self.rng.integers(0, 60, (SIZE, SIZE, 3), dtype=np.uint8)
            row, column = (56 + 48 * self.point[:2]).astype(int)
            images[camera][row : row + 16, column : column + 16] = 255
        return {"state": state, "images": images}


class Spacemouse(gymnasium.Wrapper):
    """A person who drives to the origin in three episodes of four, and pushes harder than full scale."""

    episodes = 0

    def reset(self, **kwargs):
        self.episodes += 1
        return self.env.reset(**kwargs)

    def step(self, action):
        is_driving = self.episodes % 4 != 0
        if is_driving:
            action = np.concatenate([-1.4 * np.sign(self.unwrapped.point), np.zeros(3), [-0.95]])
        observation, reward, done, truncated, info = self.env.step(action)
        if is_driving:
            info["intervene_action"] = action
        info["left"], info["right"] = False, False
        return observation, reward, done, truncated, info


class ObsWrapper(gymnasium.ObservationWrapper):
    """Flat images, and one state of the parts in alphabetical order, as `SERLObsWrapper`."""

    def __init__(self, env):
        super().__init__(env)
        space = env.observation_space
        self.observation_space = Dict({"state": Box(-np.inf, np.inf, (sum(PARTS.values()),)), **space["images"].spaces})

    def observation(self, observation):
        state = np.concatenate([observation["state"][name] for name in sorted(PARTS)], dtype=np.float32)
        return {"state": state, **observation["images"]}


class Chunking(gymnasium.ObservationWrapper):
    """A first axis of the last observations, as `ChunkingWrapper` has it at the start of an episode."""

    def __init__(self, env, obs_horizon=1, act_exec_horizon=None):
        super().__init__(env)
        self.horizon = obs_horizon
        boxes = env.observation_space.spaces.items()
        self.observation_space = Dict(
            {key: Box(self.stacked(box.low), self.stacked(box.high), dtype=box.dtype) for key, box in boxes}
        )

    def observation(self, observation):
        return {key: self.stacked(value) for key, value in observation.items()}

    def stacked(self, array):
        return np.stack([array] * self.horizon)


class Classifier(gymnasium.Wrapper):
    """The reward of a classifier, and `done` with it, as `MultiCameraBinaryRewardClassifierWrapper`."""

    def step(self, action):
        observation, reward, done, truncated, info = self.env.step(action)
        reward = int(np.abs(self.unwrapped.point).max() < STEP)
        info["succeed"] = bool(reward)
        return observation, reward, done or reward, truncated, info


class Penalty(gymnasium.Wrapper):
    """The penalty of useless commands in the info, as `GripperPenaltyWrapper` of the task."""

    def reset(self, **kwargs):
        observation, info = self.env.reset(**kwargs)
        self.last_gripper = observation["state"][0, 0]
        return observation, info

    def step(self, action):
        observation, reward, done, truncated, info = self.env.step(action)
        command = info.get("intervene_action", action)[-1]
        useless = (command < -0.5 and self.last_gripper < 0.9) or (command > 0.5 and self.last_gripper > 0.9)
        info["grasp_penalty"], self.last_gripper = -0.02 * useless, observation["state"][0, 0]
        return observation, reward, done, truncated, info


class TrainConfig:
    """The task's config, as `experiments/usb_pickup_insertion/config.py` has it."""

    def get_environment(self, fake_env=False, save_video=False, classifier=False):
        env = PointFranka(fake_env=fake_env, save_video=save_video)
        env = Chunking(ObsWrapper(Spacemouse(env)), obs_horizon=1, act_exec_horizon=None)
        return Penalty(Classifier(env) if classifier else env)
