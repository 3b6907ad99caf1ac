"""Demonstrations, env and a policy to start from must go together: checked before anything that takes long."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from serl_ray.data.errors import DemoError
from serl_ray.data.observations import STATE, check_selection
from serl_ray.envs.make import BUNDLED_ENVS, all_cameras, build_env
from serl_ray.options.sets import HybridOptions, OfflineOptions, TrainingOptions
from serl_ray.rllib.agreement import check_match
from serl_ray.rllib.checkpoint import checkpoint_of, read_run
from serl_ray.rllib.demo_shapes import Shape, Shapes, check_same, differences, first_shapes, state_keys_of
from serl_ray.rllib.normalising import with_scale_of
from serl_ray.types import ActionLayout


def check_start(options: TrainingOptions) -> None:
    """Looks at the first transition of the first demonstration, the env where it is one of ours, and the policy to
    start from.

    An env of somebody's own may be a robot, which is not opened twice: `rllib.demo_shapes.check_first_demonstration`
    looks at it when its spaces are known.

    Raises:
        FileNotFoundError: there are no demonstrations, no policies or no classifier where the options name them.
        ValueError: they do not go together; the message says in what they differ.
    """
    if isinstance(options, OfflineOptions) and not options.demos.demo_paths:
        raise ValueError("demo_paths is empty: offline training learns from demonstrations alone. Name some.")
    if options.reward.classifier:
        all_cameras(options.env.image_keys, options.env_config()["learned_reward"])
    if isinstance(options, HybridOptions) and options.resets.reset_policy:
        read_run(checkpoint_of(Path(options.resets.reset_policy)))
    first = first_shapes(options)
    env = _bundled(options)
    if first and env:
        check_same(*first, env, options)
    elif first:
        path, demos = first
        try:
            check_selection(demos.observations, options.env.image_keys, state_keys_of(options, demos.observations))
            ActionLayout.from_setup(options.env.setup_mode, demos.action_dim)
        except ValueError as error:
            raise DemoError(f"{path}: {error}") from error
    if isinstance(options, HybridOptions) and options.schedule.init_from:
        _check_policy(Path(options.schedule.init_from), env or (first[1] if first else None), options)


def _bundled(options: TrainingOptions) -> Shapes | None:
    """Shapes of a bundled simulator, without the cameras that it does not have; None for any other env."""
    if options.env.env_name not in BUNDLED_ENVS:
        return None
    arguments: dict[str, Any] = {"setup_mode": options.env.setup_mode, "env_kwargs": options.env.env_kwargs}
    try:
        env = build_env(options.env.env_name, image_keys=options.env.image_keys, **arguments)
    except ValueError:
        if not options.demos.demo_paths:
            raise
        env = build_env(options.env.env_name, image_keys=(), **arguments)
    try:
        observations: Any = env.observation_space
        actions: Any = env.action_space
        shapes = {key: part.shape for key, part in observations.items()}
        if options.reward.stage_classifiers:  # `LearnedReward` adds the stage
            shapes[STATE] = (shapes.get(STATE, (0,))[0] + 1,)
        return Shapes(actions.shape[0], shapes)
    finally:
        env.close()


def _check_policy(run: Path, other: Shapes | None, options: TrainingOptions) -> None:
    """Raises ValueError where a run's policy does not fit the env, or else the demonstrations."""
    path = checkpoint_of(run)
    saved = read_run(path)
    check_match(path, saved["options"], with_scale_of(saved["options"], options))
    contract = saved["contract"]
    if other is None or not isinstance(contract.get("observations"), dict):
        return
    observed = {key: _shape_in(str(text)) for key, text in contract["observations"].items()}
    policy = Shapes(contract.get("action_dim", 0), observed)
    name = options.env.env_name if options.env.env_name in BUNDLED_ENVS else "the demonstrations"
    if found := differences(policy, other, options, f"those of {name}"):
        raise ValueError(
            f"{path}: its policy does not fit {name}: {'; '.join(found)}. Name the env in which its demonstrations "
            "were recorded, --env_name your_package.module:Class, or another run to start from."
        )


def _shape_in(text: str) -> Shape:
    """The shape of one observation in a checkpoint's words, such as float32 of shape (19,); of a camera, its last three
    axes."""
    sizes = tuple(int(size) for size in re.findall(r"\d+", text.partition("shape")[2]))
    return sizes[-3:] if "uint8" in text else sizes[-1:]
