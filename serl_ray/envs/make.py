"""Construction of envs by name."""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium
from gymnasium.envs.registration import load_env_creator

from serl_ray.data.observations import default_state_keys
from serl_ray.envs.border import Border, spaces_of
from serl_ray.envs.contract import action_space_problems
from serl_ray.envs.learned_reward import LearnedReward, load_classifiers
from serl_ray.envs.robot_units import in_policy_units
from serl_ray.envs.time_limit import keep_time
from serl_ray.envs.wrappers import SelectObservations, stack_frames
from serl_ray.types import REMOTE, SETUP_MODES, ActionScale

BUNDLED_ENVS = ("tabletop", "gym-hil", "metaworld", "robosuite")
"""Simulators that are named without a module; opening one more of them does no harm."""
FRANKA = "franka"
ROBOT_ENVS = (FRANKA, REMOTE)
"""Envs of robots that are named without a module."""
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
    max_episode_seconds: float | None = None,
    learned_reward: Mapping[str, Any] | None = None,
    action_scale: ActionScale | None = None,
) -> gymnasium.Env:
    """The env named `env`, with the agent's selection of its observations.

    Args:
        env: one of `BUNDLED_ENVS` or `ROBOT_ENVS`, or your own: `package.module:Class` (or a function that returns
            one), or a gymnasium id, with its module if that registers it (`package.module:Name-v0`).
        setup_mode: one of `types.SETUP_MODES`, which give the number of arms and whether grippers are learned.
        image_keys: cameras that the agent sees.
        state_keys: vectors joined to the agent's `state`; None for `default_state_keys`.
        env_kwargs: arguments of the env's constructor; your own env gets no others.
        frame_stack: number of stacked observations.
        control_hz: steps per second; None for no limit.
        max_episode_seconds: seconds after which an episode is truncated; None for the env's own limit alone.
        learned_reward: arguments of `LearnedReward`, for a classifier's reward; None for the env's own reward.
        action_scale: scale of the actions in the policy's demonstrations, which decides on `in_policy_units`.

    Raises:
        ValueError: there is no such env, or its spaces are not those of the set-up, the selection or the scale.
    """
    cameras = all_cameras(image_keys, learned_reward)
    built = build_env(env, setup_mode=setup_mode, image_keys=cameras, env_kwargs=env_kwargs)
    built = _with_policy_actions(built, env, setup_mode, action_scale)
    vectors = default_state_keys(spaces_of(built), image_keys) if state_keys is None else state_keys
    built = Border(built, {*cameras, *vectors})
    if learned_reward:
        built = LearnedReward(built, **learned_reward)
    selected = SelectObservations(built, image_keys, state_keys)
    return stack_frames(keep_time(selected, control_hz, max_episode_seconds), frame_stack)


def _with_policy_actions(
    built: gymnasium.Env, name: str, setup_mode: str, action_scale: ActionScale | None
) -> gymnasium.Env:
    """The env with the policy's units of actions; ValueError where its action space is not that of the set-up."""
    try:
        built = in_policy_units(built, action_scale)
    except ValueError as error:
        raise ValueError(f"The env {name!r} cannot be used. {error}") from error
    for problem in action_space_problems(built.action_space, setup_mode):
        raise ValueError(f"The env {name!r} cannot be used. {problem}")
    return built


def all_cameras(image_keys: Sequence[str], learned_reward: Mapping[str, Any] | None) -> tuple[str, ...]:
    """The cameras of the agent, and further ones of the classifiers."""
    given = load_classifiers(learned_reward["classifier"], learned_reward.get("stages", ())) if learned_reward else ()
    return tuple(dict.fromkeys((*image_keys, *(key for classifier in given for key in classifier.image_keys))))


def used_keys(env: gymnasium.Env, has_learned_reward: bool) -> set[str]:
    """The observations that the agent and the reward classifiers, if any, of an env from `make_env` read."""
    judged = (
        {key for each in env.get_wrapper_attr("classifiers") for key in each.image_keys} if has_learned_reward else ()
    )
    return {*env.get_wrapper_attr("image_keys"), *env.get_wrapper_attr("state_keys"), *judged}


