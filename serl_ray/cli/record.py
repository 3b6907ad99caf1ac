"""`serl record`: demonstrations, or images for a reward classifier."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from annotated_types import Ge, Interval
from pydantic import AfterValidator, Field, FiniteFloat, model_validator

from serl_ray.cli.parser import given_options
from serl_ray.cli.recorded_env import asked_env, cameras_for_images, check_asked, recorded_cameras, recorded_env
from serl_ray.options.groups import PacedEnv, RecordOptions, RewardOptions
from serl_ray.options.operator import DeviceOptions, HubOptions, ResetOptions
from serl_ray.options.presets import with_reward_defaults
from serl_ray.types import REMOTE
from serl_ray.utils.options import Options, each_once, names_of, refuse_unused

if TYPE_CHECKING:
    from threading import Event

    import gymnasium

    from serl_ray.cli.operated import DrivenEnv
    from serl_ray.data.store import DemoStore
    from serl_ray.envs.recording import Drive
    from serl_ray.teleop.episodes import SessionEpisodes
    from serl_ray.teleop.sorting import Sorter

NO_REMOTE_EXPERT = (
    "driver is expert, and the expert_action() of a robot on another computer is not asked for over the network: take "
    "--driver operator, or --driver person where devices at the robot drive it."
)


class Record(Options):
    """Record successful episodes as demonstrations, or success and failure images for a reward classifier."""

    title: ClassVar[str] = "recording"

    output: Path | None = None
    """File for demonstrations, ending in .pkl (the format of HIL-SERL), or a folder for Parquet files."""
    classifier_data: Path | None = None
    """Folder for images, in its folders success and failure, in place of demonstrations."""
    resume: bool = False
    """Go on with a recording that was stopped, until there are `episodes` in all."""
    driver: Literal["expert", "person", "operator"] = "expert"
    """Source of actions: the env's expert_action(), a person whose actions the env reports as info["intervene_action"],
    or an operator in a browser, the address of whose page is printed."""
    recording: RecordOptions = Field(default_factory=RecordOptions)
    env: PacedEnv = Field(default_factory=PacedEnv)
    image_keys: Annotated[tuple[str, ...] | None, AfterValidator(each_once)] = None
    """Cameras to record, beside all vectors of the env; by default all cameras of your own env, else the front one,
    `image`, and each wrist's. Give none to record the vectors alone."""
    reward: RewardOptions = Field(default_factory=RewardOptions)
    linger: Annotated[int, Ge(0)] = 10
    """Success images of an episode after its first one, for which it goes on past its end; 0 for none."""
    failing_share: Annotated[FiniteFloat, Interval(ge=0.0, le=1.0)] = 0.5
    """Share of the episodes of images in which the expert loses its way."""
    operator: HubOptions = Field(default_factory=HubOptions)
    devices: DeviceOptions = Field(default_factory=DeviceOptions)
    resets: ResetOptions = Field(default_factory=ResetOptions)

    @classmethod
    def of(cls, **values: Any) -> Self:
        """The defaults with some options changed by name, and with what follows from the kind of reward."""
        return super().of(**with_reward_defaults(values, cls))

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.output is None) == (self.classifier_data is None):
            raise ValueError("Give either --output, for demonstrations, or --classifier_data, for images.")
        refuse_unused(
            self.reward, ("stage_classifiers", "success_frames", "success_gate"), self.reward.classifier, "--classifier"
        )
        refuse_unused(self, ("linger", "failing_share"), self.classifier_data, "--classifier_data")
        refuse_unused(self.operator, names_of(HubOptions), self.driver == "operator", "--driver operator")
        if self.classifier_data:
            refuse_unused(
                self, ("linger", "failing_share"), self.driver != "operator", "a --driver other than operator"
            )
        refuse_unused(self.devices, names_of(DeviceOptions), self.driver == "operator", "--driver operator")
        how = ("operator_arm", "operator_speed", "seen_from")
        refuse_unused(self.devices, how, self.devices.operator_devices, "--operator_devices")
        refuse_unused(self.recording, ("noise",), self.driver == "expert", "--driver expert")
        if self.driver == "expert" and self.env.env_name == REMOTE:
            raise ValueError(NO_REMOTE_EXPERT)
        refuse_unused(self.resets, ("reset_message",), self.resets.asks, "--reset_by operator")
        return self


