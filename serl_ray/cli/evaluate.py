"""`serl evaluate`: how often a trained policy succeeds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Self

from annotated_types import Ge
from pydantic import Field, model_validator

from serl_ray.cli.parser import given_options
from serl_ray.options.operator import ResetOptions
from serl_ray.utils.options import Options, Role, refuse_unused


class Evaluate(Options):
    """Play a trained policy and print its success rate with a 95 % interval."""

    title: ClassVar[str] = "evaluation"

    checkpoint: Annotated[str, Role.PATH]
    """Run folder, whose checkpoint with the best evaluation is played; or one checkpoint in it; or the URI of its
    mirror."""
    newest: bool = False
    """Play the newest checkpoint of the run in place of the best one."""
    episodes: Annotated[int, Ge(1)] = 50
    """Episodes to play."""
    sampled: bool = False
    """Sample actions, as in training, in place of the policy's mode."""
    video: Path | None = None
    """File for a video of the episodes, such as out.mp4."""
    classifier: Annotated[str | None, Role.PATH] = None
    """Reward classifier that judges the episodes; by default the one that the policy was trained with."""
    stage_classifiers: Annotated[tuple[str, ...] | None, Role.PATH] = None
    """Reward classifiers of the stages before the last one, in order; by default those that the policy was trained
    with."""
    env_name: str | None = None
    """Env to play in; by default the one that the policy was trained in. Name your own here, since making it runs its
    code."""
    device: str = "auto"
    """Device on which the policy acts: auto for the best one, cpu, cuda, cuda:1 or mps."""
    seed: Annotated[int, Ge(0)] = 20_000
    """Seed of the first episode; the others follow from it."""
    resets: ResetOptions = Field(default_factory=ResetOptions)

    @model_validator(mode="after")
    def _check(self) -> Self:
        refuse_unused(self.resets, ("reset_message",), self.resets.asks, "--reset_by operator")
        return self


def main(argv: Sequence[str]) -> None:
    """Plays, and prints the outcome."""
    options = Evaluate.of(**given_options("serl evaluate", argv, Evaluate))

    from tqdm import tqdm

    from serl_ray.envs.recording import MAX_FAULTS
    from serl_ray.evaluation.rollouts import Evaluation, deterministic, record_video, run_episodes
    from serl_ray.rllib.action_scale import explanation, saved_scale
    from serl_ray.runs.folder import choose_checkpoint
    from serl_ray.runs.mirror import local_run
    from serl_ray.runs.policy import load_policy, success_return_of
    from serl_ray.teleop.terminal_resets import TerminalResets, check_terminal
    from serl_ray.utils.device import device_named

    if options.resets.asks:
        check_terminal("evaluate in a terminal")
    device = device_named(options.device)
    names = "classifier", "stage_classifiers", "env_name"
    changed = {name: value for name in names if (value := getattr(options, name)) is not None}
    path, sentence = choose_checkpoint(local_run(options.checkpoint, options.newest), options.newest)
    print(sentence)
    if scale := saved_scale(path):
        print(explanation(scale))
    agent, env = load_policy(path, device, **changed)
    if options.resets.asks:
        env = TerminalResets(env, options.resets.asks)
    act = agent.sample_actions if options.sampled else deterministic(agent)
    success_return = success_return_of(path)
    if options.video:
        outcome = record_video(act, env, options.video, options.episodes, options.seed, success_return, MAX_FAULTS)
    else:
        episodes = run_episodes(act, env, options.episodes, options.seed, None, success_return, MAX_FAULTS)
        outcome = Evaluation(list(tqdm(episodes, total=options.episodes, unit="episode")))
    env.close()
    print(outcome)
