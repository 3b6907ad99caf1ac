"""The groups of options of runs and of other commands, beside those of the agent and its networks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar

from annotated_types import Ge, Gt, Interval
from pydantic import AfterValidator, Field, FiniteFloat

from serl_ray.data.observations import Selection
from serl_ray.data.rewards import SUCCESS_RETURN
from serl_ray.files.paths import is_uri
from serl_ray.options.presets import RewardKind
from serl_ray.types import SetupMode
from serl_ray.utils.options import OptionError, Options, Role, each_once

Share = Annotated[FiniteFloat, Interval(ge=0.0, le=1.0)]
Positive = Annotated[FiniteFloat, Gt(0.0)]


class EnvSource(Options):
    """The env, and how it is made."""

    title: ClassVar[str] = "env"

    env_name: Annotated[str | None, Role.DATA] = "tabletop"
    """Env: tabletop, gym-hil, metaworld, robosuite, franka, remote, or yours: package.module:Class or gymnasium id."""
    setup_mode: Annotated[SetupMode, Role.MUST_MATCH, Role.DATA] = "single-arm-learned-gripper"
    """Number of arms, and whether their grippers are learned."""
    env_kwargs: dict[str, Any] | None = None
    """Arguments of the env's constructor, as names and YAML values: ip 10.0.0.2 cameras '[front, wrist]'."""

    def source(self) -> dict[str, Any]:
        """The arguments of `envs.build_env` that name the env.

        Raises:
            OptionError: there is no env.
        """
        if self.env_name is None:
            raise OptionError("env_name is None: name an env, such as tabletop or your own package.module:Class.")
        return {"env": self.env_name, "setup_mode": self.setup_mode, "env_kwargs": self.env_kwargs}


class PacedEnv(EnvSource):
    """The env, and its rate."""

    control_hz: Positive | None = None
    """Steps per second to which the env is held; None for no limit, or for an env that keeps time itself."""
    max_episode_seconds: Positive | None = None
    """Seconds after which an episode is truncated; a pause between two steps, for a learner or an operator, counts as
    one control period at most. None for the env's own limit alone."""


class EnvOptions(PacedEnv):
    """The env, and what the agent sees of it."""

    image_keys: Annotated[tuple[str, ...], AfterValidator(each_once), Role.MUST_MATCH, Role.DATA] = ()
    """Cameras that the policy sees; none to learn from the state."""
    state_keys: Annotated[tuple[str, ...] | None, AfterValidator(each_once), Role.MUST_MATCH, Role.DATA] = None
    """Vectors that are joined to the policy's state; by default `state`, and without cameras `object_state` too."""
    step_deadline: Positive | None = 30.0
    """Seconds that an env may take for a step before its episode is dropped; None for no limit."""
    reset_deadline: Positive | None = 600.0
    """Seconds that an env may take for a reset, in which the operator may put the scene in order; None for no limit."""
    frame_stack: Annotated[int, Ge(1), Role.MUST_MATCH] = 1
    """Number of consecutive images and states in an observation."""

    def selection(self) -> Selection:
        """The agent's part of the env's observations."""
        return Selection(self.image_keys, self.state_keys)


class DemoOptions(Options):
    """Recorded demonstrations."""

    title: ClassVar[str] = "demonstrations"

    demo_paths: Annotated[tuple[str, ...], Role.PATH] = ()
    """Demonstrations: HIL-SERL pickles, Parquet files, LeRobot data sets, folders, patterns or URIs of these."""
    skip_bad: Annotated[bool, Role.DATA] = False
    """Leave out and count episodes that cannot be read, in place of an error; returns above max_return still end a
    run."""


class RecordOptions(Options):
    """Episodes to record."""

    title: ClassVar[str] = "recording"

    episodes: Annotated[int, Ge(1)] = 20
    """Episodes to record: successful ones for demonstrations, all for images."""
    noise: Annotated[FiniteFloat, Ge(0.0)] = 0.2
    """Standard deviation of the expert's noise, as a share of full scale; it shows what to do off the straight path."""
    seed: Annotated[int, Ge(0)] = 0
    """Seed of the env and the noise."""


