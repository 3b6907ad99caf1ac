"""Images of a robot's cameras, cut out and resized at the robot, so that the network carries no more than is used."""

from __future__ import annotations

import logging
from typing import Any, Mapping

import numpy as np
from PIL import Image

from serl_robot.lerobot.body import RobotFault
from serl_robot.lerobot.settings import LeRobotSettings
from serl_robot.spaces import UnservableEnv

logger = logging.getLogger(__name__)


class Views:
    """Images of the cameras.

    Args:
        features: LeRobot's observation_features of the robot.
        settings: settings of the robot.

    Attributes:
        names: names of the cameras.

    Raises:
        UnservableEnv: the settings name a camera that is not there, or a rectangle outside its image.
    """

    def __init__(self, features: Mapping[str, Any], settings: LeRobotSettings) -> None:
        shapes = {name: tuple(shape) for name, shape in features.items() if isinstance(shape, (tuple, list))}
        coloured = [name for name, shape in shapes.items() if len(shape) == 3 and shape[-1] == 3]
        self.names = settings.cameras or coloured
        self._size, self._crop = settings.image_size, settings.crop
        for setting, names in (("cameras", settings.cameras), ("crop", settings.crop)):
            unknown = [name for name in names if name not in coloured]
            if unknown:
                known = ", ".join(coloured) or "none"
                raise UnservableEnv(f"{setting} names {', '.join(unknown)}; the robot's cameras are {known}.")
        for name in shapes:
            if name not in self.names:
                logger.warning(
                    "The robot's %s is not sent: it is no image with colours, or `cameras` leaves it out.", name
                )
        for name, crop in self._crop.items():
            _check_crop(name, crop, shapes[name])

    def images(self, observation: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """The images (S, S, 3) uint8, RGB, by camera.

        Raises:
            RobotFault: a camera gave no image, or something else than one with colours.
        """
        return {name: self._image(name, np.asarray(observation.get(name))) for name in self.names}

    def _image(self, name: str, image: np.ndarray) -> np.ndarray:
        if image.dtype == object:
            raise RobotFault(f"The camera {name} gave no image: check its cable, and start the robot's program again.")
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            text = f"The camera {name} gave {image.dtype} {image.shape}, not a uint8 image (H, W, 3)."
            raise RobotFault(text, "wrong_shape")
        if name in self._crop:
            top, left, height, width = self._crop[name]
            image = image[top : top + height, left : left + width]
        if image.shape[:2] == (self._size, self._size):
            return np.array(image)
        return np.array(Image.fromarray(image).resize((self._size, self._size), Image.Resampling.BILINEAR))


def _check_crop(name: str, crop: list[int], shape: tuple[int, ...]) -> None:
    if len(crop) != 4 or any(int(number) != number for number in crop):
        raise UnservableEnv(f"crop of {name} is {crop}: give top, left, height and width in whole pixels.")
    top, left, height, width = crop
    is_inside = top >= 0 and left >= 0 and top + height <= shape[0] and left + width <= shape[1]
    if not is_inside or height < 1 or width < 1:
        raise UnservableEnv(f"crop of {name} is {crop}, outside its image of {shape[0]} x {shape[1]} pixels.")
