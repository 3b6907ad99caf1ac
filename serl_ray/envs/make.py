"""From a name to an env as the agent sees it."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium

from serl_ray.envs.contract import action_space_problems
from serl_ray.envs.learned_reward import LearnedReward
from serl_ray.envs.wrappers import ControlRate, SelectObservations, stack_frames
from serl_ray.files.uris import local_copy
from serl_ray.networks.classifier import RewardClassifier
from serl_ray.types import SETUP_MODES

BUNDLED_ENVS = ("tabletop", "gym-hil")
GYM_HIL_MODE = "single-arm-learned-gripper"


def make_env(
    env: str,
    *,
    setup_mode: str,
    image_keys: Sequence[str] = (),
    state_keys: Sequence[str] | None = None,
    env_kwargs: Mapping[str, Any] | None = None,
    frame_stack: int = 1,
    control_hz: float | None = None,
    learned_reward: Mapping[str, Any] | None = None,
) -> gymnasium.Env:
    """The env named `env`, with the agent's selection of its observations.

    Args:
        env: `tabletop`, `gym-hil`, or `package.module:Class` for an env of your own (a function that returns one will do).
        setup_mode: One of `types.SETUP_MODES`: how many arms there are and whether their grippers are learned.
        image_keys: The cameras that the agent sees.
        state_keys: The vectors that its `state` is joined from; None chooses by `default_state_keys`.
        env_kwargs: Arguments of the env's constructor. An env of your own gets these and nothing else.
        frame_stack: Observations that each one holds.
        control_hz: Steps a second; None for as many as there are.
        learned_reward: Arguments of `LearnedReward`, for a classifier's reward; None for the env's own.
    """
    cameras = all_cameras(image_keys, learned_reward)
    built = build_env(env, setup_mode=setup_mode, image_keys=cameras, env_kwargs=env_kwargs)
    for problem in action_space_problems(built.action_space, setup_mode):
        raise ValueError(f"The env {env!r} cannot be used. {problem}")
    if learned_reward:
        built = LearnedReward(built, **learned_reward)
    selected = SelectObservations(built, image_keys, state_keys)
    return stack_frames(ControlRate(selected, control_hz) if control_hz else selected, frame_stack)


def all_cameras(image_keys: Sequence[str], learned_reward: Mapping[str, Any] | None) -> tuple[str, ...]:
    """The agent's cameras, and those that only the classifier looks at."""
    seen = RewardClassifier.load(local_copy(learned_reward["classifier"]), device="cpu").image_keys if learned_reward else ()
    return tuple(dict.fromkeys((*image_keys, *seen)))


def build_env(
    env: str, *, setup_mode: str, image_keys: Sequence[str] = (), env_kwargs: Mapping[str, Any] | None = None
) -> gymnasium.Env:
    """The env named `env` with all of its observations, as `check_env` wants it; the arguments are those of `make_env`."""
    if setup_mode not in SETUP_MODES:
        raise ValueError(f"setup_mode is {setup_mode!r}; choose one of {', '.join(SETUP_MODES)}.")
    kwargs = dict(env_kwargs or {})
    if env == "tabletop":
        from serl_ray.envs.tabletop import TabletopEnv

        return _call(TabletopEnv, env, {"setup_mode": setup_mode, "cameras": tuple(image_keys)} | kwargs)
    if env == "gym-hil":
        if setup_mode != GYM_HIL_MODE:
            raise ValueError(f"The env gym-hil is {GYM_HIL_MODE}, not {setup_mode}: choose that setup_mode, or the env tabletop.")
        from serl_ray.envs.gym_hil import make_pick_cube

        return _call(make_pick_cube, env, {"cameras": tuple(image_keys)} | kwargs)
    return _call(_import_factory(env), env, kwargs)


def _import_factory(path: str) -> Callable[..., Any]:
    """The class or function that `package.module:Class` names."""
    module_name, colon, attribute = path.partition(":")
    if not (module_name and colon and attribute):
        raise ValueError(f"Unknown env {path!r}: choose {' or '.join(BUNDLED_ENVS)}, or name your own as package.module:Class.")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ValueError(
            f"The module of env {path!r} cannot be imported ({error}): install its package (pip install -e .), "
            "or put its folder on PYTHONPATH."
        ) from error
    if not callable(getattr(module, attribute, None)):
        classes = [name for name, value in vars(module).items() if inspect.isclass(value) and issubclass(value, gymnasium.Env)]
        raise ValueError(f"{module_name} has no class {attribute!r}; its envs: {', '.join(classes) or 'none'}.")
    return getattr(module, attribute)


def _call(factory: Callable[..., Any], name: str, kwargs: Mapping[str, Any]) -> gymnasium.Env:
    signature = inspect.signature(factory)
    try:
        signature.bind(**kwargs)
    except TypeError as error:
        raise ValueError(f"env_kwargs do not fit env {name!r} ({error}): it is made by {factory.__name__}{signature}.") from error
    env = factory(**kwargs)
    if not isinstance(env, gymnasium.Env):
        raise ValueError(f"{name!r} gives a {type(env).__name__}: derive it from gymnasium.Env (the old gym.Env will not do).")
    return env
