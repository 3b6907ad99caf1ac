"""The robot's side of serl_ray: `serve` offers an env to a trainer on another computer."""

from serl_robot.devices.local import local_devices
from serl_robot.intervene import Intervene
from serl_robot.serving import serve
from serl_robot.spaces import Box, Dict, UnservableEnv

__all__ = ["Box", "Dict", "Intervene", "UnservableEnv", "local_devices", "serve"]
__version__ = "0.1.0"
