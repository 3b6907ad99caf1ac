"""The env of a recording, with the cameras that are recorded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from serl_ray.options.groups import PacedEnv, RewardOptions
from serl_ray.options.operator import ResetOptions
from serl_ray.utils.options import OptionError

if TYPE_CHECKING:
    from threading import Event

    import gymnasium

DEFAULT_CAMERAS = {"single": ("image", "wrist"), "dual": ("image", "left_wrist", "right_wrist")}


def recorded_env(options: PacedEnv, reward: RewardOptions, image_keys: tuple[str, ...] | None) -> gymnasium.Env:
    """The env with the cameras to record, all its vectors and the reward that counts, guarded.

    Raises:
        OptionError: `image_keys` names a camera that the env does not have.
    """
    from serl_ray.envs.border import Border
    from serl_ray.envs.guard import Guard
    from serl_ray.envs.learned_reward import LearnedReward
    from serl_ray.envs.make import BUNDLED_ENVS, all_cameras, build_env
    from serl_ray.envs.time_limit import keep_time

    learned: dict[str, Any] = {
        "classifier": reward.classifier,
        "success_frames": reward.success_frames,
        "gate": reward.success_gate,
        "stages": reward.stage_classifiers,
    }
    wanted = image_keys
    if wanted is None and options.env_name in BUNDLED_ENVS:
        wanted = DEFAULT_CAMERAS[options.setup_mode.split("-")[0]]
    cameras = all_cameras(wanted or (), learned if reward.classifier else None)
    env = build_env(**options.source(), image_keys=cameras)
    there = recorded_cameras(env)
    if missing := [repr(key) for key in cameras if key not in there]:
        env.close()
        raise OptionError(f"image_keys names {', '.join(missing)}; the env's cameras are {', '.join(there) or 'none'}.")
    env = Border(env)
    if reward.classifier:
        env = LearnedReward(env, **learned)
    if wanted is not None:
        env = _without(env, [key for key in there if key not in cameras])
    return Guard(keep_time(env, options.control_hz, options.max_episode_seconds), None, None)


def check_asked(resets: ResetOptions, has_page: bool) -> None:
    """Raises OptionError where a person shall put the scene in order, and can say so nowhere."""
    from serl_ray.teleop.terminal_resets import check_terminal

    if resets.asks and not has_page:
        check_terminal("take --driver operator, for a page in a browser, or record in a terminal")


def asked_env(env: gymnasium.Env, resets: ResetOptions, interrupted: Event) -> gymnasium.Env:
    """The env with a person at the terminal who puts the scene in order, where one is wanted."""
    from serl_ray.teleop.terminal_resets import TerminalResets

    return TerminalResets(env, resets.asks, interrupted) if resets.asks else env


def recorded_cameras(env: gymnasium.Env) -> tuple[str, ...]:
    """The cameras of an env."""
    observations: Any = env.observation_space
    return tuple(key for key, space in observations.items() if len(space.shape) == 3)


def cameras_for_images(env: gymnasium.Env) -> tuple[str, ...]:
    """The cameras of an env, at least one.

    Raises:
        OptionError: there is none; the env is closed.
    """
    cameras = recorded_cameras(env)
    if not cameras:
        env.close()
        raise OptionError(
            "image_keys is empty, or the env has no cameras: a classifier learns from images. Name a camera."
        )
    return cameras


def _without(env: gymnasium.Env, keys: Sequence[str]) -> gymnasium.Env:
    """The env without some of its observations."""
    from gymnasium.wrappers import FilterObservation

    observations: Any = env.observation_space
    return FilterObservation(env, [key for key in observations if key not in keys]) if keys else env
