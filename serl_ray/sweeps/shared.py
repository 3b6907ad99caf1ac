"""The data of a sweep: recorded, read and encoded once, and shared by its trials."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium
import ray

from serl_ray.classifier.config import ClassifierOptions
from serl_ray.classifier.train import read_and_split
from serl_ray.data.demos import write_demos
from serl_ray.envs.border import Border
from serl_ray.envs.expert import ScriptedExpert, StrayingExpert
from serl_ray.envs.image_recording import record_frames
from serl_ray.envs.make import build_env, make_env
from serl_ray.envs.recording import record_successes
from serl_ray.files.atomic import new_folder
from serl_ray.options.groups import EnvOptions, RecordOptions
from serl_ray.options.sets import TrainingOptions
from serl_ray.rllib.action_scale import scale_of_run
from serl_ray.rllib.buffers import Shared, demos_key, read_dataset
from serl_ray.rllib.discount import find_discount
from serl_ray.rllib.offline_data import demo_spaces
from serl_ray.sweeps.config import Sweep
from serl_ray.types import ActionLayout
from serl_ray.utils.options import Role, names_of

RECORD_MODE = EnvOptions().setup_mode
"""The set-up in which images for a classifier are recorded, which has no set-up of its own."""


def share(sweep: Sweep, folder: Path) -> Shared:
    """Puts into the object store what the trials learn from; what is to be recorded is written to a folder first,
    once."""
    shared: Shared = {}
    for values in sweep.shared_by():
        if sweep.record:
            values = values | sweep.recorded_in(values, folder)
        options = sweep.trial_options(values)
        if sweep.trains == "classifier":
            if sweep.record:
                _record_frames(options, sweep.record, folder / "frames")
            shared[frames_key(options)] = ray.put(read_and_split(options))
        elif options.demos.demo_paths:
            if sweep.record:
                _record_demos(options, sweep.record, Path(options.demos.demo_paths[0]))
            shared[demos_key(options)] = ray.put(read_dataset(options, *_spaces(options)))
    return shared


def find_options(sweep: Sweep, folder: Path, shared: Shared) -> dict[str, Any]:
    """The searched options that a run without a sweep finds by its demonstrations."""
    if "discount" not in sweep.search:
        return {}
    [values, *_] = sweep.shared_by()
    options = sweep.trial_options(values | (sweep.recorded_in(values, folder) if sweep.record else {}))
    given = options.agent.discount
    return {"discount": find_discount(options, shared or None).value if given is None else given}


def frames_key(options: ClassifierOptions) -> str:
    """Identity of a classifier's images: all options that change them."""
    return json.dumps([getattr(options, name) for name in names_of(ClassifierOptions, Role.DATA)])


def _spaces(options: TrainingOptions) -> tuple[gymnasium.spaces.Dict, int]:
    """Spaces of one observation and one action, as rollout workers see them."""
    if options.env.env_name is None:
        space, actions = demo_spaces(options)
        return space, actions.shape[0]
    env = make_env(**options.env_config() | {"frame_stack": 1, "action_scale": scale_of_run(options)})
    try:
        return env.observation_space, env.action_space.shape[0]
    finally:
        env.close()


def _record_demos(options: TrainingOptions, recording: RecordOptions, path: Path) -> None:
    if path.exists():
        return
    env, layout = _env(
        options.env.env_name or "tabletop", options.env.setup_mode, options.env.image_keys, options.env.env_kwargs
    )
    expert = ScriptedExpert(env, layout, recording.noise, recording.seed)
    write_demos(path, record_successes(env, expert.act, recording.episodes, recording.seed))
    env.close()


def _record_frames(options: ClassifierOptions, recording: RecordOptions, folder: Path) -> None:
    if folder.exists():
        return
    env, layout = _env("tabletop", RECORD_MODE, options.image_keys, None)
    expert = StrayingExpert(env, layout, recording.noise, recording.seed)
    with new_folder(folder) as new:
        for episode in range(recording.episodes):
            expert.begin()
            name = f"episode-{recording.seed}-{episode:04d}"
            record_frames(env, expert.act, options.image_keys, new, name, recording.seed + episode)
    env.close()


def _env(
    name: str, setup_mode: str, image_keys: tuple[str, ...], kwargs: Mapping[str, Any] | None
) -> tuple[gymnasium.Env, ActionLayout]:
    env = Border(build_env(name, setup_mode=setup_mode, image_keys=image_keys, env_kwargs=kwargs))
    return env, ActionLayout.from_setup(setup_mode, env.action_space.shape[0])
