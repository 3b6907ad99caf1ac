"""The policy of a run, and an env to play it in."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import gymnasium
import torch

from serl_ray.agents.agent import Agent
from serl_ray.agents.checkpoint import load_agent
from serl_ray.envs.make import make_env
from serl_ray.files.paths import is_uri
from serl_ray.networks.classifier import CLASSIFIER_FILE
from serl_ray.options.sets import TrainingOptions
from serl_ray.rllib.action_scale import saved_scale
from serl_ray.rllib.agreement import checked_env, classifier_id
from serl_ray.rllib.checkpoint import AGENT_DIR, RUN_FILE, checkpoint_of, read_run
from serl_ray.utils.options import OptionError, names_of


def load_policy(run: Path, device: torch.device | str = "cpu", **options: Any) -> tuple[Agent, gymnasium.Env]:
    """The agent of a run's newest checkpoint, and an env like the one it was trained in.

    Args:
        run: the run folder, or a checkpoint; `runs.folder.choose_checkpoint` finds the best one.
        device: device on which the agent acts.
        options: options in which the env differs. A checkpoint may come from anybody: an env of your own, whose code
            runs, must be named here.

    Raises:
        ValueError: no env is named that may be made, or its actions are in other units than the policy's.
        FileNotFoundError: the classifier that the policy was trained with is not found, and no other is named.
    """
    path = checkpoint_of(run)
    state = read_run(path)
    saved = state["options"]
    options = options | _classifiers(path, state, options)
    options = options | {"env_name": checked_env(path, saved, options.get("env_name"))}
    described = _options_of(path, saved).replace(**options)
    if described.env.env_name is None:
        raise ValueError(f"{run} was trained without an env. Name one to play its policy in: --env_name tabletop.")
    agent, scale = load_agent(path / AGENT_DIR, device), saved_scale(path)
    agent.action_scale = scale  # the agents of older checkpoints do not hold it
    return agent, make_env(**described.env_config(), action_scale=scale)


def _classifiers(path: Path, state: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The reward classifiers that a policy was trained with, as options, where no others are given."""
    saved = state["options"]
    found: dict[str, Any] = {}
    if saved.get("classifier") and "classifier" not in given:
        found["classifier"] = find_classifier(path, str(saved["classifier"]), state.get("classifier"))
    if (stages := saved.get("stage_classifiers")) and "stage_classifiers" not in given:
        pairs = zip(stages, state["stage_classifiers"], strict=True)
        flag = "--stage_classifiers"
        found["stage_classifiers"] = tuple(find_classifier(path, str(name), known, flag) for name, known in pairs)
    if len(given.get("stage_classifiers", stages or ())) != len(stages or ()):
        raise ValueError(
            f"{path} was trained with {len(stages or ())} classifier(s) of earlier stages, and --stage_classifiers "
            f"names {len(given['stage_classifiers'])}: name one for each stage."
        )
    return found


def find_classifier(checkpoint: Path, named: str, identity: str | None, flag: str = "--classifier") -> str:
    """The classifier that a policy was trained with: where it was then, or where it is now if it was moved with the
    run.

    Args:
        checkpoint: the policy's checkpoint.
        named: the classifier's folder or URI at that time.
        identity: its `classifier_id`.
        flag: flag that names another one.

    Raises:
        FileNotFoundError: there is no such classifier.
    """
    parts = () if is_uri(named) else Path(named).parts
    moved = (folder.joinpath(*parts[start:]) for folder in checkpoint.absolute().parents for start in range(len(parts)))
    for place in (named, *map(str, moved)):
        with suppress(FileNotFoundError):  # the folder of a URI is gone
            if (is_uri(place) or (Path(place) / CLASSIFIER_FILE).is_file()) and classifier_id(place) == identity:
                return place
    is_there = not is_uri(named) and (Path(named) / CLASSIFIER_FILE).is_file()
    where = "which has been trained anew since" if is_there else "which is neither there nor beside the run"
    raise FileNotFoundError(
        f"{checkpoint} was trained with the classifier {named}, {where}. Name it, or another: {flag} FOLDER."
    )


def success_return_of(run: Path) -> float | None:
    """The sum of rewards from which an episode of a run is a success; None if the env's `info["success"]` decides."""
    path = checkpoint_of(run)
    return _options_of(path, read_run(path)["options"]).reward.success_return


def _options_of(path: Path, saved: dict[str, Any]) -> TrainingOptions:
    try:
        return TrainingOptions.of(**{name: saved[name] for name in names_of(TrainingOptions) if name in saved})
    except OptionError as error:
        raise ValueError(f"{path / RUN_FILE} is damaged: {error} Take another copy of the checkpoint.") from error
