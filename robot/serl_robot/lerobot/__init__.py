"""LeRobot's robots and teleoperators as envs of serl_ray; it runs inside LeRobot's environment (lerobot >= 0.4)."""

from serl_robot.lerobot.env import LeRobotEnv
from serl_robot.lerobot.settings import LeRobotSettings

__all__ = ["LeRobotEnv", "LeRobotSettings"]