class HybridDemoOptions(DemoOptions):
    """Demonstrations beside online experience."""

    demo_fraction: Share = 0.5
    """Share of demonstrations and interventions in every batch."""
    success_demos: bool = False
    """Count episodes that succeed without an intervention as demonstrations, too."""
    demo_capacity: Annotated[int, Ge(2), Role.FIXED] = 50_000
    """Room for interventions and successes in the demonstration replay, in observations beside the demonstrations."""


class OfflineDemoOptions(DemoOptions):
    """Demonstrations as the only data."""

    held_out: Share = 0.1
    """Share of the episodes that are not trained on; actions and values are judged on them."""
    streaming: bool = False
    """Stream demonstrations through a window even where there is memory for all of them."""
    memory_gb: Annotated[FiniteFloat, Ge(0.0)] | None = None
    """Memory for demonstrations in GB; they are streamed where they need more. By default half of the free memory."""
    window: Annotated[int, Ge(2)] = 20_000
    """Observations in memory at a time while demonstrations are streamed."""


class RewardChoice(Options):
    """The kind of reward."""

    title: ClassVar[str] = "reward"

    reward: RewardKind = "sparse"
    """Kind of reward: sparse (1 at success, which ends the episode, else 0), or dense (at every step), which changes
    the defaults of success_return, max_return and discount."""


class RewardOptions(RewardChoice):
    """The reward, and what counts as a success."""

    success_return: FiniteFloat | None = SUCCESS_RETURN
    """Sum of rewards from which an episode counts as a success; None if the env's info["success"] decides."""
    classifier: Annotated[str | None, Role.PATH] = None
    """Folder or URI of a reward classifier that gives the reward; None for the env's own reward."""
    stage_classifiers: Annotated[tuple[str, ...], Role.PATH] = ()
    """Folders or URIs of reward classifiers of the stages before the last one, which --classifier judges, in order."""
    success_frames: Annotated[int, Ge(1)] = 1
    """Consecutive frames that the classifier must call a success."""
    success_gate: str | None = None
    """Condition on the state that a success must meet as well, such as "state[6] > 0.04"."""


def local_folder(path: str | None) -> str | None:
    """The path of a folder in a file system.

    Raises:
        ValueError: it is a URI.
    """
    if path is not None and is_uri(path):
        raise ValueError(f"it is {path}, to which no robot can write images. Name a folder, which machines may share.")
    return path


class HybridRewardOptions(RewardOptions):
    """The reward of online experience."""

    positives_dir: Annotated[str | None, AfterValidator(local_folder), Role.PATH] = None
    """Folder for the images of every step that the classifier calls a success, for review."""


class LearningOptions(Options):
    """Batches, and how often the agent learns."""

    title: ClassVar[str] = "algorithm"

    batch_size: Annotated[int, Ge(2)] = 128
    """Transitions in each update."""
    cta_ratio: Annotated[int, Ge(1)] = 2
    """Critic updates per learner step; the last of them also updates actor and temperature."""
    n_step: Annotated[int, Ge(1)] = 3
    """Rewards that the critics' targets sum up before the value of the state after them, cut at ends of episodes; more
    carry a success back faster, and trust the actions that were taken."""
    augment_crops: Annotated[int, Ge(0), Role.DATA] = 2
    """Random crops of each image that a frozen trunk encodes once and the replay stores; 1 for the whole image alone, 0
    to store images and to crop and encode them in every update."""


class HybridLearningOptions(LearningOptions):
    """Options of learning from online experience."""

    utd_ratio: Annotated[FiniteFloat, Ge(0.0)] = 2.0
    """Learner steps per env step; a learner that is too slow for it makes fewer where a robot does not wait."""
    training_starts: Annotated[int, Ge(1)] = 100
    """Online transitions before the first learner step."""
    random_steps: Annotated[int, Ge(0)] = 0
    """Env steps with uniformly random actions at the start; none where there is a policy to start from."""
    warmup_steps: Annotated[int, Ge(1)] = 3000
    """Env steps from the start of training over which imitation fades and SAC takes its place; imitation comes back
    while success without interventions falls."""
    capacity: Annotated[int, Ge(2), Role.FIXED] = 200_000
    """Greatest number of observations in the online replay."""


