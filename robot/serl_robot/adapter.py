"""An owner's env, of gymnasium's or old gym's API, with all that it returns checked before it is sent."""

from __future__ import annotations

import inspect
import logging
from typing import Any, Callable, Mapping, NamedTuple

import numpy as np

from serl_robot.frozen import ImageWatch
from serl_robot.infos import UnsendableInfo, split_info
from serl_robot.intervene import intervene_of
from serl_robot.spaces import SIDES, UnservableEnv, action_dim, observation_spaces

logger = logging.getLogger(__name__)

OPTIONAL_METHODS = ("hold", "stop", "live_frames", "twist_to_action")


class EnvFault(Exception):
    """An exception of the env, or a result that must not be sent.

    Args:
        message: a sentence.
        kind: kind of the fault, by which the trainer counts it: error, not_finite, wrong_shape, wrong_action or
            wrong_result.
    """

    def __init__(self, message: str, kind: str = "error") -> None:
        super().__init__(message)
        self.kind = kind


class Outcome(NamedTuple):
    """The result of a step or a reset.

    Attributes:
        observation: arrays by key, of the dtypes and shapes of the space.
        reward: reward of the step.
        terminated: whether the task is over.
        truncated: whether the episode was broken off.
        info: JSON values by name.
        info_arrays: arrays of `info` by name.
    """

    observation: dict[str, np.ndarray]
    reward: float
    terminated: bool
    truncated: bool
    info: dict[str, Any]
    info_arrays: dict[str, np.ndarray]