def build_env(
    env: str, *, setup_mode: str, image_keys: Sequence[str] = (), env_kwargs: Mapping[str, Any] | None = None
) -> gymnasium.Env:
    """The env named `env` with all of its observations, for `check_env`; for the arguments see `make_env`."""
    if setup_mode not in SETUP_MODES:
        raise ValueError(f"setup_mode is {setup_mode!r}; choose one of {', '.join(SETUP_MODES)}.")
    kwargs = dict(env_kwargs or {})
    if simulator := _simulator(env):
        return _call(simulator, env, {"setup_mode": setup_mode, "cameras": tuple(image_keys)} | kwargs)
    if env == "gym-hil":
        if setup_mode != GYM_HIL_MODE:
            raise ValueError(
                f"The env gym-hil is {GYM_HIL_MODE}, not {setup_mode}: choose that setup_mode, or the env tabletop."
            )
        from serl_ray.envs.gym_hil import make_pick_cube

        return _call(make_pick_cube, env, {"cameras": tuple(image_keys)} | kwargs)
    if env == FRANKA:
        from serl_ray.envs.franka import FrankaServerEnv

        return _call(FrankaServerEnv, env, {"setup_mode": setup_mode} | kwargs)
    if env == REMOTE:
        from serl_ray.envs.remote import RemoteEnv

        return _call(RemoteEnv, env, {"setup_mode": setup_mode} | kwargs)
    return _call(_registered(env) or import_factory(env), env, kwargs)


def _simulator(env: str) -> Callable[..., Any] | None:
    """The class of a bundled simulator with several tasks; None for another env."""
    if env == "tabletop":
        from serl_ray.envs.tabletop import TabletopEnv

        return TabletopEnv
    if env == "metaworld":
        from serl_ray.envs.metaworld import MetaWorldEnv

        return MetaWorldEnv
    if env == "robosuite":
        from serl_ray.envs.robosuite import RobosuiteEnv

        return RobosuiteEnv
    return None


def _registered(name: str) -> Callable[..., Any] | None:
    """The maker of the env with this gymnasium id; None if there is no such id."""
    if name not in gymnasium.registry:
        return None
    entry_point: Any = gymnasium.spec(name).entry_point

    @functools.wraps(load_env_creator(entry_point) if isinstance(entry_point, str) else entry_point)
    def make(**kwargs: Any) -> gymnasium.Env:
        return gymnasium.make(name, disable_env_checker=True, **kwargs)  # the border checks more

    return make


def import_factory(path: str) -> Callable[..., Any]:
    """The class, function or gymnasium id at `package.module:Class`."""
    module_name, colon, attribute = path.partition(":")
    if not (module_name and colon and attribute):
        raise ValueError(
            f"Unknown env {path!r}: choose {', '.join((*BUNDLED_ENVS, FRANKA))} or {REMOTE}, or name your own as "
            "package.module:Class, or by its gymnasium id (package.module:Name-v0 imports the module that registers "
            "it)."
        )
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ValueError(
            f"The module of env {path!r} cannot be imported ({error}): install its package (pip install -e .), "
            "or add its folder to PYTHONPATH."
        ) from error
    if registered := _registered(attribute):
        return registered
    if not callable(getattr(module, attribute, None)):
        classes = [
            name for name, value in vars(module).items() if inspect.isclass(value) and issubclass(value, gymnasium.Env)
        ]
        raise ValueError(f"{module_name} has no class {attribute!r}; its envs: {', '.join(classes) or 'none'}.")
    factory: Callable[..., Any] = getattr(module, attribute)
    return factory


def _call(factory: Callable[..., Any], name: str, kwargs: Mapping[str, Any]) -> gymnasium.Env:
    signature = inspect.signature(factory)
    try:
        signature.bind(**kwargs)
    except TypeError as error:
        raise ValueError(
            f"env_kwargs do not fit env {name!r} ({error}): it is made by {factory.__name__}{signature}."
        ) from error
    env = factory(**kwargs)
    if not isinstance(env, gymnasium.Env):
        raise ValueError(
            f"{name!r} gives a {type(env).__name__}, which is no gymnasium.Env: name a class that is derived from it "
            "(not from the old gym.Env), or a function that returns one."
        )
    for space in ("action_space", "observation_space"):
        if not isinstance(getattr(env, space, None), gymnasium.Space):
            raise ValueError(
                f"{type(env.unwrapped).__name__} of {name!r} has no {space}: set it in the constructor to a space of "
                "gymnasium (docs/env_contract.md)."
            )
    return env
