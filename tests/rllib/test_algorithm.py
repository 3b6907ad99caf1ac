"""Whole runs of the algorithm on a small env: what is stored, what is learnt, what is counted, what goes wrong and says
so."""

from __future__ import annotations

import math

import numpy as np
import pytest
from small_runs import SMALL

from serl_ray.data import demos
from serl_ray.data.demos import write_demos
from serl_ray.data.errors import DemoError
from serl_ray.data.replay.rows import row_bytes
from serl_ray.data.schema import ArraySpec, Segment
from serl_ray.networks.classifier import RewardClassifier
from serl_ray.rllib import SERLConfig
from serl_ray.rllib.failures import LearnerError
from serl_ray.rllib.metrics import METRICS
from serl_ray.rllib.sampling import IN_FLIGHT

pytestmark = pytest.mark.usefixtures("shared_ray")


def config(setup_mode="single-arm-learned-gripper", env="LineEnv", **options):
    options = SMALL | {"max_steps": 500, "steps_per_iteration": 50, "evaluate_every": 0} | options
    return SERLConfig().training(env_name=f"line_envs:{env}", setup_mode=setup_mode, **options).debugging(seed=3)


MODES = {
    "single-arm-fixed-gripper": 6,
    "single-arm-learned-gripper": 7,
    "dual-arm-fixed-gripper": 12,
    "dual-arm-learned-gripper": 14,
}


@pytest.mark.parametrize("setup_mode", MODES)
@pytest.mark.parametrize("image_keys", [(), ("front", "wrist")], ids=["state", "pixels"])
def test_every_set_up_trains_and_reports_every_metric(build, setup_mode, image_keys):
    options = {"image_keys": image_keys, "env_kwargs": {"action_dim": MODES[setup_mode], "cameras": image_keys}}
    steps = {"steps_per_iteration": 24, "augment_crops": 2} if image_keys else {}
    algorithm = build(config(setup_mode, evaluate_every=20, evaluation_episodes=2, **options, **steps))
    result = algorithm.train()
    assert set(METRICS) <= result.keys()
    unknown = {name for name in METRICS if math.isnan(result[name])}
    averages = (
        "success_rate",
        "autonomous_success_rate",
        "autonomous_episodes",
        "mean_return",
        "mean_steps",
        "intervention_rate",
    )
    no_episode_yet = {f"env/{name}" for name in averages}
    no_gripper = set() if "learned" in setup_mode else {name for name in METRICS if name.startswith("grasp_critic/")}
    not_here = {name for name in METRICS if name.startswith(("held_out/", "operator/")) or "/imitation_loss" in name}
    assert unknown <= no_episode_yet | no_gripper | not_here


@pytest.mark.parametrize("utd_ratio", [1.0, 0.3, 2.0])
def test_learner_steps_follow_env_steps_exactly(build, utd_ratio):
    algorithm = build(config(utd_ratio=utd_ratio))
    for _ in range(3):
        assert algorithm.train()["learner/acting_weights_age"] == 0
        assert algorithm.learner_steps == math.floor(utd_ratio * (algorithm.env_steps - 20))


def test_what_was_executed_is_stored_and_interventions_go_to_both_buffers(build):
    algorithm = build(config(expert_interventions=0.2, training_starts=400))
    stored: list[Segment] = []
    add = algorithm.online.add
    algorithm.online.add = lambda segment: (stored.append(segment), add(segment))
    for _ in range(4):
        algorithm.train()
    moved = np.concatenate([np.diff(segment.observations["state"][:, :2], axis=0) for segment in stored])
    actions = np.concatenate([segment.actions[:, :2] for segment in stored])
    np.testing.assert_allclose(moved, 0.3 * actions, atol=1e-5)
    intervened = sum(int(segment.intervened.sum()) for segment in stored)
    assert 0 < intervened == algorithm.interventions == len(algorithm.demos)
    assert len(algorithm.online) == algorithm.env_steps


@pytest.mark.slow
def test_nobody_intervenes_in_an_evaluation_and_it_is_not_recorded(build, tmp_path):
    options = {"expert_interventions": 0.5, "training_starts": 400, "evaluate_every": 50, "evaluation_episodes": 3}
    result = build(config(**options, episodes_dir=str(tmp_path))).train()
    assert result["env/intervention_rate"] > 0.5 and result["evaluation/intervention_rate"] == 0.0
    assert len(list(demos.segments(demos.read_demos(str(tmp_path))))) == result["env/episodes"]


def test_a_classifier_rewards_everywhere_and_its_positives_are_kept_of_experience_alone(build, tmp_path, monkeypatch):
    (tmp_path / "classifier").mkdir()
    RewardClassifier(["front"], device="cpu").save(tmp_path / "classifier")
    after_two_steps = lambda self, observation: (0.5, bool(observation["front"].max() >= 2))  # noqa: E731
    monkeypatch.setattr(RewardClassifier, "predict_success", after_two_steps)
    learned = {"classifier": str(tmp_path / "classifier"), "positives_dir": str(tmp_path / "positives")}
    options = {
        "evaluate_every": 50,
        "evaluation_episodes": 4,
        "training_starts": 400,
        "env_kwargs": {"cameras": ("front",)},
    }
    result = build(config(**options, **learned)).train()
    kept = list((tmp_path / "positives").rglob("*.png"))
    assert {path.stem for path in kept} == {"0002"} and result["env/success_rate"] >= 0.5
    assert result["env/episodes"] / 2 < len(kept) <= result["env/episodes"]
    assert result["evaluation/success_rate"] >= 0.5 and result["evaluation/true_success_rate"] < 0.5


