"""Faults of robots and cameras that labs lose a day with, as wrappers around a sound env."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np

Image = np.ndarray


class Seen(gymnasium.Wrapper):
    """Changes the images of one camera."""

    def __init__(self, env: gymnasium.Env, change: Callable[[Image], Image], camera: str = "image") -> None:
        super().__init__(env)
        self._change, self._camera = change, camera

    def reset(self, **arguments: Any) -> Any:
        observation, info = self.env.reset(**arguments)
        return self._changed(observation), info

    def step(self, action: np.ndarray) -> Any:
        observation, *rest = self.env.step(action)
        return self._changed(observation), *rest

    def _changed(self, observation: Any) -> Any:
        return observation | {self._camera: np.ascontiguousarray(self._change(observation[self._camera]))}


class Acted(gymnasium.Wrapper):
    """Changes the actions before they are executed."""

    def __init__(self, env: gymnasium.Env, change: Callable[[np.ndarray], np.ndarray]) -> None:
        super().__init__(env)
        self._change = change

    def step(self, action: np.ndarray) -> Any:
        return self.env.step(self._change(np.array(action)).astype(np.float32))


class Felt(gymnasium.Wrapper):
    """Changes the state; the change is given the number of the step in its episode too."""

    def __init__(self, env: gymnasium.Env, change: Callable[[np.ndarray, int], np.ndarray]) -> None:
        super().__init__(env)
        self._change, self._step = change, 0

    def reset(self, **arguments: Any) -> Any:
        self._step = 0
        observation, info = self.env.reset(**arguments)
        return self._changed(observation), info

    def step(self, action: np.ndarray) -> Any:
        self._step += 1
        observation, *rest = self.env.step(action)
        return self._changed(observation), *rest

    def _changed(self, observation: Any) -> Any:
        return observation | {"state": self._change(observation["state"], self._step).astype(np.float32)}


class Twice(gymnasium.Wrapper):
    """Executes every action twice, as an env at half the rate does."""

    def step(self, action: np.ndarray) -> Any:
        result = self.env.step(action)
        return result if result[2] or result[3] else self.env.step(action)


def bgr(env: gymnasium.Env) -> gymnasium.Env:
    return Seen(env, lambda image: image[..., ::-1])


def dark(env: gymnasium.Env) -> gymnasium.Env:
    return Seen(env, lambda image: (image * 0.5).astype(np.uint8))


def cropped(env: gymnasium.Env) -> gymnasium.Env:
    """Shows the middle 60 % of the image in all of it."""

    def crop(image: Image) -> Image:
        size = len(image)
        rows = (0.2 * size + 0.6 * np.arange(size)).astype(int)
        return image[rows][:, rows]

    return Seen(env, crop)


def upside_down(env: gymnasium.Env) -> gymnasium.Env:
    return Seen(env, lambda image: image[::-1])


def mirrored(env: gymnasium.Env) -> gymnasium.Env:
    return Seen(env, lambda image: image[:, ::-1])


def frozen(env: gymnasium.Env) -> gymnasium.Env:
    """Gives the first image of all for ever."""
    first: list[Image] = []

    def freeze(image: Image) -> Image:
        first.append(image)
        return first[0].copy()

    return Seen(env, freeze)


def slow(env: gymnasium.Env) -> gymnasium.Env:
    """Takes a new image in every second step."""
    taken: list[Image] = []
    calls = [0]

    def every_second(image: Image) -> Image:
        if calls[0] % 2 == 0:
            taken[:] = [image]
        calls[0] += 1
        return taken[0].copy()

    return Seen(env, every_second)


def late(env: gymnasium.Env, steps: int = 3) -> gymnasium.Env:
    """Gives the image of some steps ago."""
    queue: deque[Image] = deque(maxlen=steps + 1)

    def delay(image: Image) -> Image:
        queue.append(image)
        return queue[0].copy()

    return Seen(env, delay)


def stuck(env: gymnasium.Env) -> gymnasium.Env:
    return Acted(env, lambda action: np.zeros_like(action))


def scaled(env: gymnasium.Env, factor: float = 0.5) -> gymnasium.Env:
    """Moves by a share of what the action says; the grippers do as they are told."""

    def scale(action: np.ndarray) -> np.ndarray:
        return np.concatenate([factor * action[:6], action[6:]])

    return Acted(env, scale)


def reversed_action(env: gymnasium.Env, number: int) -> gymnasium.Env:
    def reverse(action: np.ndarray) -> np.ndarray:
        action[number] *= -1
        return action

    return Acted(env, reverse)


def drifting(env: gymnasium.Env) -> gymnasium.Env:
    """Sinks in each step, as under a controller without gravity compensation."""

    def sink(action: np.ndarray) -> np.ndarray:
        action[2] = np.clip(action[2] - 0.25, -1, 1)
        return action

    return Acted(env, sink)


def elsewhere(env: gymnasium.Env) -> gymnasium.Env:
    """Starts 15 cm, three units of the state, beside the demonstrations' starts."""
    return Felt(env, lambda state, _: state + np.eye(len(state))[1] * 3.0)


def uneven(env: gymnasium.Env) -> gymnasium.Env:
    """Tells the first number in millimetres."""
    return Felt(env, lambda state, _: np.concatenate([50 * state[:1], state[1:]]))
