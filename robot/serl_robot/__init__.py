"""The robot's side of serl_ray: `serve` offers an env to a trainer on another computer."""

from serl_robot.serving import serve
from serl_robot.spaces import Box, Dict, UnservableEnv

__all__ = ["Box", "Dict", "UnservableEnv", "serve"]
__version__ = "0.1.0"