def test_two_runs_of_one_seed_are_equal(build):
    results = []
    for _ in range(2):
        algorithm = build(config())
        results.append([algorithm.train()["critic/q_mean"] for _ in range(2)])
    assert results[0] == results[1]


def test_a_restored_run_counts_and_remembers(build, tmp_path):
    algorithm = build(config())
    algorithm.train()
    algorithm.save_checkpoint(str(tmp_path))
    restored = build(config())
    restored.load_checkpoint(str(tmp_path))
    assert (restored.env_steps, restored.learner_steps) == (algorithm.env_steps, algorithm.learner_steps)
    assert len(restored.online) == len(algorithm.online)
    algorithm._learn(1)
    restored._learn(1)
    ours, theirs = algorithm.agent.state.tensors(), restored.agent.state.tensors()
    assert ours.keys() == theirs.keys() and all(np.array_equal(ours[name], theirs[name]) for name in ours)
    with pytest.raises(ValueError, match="hidden_dims"):
        build(config(hidden_dims=(8, 8))).load_checkpoint(str(tmp_path))


@pytest.mark.slow
def test_remote_workers_sample_while_the_learner_learns(build):
    options = {"fragment_length": 5, "max_lead": 10, "evaluate_every": 50, "evaluation_episodes": 2}
    algorithm = build(config(**options).env_runners(num_env_runners=2))
    for _ in range(3):
        algorithm.train()
    before = algorithm.learner_steps
    result = algorithm.train()
    assert algorithm.env_steps >= 200 and len(algorithm.online) == algorithm.env_steps
    assert 0 <= algorithm.learner_steps_due() <= algorithm.options.collecting.max_lead + 2 * IN_FLIGHT * 5
    assert result["evaluation/episodes"] == 2 and 2 * result["evaluation/success_rate"] in (0, 1, 2)
    assert 0 < result["learner/acting_weights_age"] < before, (
        "what acts is behind, but not by all that was learnt before"
    )


def test_weights_that_are_no_numbers_reach_no_worker(build):
    algorithm = build(config(fragment_length=5, utd_ratio=0.0).env_runners(num_env_runners=1))
    algorithm.train()
    next(algorithm.agent.networks.actor.parameters()).data[0] = np.nan
    algorithm.learner_steps += 1
    with pytest.raises(LearnerError, match="actor.* NaN or infinite numbers, so nobody acts with it"):
        algorithm.train()


@pytest.mark.slow
def test_a_worker_has_all_its_requests_before_the_learner_goes_on(build, monkeypatch):
    algorithm = build(config(fragment_length=5).env_runners(num_env_runners=1))
    update, in_flight = algorithm.agent.update, []

    def count_and_update(*args, **kwargs):
        in_flight.append(algorithm.env_runner_group.num_in_flight_async_reqs())
        return update(*args, **kwargs)

    monkeypatch.setattr(algorithm.agent, "update", count_and_update)
    algorithm.train()
    assert set(in_flight) == {IN_FLIGHT}


@pytest.mark.slow
def test_the_fragments_of_a_worker_are_stored_in_their_order(build):
    algorithm = build(config(fragment_length=3).env_runners(num_env_runners=1))
    result = algorithm.train()
    rows_of_open_episodes = 1
    assert algorithm.online.written <= algorithm.env_steps + result["env/episodes"] + rows_of_open_episodes


@pytest.mark.parametrize("workers", [0, 1])
def test_an_exception_in_an_env_arrives_with_its_traceback(build, workers):
    with pytest.raises(Exception, match="the gripper has caught fire"):
        build(config(env="BurningEnv").env_runners(num_env_runners=workers)).train()


def test_unknown_options_are_refused_with_the_nearest_name():
    with pytest.raises(ValueError, match="'utd_ration'.*'utd_ratio'"):
        SERLConfig().training(utd_ration=2)
    with pytest.raises(ValueError, match="'discuont'.*'discount'"):
        SERLConfig().update_from_dict({"discuont": 0.9})
    with pytest.raises(ValueError, match="demo_fraction is 1.5"):
        SERLConfig().training(demo_fraction=1.5).validate()