def main(argv: Sequence[str]) -> int:
    """Records; every episode is on disk when it ends. Returns 1 where fewer were recorded than asked for."""
    options = Record.of(**given_options("serl record", argv, Record))

    from serl_ray.cli.terminal import stop_on_signals

    check_asked(options.resets, options.driver == "operator")
    with stop_on_signals("Stopping: saving the recording.") as interrupted:
        if options.classifier_data is None:
            return _record_demonstrations(options, interrupted)
        if options.driver == "operator":
            return _label_images(options, options.classifier_data, interrupted)
        return _record_images(options, options.classifier_data, interrupted)


def _record_demonstrations(options: Record, interrupted: Event) -> int:
    from serl_ray.data.store import DemoStore

    assert options.output is not None
    store = DemoStore(options.output, options.resume)
    before = len(store)
    env = recorded_env(options.env, options.reward, options.image_keys)
    env = _driven(options, env) if options.driver == "operator" else asked_env(env, options.resets, interrupted)
    drive = _driver(options, env)
    _check_spaces(store, env)
    try:
        _drive(options, env, drive, store, before, interrupted)
    finally:
        recorded = len(store)
        store.publish(complete=recorded >= options.recording.episodes)
        env.close()
        steps = sum(map(len, store.segments())) if not store.is_pickle else None
        _report(options, recorded_cameras(env), recorded, steps)
    return int(recorded < options.recording.episodes)


def _drive(
    options: Record, env: gymnasium.Env, drive: Drive, store: DemoStore, before: int, interrupted: Event
) -> None:
    from tqdm import tqdm

    from serl_ray.envs.recording import MOST_TRIES, Recorder
    from serl_ray.teleop.held import operated

    recorder = Recorder(env, drive, options.driver != "expert", options.reward.success_return, interrupted)
    recorder.says_rule = not options.reward.stage_classifiers
    missing = max(options.recording.episodes - before, 0)
    page = operated(env)
    if page:
        page.tell(target=str(options.output), wanted=options.recording.episodes, kept=before)
    episodes = recorder.successes(missing, options.recording.seed, first=before * MOST_TRIES)
    for kept, segment in enumerate(tqdm(episodes, total=missing, unit="episode"), start=before + 1):
        store.add(segment)
        if page:
            page.tell(kept=kept)
    _report_dropped(recorder.dropped)


def _report_dropped(dropped: Mapping[str, int]) -> None:
    if dropped:
        print(f"Episodes that were not recorded: {', '.join(f'{n} {reason}' for reason, n in dropped.items())}.")


def _label_images(options: Record, folder: Path, interrupted: Event) -> int:
    """Images of an operator's episodes, with the labels that the operator gives on the page."""
    from serl_ray.envs.labelling import EpisodeSorter, Labeller
    from serl_ray.teleop.marks import MarkedEpisodes
    from serl_ray.teleop.wrapper import Interrupted

    names, wanted, seed = _recorded_names(folder, options.resume), options.recording.episodes, options.recording.seed
    episodes, sorter = MarkedEpisodes(), EpisodeSorter(folder)
    inner = recorded_env(options.env, options.reward, options.image_keys)
    cameras = cameras_for_images(inner)
    env = _driven(options, inner, episodes, sorter)
    env.interrupted = interrupted
    labeller = Labeller(env, episodes, sorter, cameras)
    env.tell(target=str(folder), wanted=wanted, kept=len(names), images={})
    try:
        for number in itertools.count(len(names)):
            if len(names) >= wanted or interrupted.is_set():
                break
            name = f"episode-{seed}-{number:04d}"
            if name not in names and labeller.record(name, seed + number):
                names.add(name)
                env.tell(kept=len(names))
    except Interrupted:
        pass
    finally:
        env.close()
        print(
            f"{folder}: {labeller.counts['success']} success and {labeller.counts['failure']} failure images; "
            f"{len(names)} of {wanted} episodes."
        )
        _report_dropped(labeller.dropped)
    return int(len(names) < wanted)


