"""robosuite's tasks of Panda arms, with this project's env contract (optional extra `serl-ray[robosuite]`)."""

from serl_ray.envs.robosuite.env import RobosuiteEnv

__all__ = ["RobosuiteEnv"]