def write_two_steps(path, **rows):
    flags = {"dones": [False, True], "truncateds": [False, False], "intervened": [True, True]}
    columns = {"rewards": [0, 1], "masks": [1, 0], "grasp_penalty": [0, 0]}
    write_demos(path, [Segment(rows, np.zeros((2, 7)), episode="a", **columns, **flags)])


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({"augment_crops": 2}, (2, 4, 4, 512)),
        ({"augment_crops": 1, "frame_stack": 2}, (1, 4, 4, 512)),
        ({"augment_crops": 0}, (32, 32, 3)),
        ({"augment_crops": 2, "frozen": False}, (32, 32, 3)),
    ],
)
def test_the_replay_holds_maps_where_the_trunk_is_frozen_and_else_frames(build, tmp_path, options, shape):
    write_two_steps(
        tmp_path / "demos.pkl", front=np.zeros((3, 32, 32, 3), np.uint8), state=np.zeros((3, 4), np.float32)
    )
    run = {"training_starts": 4, "batch_size": 4, "steps_per_iteration": 8}
    run |= {"evaluate_every": 8, "evaluation_episodes": 1}
    cameras = {
        "image_keys": ("front",),
        "env_kwargs": {"cameras": ("front",)},
        "demo_paths": (str(tmp_path / "demos.pkl"),),
    }
    algorithm = build(config(**run, **cameras, **options))
    result = algorithm.train()
    assert algorithm.online.observation_spec["front"].shape == algorithm.demos.observation_spec["front"].shape == shape
    assert (len(algorithm.online), len(algorithm.demos), result["learner/steps"]) == (8, 2, 4)
    assert not math.isnan(result["evaluation/success_rate"])


def test_demonstrations_of_another_env_are_refused(build, tmp_path):
    write_two_steps(tmp_path / "demos.pkl", state=np.zeros((3, 5), np.float32))
    with pytest.raises(DemoError, match="LineEnv.*state vectors state 5, the env's are state 4"):
        build(config(demo_paths=(str(tmp_path / "demos.pkl"),)))


@pytest.mark.slow
def test_a_rollout_worker_renders_and_runs_torch(real_workers, build):
    options = {"image_keys": ("image", "wrist"), "training_starts": 100, "max_steps": 12, "steps_per_iteration": 12}
    configuration = config(**options).training(env_name="tabletop").env_runners(num_env_runners=1)
    algorithm = build(configuration)
    algorithm.train()
    assert algorithm.online.sample(4, algorithm.rng)["observations"]["image"].std() > 0.1, "maps of what was rendered"


@pytest.mark.slow
def test_episodes_are_kept_on_disk_where_they_are_wanted_with_all_that_was_to_be_seen(build, tmp_path):
    cameras = {"image_keys": ("front",), "env_kwargs": {"cameras": ("front", "wrist")}, "augment_crops": 1}
    options = {"training_starts": 100, "steps_per_iteration": 60, "expert_interventions": 0.3, "state_keys": ("way",)}
    algorithm = build(config(env="SplitEnv", **cameras, **options, episodes_dir=str(tmp_path / "episodes")))
    result = algorithm.train()
    written = list(demos.segments(demos.read_demos(str(tmp_path / "episodes"))))
    assert len(written) == result["env/episodes"] > 1
    for segment in written:
        assert segment.observations.keys() == {"front", "wrist", "state", "point", "way"} and segment.dones[-1]
        assert segment.observations["front"].dtype == segment.observations["wrist"].dtype == np.uint8
    others = {
        **options,
        "image_keys": ("wrist",),
        "state_keys": ("point", "way"),
        "demo_paths": (str(tmp_path / "episodes"),),
    }
    other = build(config(env="SplitEnv", **{**cameras, **others}))
    assert len(other.demos) == sum(len(segment) for segment in written)
    assert other.demos.sample(4, other.rng)["observations"]["wrist"].dtype == np.float16
    moved = np.concatenate([np.diff(segment.observations["state"][:, :2], axis=0) for segment in written])
    np.testing.assert_allclose(moved, 0.3 * np.concatenate([segment.actions[:, :2] for segment in written]), atol=1e-5)
    assert any(segment.intervened.any() for segment in written)


@pytest.mark.slow
def test_a_rate_is_held_where_the_env_is(build):
    algorithm = build(config(control_hz=50.0, training_starts=400).env_runners(num_env_runners=1))
    rates = algorithm.env_runner_group.foreach_env_runner(
        lambda worker: [env.get_wrapper_attr("control_hz") for env in worker.async_env.get_sub_environments()],
        local_env_runner=False,
    )
    assert rates == [[50.0]]


def test_both_replays_together_fit_into_memory(build, monkeypatch):
    free = 24e6
    monkeypatch.setattr("psutil.virtual_memory", lambda: type("Memory", (), {"available": free}))
    options = {"max_steps": 10**8, "demo_paths": ()}
    row = row_bytes({"state": ArraySpec((4,), np.float32)}, 7)
    alone = int(0.6 * free / row)  # either would fit alone
    build(config(**options, capacity=alone, demo_capacity=100))
    with pytest.raises(MemoryError, match="demo replay: .* Choose a smaller --capacity"):
        build(config(**options, capacity=alone, demo_capacity=alone))


def test_a_worker_with_two_envs_keeps_their_episodes_apart(build):
    algorithm = build(config(expert_interventions=0.2, training_starts=400).env_runners(num_envs_per_env_runner=2))
    result = algorithm.train()
    assert result["env/steps"] == len(algorithm.online) >= 50
    assert algorithm.online.written <= algorithm.env_steps + result["env/episodes"] + 2, "a row for each open episode"