def _record_images(options: Record, folder: Path, interrupted: Event) -> int:
    from tqdm import tqdm

    from serl_ray.data.episodes import EnvFault
    from serl_ray.envs.image_recording import record_frames
    from serl_ray.teleop.wrapper import Interrupted

    names = _recorded_names(folder, options.resume)
    env = recorded_env(options.env, options.reward, options.image_keys)
    cameras, counts = cameras_for_images(env), Counter[str]()
    env = asked_env(env, options.resets, interrupted)
    drive, seed, rule = _driver(options, env), options.recording.seed, options.reward.success_return
    for number in tqdm(range(options.recording.episodes), unit="episode"):
        name = f"episode-{seed}-{number:04d}"
        if interrupted.is_set():
            break
        if name in names:
            continue
        if begin := getattr(getattr(drive, "__self__", None), "begin", None):
            begin()
        try:
            found = record_frames(env, drive, cameras, folder, name, seed + number, options.linger, rule)
            counts.update(found, single=int(found["success"] == 1))
        except EnvFault as fault:
            print(f"{name} is dropped. {fault}")
        except Interrupted:
            break
    env.close()
    _report_images(options, counts)
    return int(interrupted.is_set())


def _recorded_names(folder: Path, resume: bool) -> set[str]:
    """The episodes whose images are in a folder; FileExistsError where there are any and none is expected."""
    names = {path.stem for kind in ("success", "failure") for path in (folder / kind).glob("*.pkl")}
    if names and not resume:
        raise FileExistsError(f"{folder} holds images already. Choose another --classifier_data, or go on by --resume.")
    return names


def _report_images(options: Record, counts: Counter[str]) -> None:
    print(
        f"{options.classifier_data}: {counts['success']} success and {counts['failure']} failure images of "
        f"{options.recording.episodes} episodes."
    )
    if counts["single"] and options.linger:
        print(
            f"{counts['single']} episodes gave a single success image: the env reported success for one step alone. "
            "For more, let it set info['success'] as long as the task is solved, also in steps after an episode's end."
        )


def _driven(
    options: Record,
    env: gymnasium.Env,
    episodes: SessionEpisodes | None = None,
    sorter: Sorter | None = None,
) -> DrivenEnv:
    """The env with an operator, whose page's address is printed."""
    from serl_ray.cli.operated import DrivenEnv

    return DrivenEnv(
        env,
        str(options.env.env_name),
        options.env.setup_mode,
        options.env.control_hz,
        options.operator,
        options.devices,
        episodes,
        sorter,
        options.resets.asks,
    )


def _driver(options: Record, env: gymnasium.Env) -> Drive:
    import numpy as np

    from serl_ray.envs.expert import ScriptedExpert, StrayingExpert
    from serl_ray.types import ActionLayout

    actions: Any = env.action_space
    if options.driver != "expert":
        return lambda: np.zeros(actions.shape, np.float32)
    layout = ActionLayout.from_setup(options.env.setup_mode, actions.shape[0])
    noise, seed = options.recording.noise, options.recording.seed
    if options.classifier_data:
        return StrayingExpert(env, layout, noise, seed, share=options.failing_share).act
    return ScriptedExpert(env, layout, noise, seed).act


def _check_spaces(store: DemoStore, env: gymnasium.Env) -> None:
    from serl_ray.data.schema import ArraySpec

    observations: Any = env.observation_space
    actions: Any = env.action_space
    store.check({key: ArraySpec(space.shape, space.dtype) for key, space in observations.items()}, actions.shape[0])


def _report(options: Record, cameras: Sequence[str], recorded: int, steps: int | None) -> None:
    from serl_ray.data.demos import read_file

    if steps is None:
        steps = sum(map(len, read_file(str(options.output)))) if options.output and options.output.exists() else 0
    wanted = options.recording.episodes
    if recorded >= wanted:
        print(f"{options.output}: {recorded} episodes, {steps} transitions, cameras {', '.join(cameras) or 'none'}.")
    else:
        print(f"{options.output}: {recorded} of {wanted} episodes. Go on with the same command and --resume.")