class ScheduleOptions(Options):
    """The length of a run."""

    title: ClassVar[str] = "run"

    max_steps: Annotated[int, Ge(1), Role.FIXED] = 100_000
    """Length of the run in env steps; offline, in learner steps."""
    steps_per_iteration: Annotated[int, Ge(1)] = 250
    """Steps between two results."""


class HybridScheduleOptions(ScheduleOptions):
    """The length of a hybrid run, and where it starts."""

    init_from: Annotated[str | None, Role.PATH] = None
    """Run folder or URI of a run that was trained offline; its policy acts from the first step on."""


class EvaluationOptions(Options):
    """Evaluation during training."""

    title: ClassVar[str] = "evaluation"

    evaluate_every: Annotated[int, Ge(0)] = 1000
    """Steps between evaluations, each at the end of an iteration; 0 for none."""
    evaluation_episodes: Annotated[int, Ge(1)] = 20
    """Deterministic episodes in each evaluation."""


class CollectingOptions(Options):
    """Options of gathering experience."""

    title: ClassVar[str] = "workers"

    fragment_length: Annotated[int, Ge(1)] = 10
    """Steps of each of its envs that a remote rollout worker hands over at once."""
    max_lead: Annotated[int, Ge(0)] | None = 100
    """Env steps by which rollout workers may be ahead of the learner before they wait for it; None, and with
    control_hz, max_episode_seconds or the env remote, for no limit, since a robot must not wait."""
    max_faults: Annotated[int, Ge(0)] = 5
    """Consecutive episodes that an env may spoil (an exception, a missed deadline, NaN, a wrong shape) before the run
    ends."""
    episodes_dir: Annotated[str | None, Role.PATH] = None
    """Folder that keeps every episode as Parquet with all observations of the env, seen by every rollout worker."""
    expert_interventions: Share = 0.0
    """Probability at each step that the env's scripted expert takes over, in the operator's place; for simulators."""
    expert_noise: Annotated[FiniteFloat, Ge(0.0)] = 0.2
    """Standard deviation of the scripted expert's noise, as a share of full scale."""


class RunOptions(Options):
    """The run folder, and how a run is watched."""

    title: ClassVar[str] = "run"

    save_dir: Path = Path("run")
    """Run folder for checkpoints, logs, plots and videos."""
    seed: Annotated[int, Ge(0)] = 0
    """Seed of the initial weights, the exploration, the envs and the batches."""
    device: str = "auto"
    """Device of the learner: auto for the best one, cpu, cuda, cuda:1 or mps; rollout workers act on the CPU."""
    resume: bool = False
    """Go on from the newest checkpoint in save_dir, with all experience that was stored after it."""
    checkpoint_every: Annotated[int, Ge(1)] = 1000
    """Steps between checkpoints; there is always one at the start and one at the end."""
    keep: Annotated[int, Ge(1)] = 2
    """Number of newest checkpoints to keep; the one with the best evaluation is kept as well."""
    mirror: str | None = None
    """URI to which checkpoints and experience are copied, such as s3://bucket/run; resume fetches them from there."""
    track: tuple[str, ...] = ()
    """Trackers beside TensorBoard: wandb:PROJECT, wandb:TEAM/PROJECT, mlflow:URI of a server or database."""


class EvaluationProcessOptions(Options):
    """The processes that play evaluations."""

    title: ClassVar[str] = "evaluation"

    evaluation_workers: Annotated[int, Ge(0)] = 0
    """Processes that share the episodes of an evaluation, so that it does not stop training."""
    record_video: bool = True
    """Record the first episode of every evaluation as SAVE_DIR/videos/STEP.mp4."""


class ProcessOptions(Options):
    """The processes that step envs."""

    title: ClassVar[str] = "workers"

    num_workers: Annotated[int, Ge(0)] = 0
    """Remote rollout workers; 0 steps the env in this process, and two runs with one seed are then equal."""
    envs_per_worker: Annotated[int, Ge(1)] = 1
    """Envs that each rollout worker steps in turn; their images and actions are one batch of the networks."""
    env_runner_resources: dict[str, float] = Field(default_factory=dict)
    """Ray resources that a node needs for a rollout worker, such as robot 1."""