class RobotEnv:
    """An env of an owner.

    Args:
        env: env with reset, step, observation_space and action_space, and perhaps `OPTIONAL_METHODS`.
        frozen_after: seconds after which a camera whose image stays the same has frozen; 0 for never.

    Attributes:
        spaces: spaces of the observation by key.
        action_dim: number of an action's numbers.
        stop: the env's `stop`; None without one. The other optional methods likewise.

    Raises:
        UnservableEnv: the spaces cannot be served.
    """

    def __init__(self, env: Any, frozen_after: float = 0.0) -> None:
        self._env, self._watch = env, ImageWatch(frozen_after)
        self._intervene = intervene_of(env)
        self._held = env if self._intervene is None else self._intervene.env  # nobody drives a robot that keeps still
        self.spaces, self.action_dim = observation_spaces(env), action_dim(env)
        self.hold, self.stop, self.live_frames, self.twist_to_action = (_method(env, name) for name in OPTIONAL_METHODS)
        self._takes_seed = _takes_seed(env.reset)
        self._noted: set[str] = set()

    @property
    def methods(self) -> list[str]:
        """The names of the optional methods that the env has."""
        return [name for name in OPTIONAL_METHODS if getattr(self, name) is not None]

    @property
    def seen_from(self) -> str:
        """Side from which the cameras see the robot."""
        metadata = getattr(self._env, "metadata", None) or {}
        side = metadata.get("seen_from", SIDES[0])
        if side not in SIDES:
            raise UnservableEnv(f"metadata['seen_from'] is {side!r}; it must be one of {', '.join(SIDES)}.")
        return str(side)

    def obstacle(self) -> str:
        """The reason why no episode can begin until the operator at the robot does something; empty without one."""
        return "" if self._intervene is None else self._intervene.obstacle()

    def reset(self, seed: int | None) -> Outcome:
        """Begins an episode.

        Raises:
            EnvFault: the env has failed.
        """
        result = self._called("reset", lambda: self._reset(seed))
        if isinstance(result, Mapping):  # old gym
            result = result, {}
        if not (isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], Mapping)):
            raise EnvFault(f"reset() returns {_shown(result)}: return observation, info.", "wrong_result")
        return self._outcome(result[0], 0.0, False, False, result[1])

    def step(self, action: np.ndarray) -> Outcome:
        """Executes an action (n,).

        Raises:
            EnvFault: the env has failed.
        """
        result = self._called("step", lambda: _of_today(self._env.step(action)))
        if not (isinstance(result, tuple) and len(result) == 5 and isinstance(result[4], Mapping)):
            text = f"step() returns {_shown(result)}: return observation, reward, terminated, truncated, info."
            raise EnvFault(text, "wrong_result")
        return self._outcome(*result)

    def rest(self) -> None:
        """Keeps the robot still between two steps: by `hold`, or else by an action of zeros, whose result is dropped.

        Raises:
            EnvFault: the env has failed.
        """
        if self.hold is not None:
            self._called("hold", self.hold)
        else:
            self._called("step", lambda: self._held.step(np.zeros(self.action_dim, np.float32)))

    def close(self) -> None:
        """Closes the env, if it can be closed."""
        close = getattr(self._env, "close", None)
        if callable(close):
            close()

    def _reset(self, seed: int | None) -> Any:
        if seed is None:
            return self._env.reset()
        if self._takes_seed:
            return self._env.reset(seed=seed)
        if callable(getattr(self._env, "seed", None)):  # old gym
            self._env.seed(seed)
        else:
            self._note("seed", "The env's reset() takes no seed: episodes begin as the robot pleases.")
        return self._env.reset()

    def _called(self, name: str, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except EnvFault:
            raise
        except (Exception, SystemExit) as error:
            logger.exception("The env's %s() has failed.", name)
            raise EnvFault(f"The env's {name}() raised {type(error).__name__}: {error}"[:500]) from error

    def _outcome(self, observation: Any, reward: Any, terminated: Any, truncated: Any, info: Any) -> Outcome:
        seen = self._observation(observation)  # a sensor's NaN is named before what is computed from it
        number = _as_array(reward)
        is_number = number.size == 1 and number.dtype.kind in "fiub"
        if not is_number or not np.isfinite(number).all():
            text = f"The reward is {_shown(reward)}: return one finite number."
            raise EnvFault(text, "not_finite" if is_number else "wrong_result")
        for name, flag in (("terminated", terminated), ("truncated", truncated)):
            if not isinstance(flag, (bool, np.bool_)):
                raise EnvFault(f"`{name}` is {_shown(flag)}: return a bool.", "wrong_result")
        try:
            values, arrays, left_out = split_info(info)
        except UnsendableInfo as error:
            raise EnvFault(str(error), "wrong_action" if error.is_action else "wrong_result") from error
        for name, reason in left_out.items():
            self._note(f"info/{name}", f"info[{name!r}] {reason}; it stays at the robot.")
        return Outcome(seen, float(number.item()), bool(terminated), bool(truncated), values, arrays)

    def _observation(self, observation: Any) -> dict[str, np.ndarray]:
        if not isinstance(observation, Mapping):
            raise EnvFault(f"An observation is a {type(observation).__name__}: return a dict.", "wrong_shape")
        missing = [key for key in self.spaces if key not in observation]
        if missing:
            raise EnvFault(f"An observation lacks {', '.join(missing)}, which its space has.", "wrong_shape")
        for key in observation:
            if key not in self.spaces:
                self._note(f"key/{key}", f"An observation has {key!r}, which its space has not; it is not sent.")
        seen = {key: self._value(key, observation[key]) for key in self.spaces}
        if frozen := self._watch.fault(seen):
            raise EnvFault(frozen)
        return seen

    def _value(self, key: str, value: Any) -> np.ndarray:
        """The array of an observation's key; a vector of another dtype of numbers is made that of its space."""
        array, space = _as_array(value), self.spaces[key]
        dtype = np.dtype(space.dtype)
        if array.shape != space.shape:
            raise EnvFault(f"Observation {key!r} has the shape {array.shape}, its space {space.shape}.", "wrong_shape")
        if array.dtype != dtype:
            if array.ndim != 1 or dtype.kind != "f" or array.dtype.kind not in "biuf":
                text = f"Observation {key!r} is {array.dtype}, its space {dtype}: make them the same."
                raise EnvFault(text, "wrong_shape")
            self._note(f"dtype/{key}", f"Observation {key!r} is {array.dtype}, its space {dtype}; it is sent as that.")
        array = array.astype(dtype)
        if dtype.kind == "f" and not np.isfinite(array).all():
            at = f" (number {np.flatnonzero(~np.isfinite(array))[0] + 1} of {array.size})" if array.ndim == 1 else ""
            raise EnvFault(f"Observation {key!r} holds NaN or infinity{at}: fix it, or end the episode.", "not_finite")
        return array

    def _note(self, about: str, text: str) -> None:
        """Logs a remark once."""
        if about not in self._noted:
            self._noted.add(about)
            logger.warning("%s", text)


def _of_today(result: Any) -> Any:
    """The result of a step in gymnasium's form, where it is in old gym's."""
    if not (isinstance(result, tuple) and len(result) == 4 and isinstance(result[3], Mapping)):
        return result
    observation, reward, done, info = result
    is_time_out = bool(info.get("TimeLimit.truncated", False))
    return observation, reward, bool(done) and not is_time_out, bool(done) and is_time_out, info


def _method(env: Any, name: str) -> Callable[..., Any] | None:
    """An optional method of the outermost wrapper that has it, or of the env in it."""
    for owner in (env, getattr(env, "unwrapped", env)):
        method = getattr(owner, name, None)
        if callable(method):
            return method  # type: ignore[no-any-return]
    return None


def _takes_seed(reset: Callable[..., Any]) -> bool:
    try:
        inspect.signature(reset).bind(seed=0)
    except TypeError:
        return False
    return True


def _as_array(value: Any) -> np.ndarray:
    try:
        return np.asarray(value)
    except (ValueError, TypeError, RuntimeError):  # rows of several lengths, or a tensor on a GPU
        return np.empty((), object)


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return f"a tuple of {len(value)}"
    text = " ".join(repr(value).split())
    return text if len(text) <= 150 else f"{text[:150]}..."
