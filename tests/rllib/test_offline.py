"""Offline training on a small env: it learns, it holds out, it goes on where it was, and a hybrid run can start from
it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from line_demos import record_line_demos

from serl_ray.data.demos import find_files, read_file, write_demos
from serl_ray.data.errors import DemoError
from serl_ray.data.schema import Segment
from serl_ray.envs.make import build_env
from serl_ray.evaluation.rollouts import deterministic, evaluate
from serl_ray.rllib import OfflineConfig, SERLConfig

MODE, ENV = "single-arm-learned-gripper", "line_envs:LineEnv"
SMALL = {"setup_mode": MODE, "batch_size": 32, "hidden_dims": (32, 32), "lr": 1e-3}


pytestmark = pytest.mark.usefixtures("shared_ray")


@pytest.fixture(scope="module")
def demos(tmp_path_factory):
    """A folder with 24 demonstrations of the expert."""
    return record_line_demos(tmp_path_factory.mktemp("offline") / "demos", 24, cameras=("front",))


def test_images_that_no_policy_sees_are_refused(tmp_path):
    shown = np.zeros((4, 16, 16, 4), np.uint8)
    segment = Segment(
        {"front": shown, "state": np.zeros((4, 2), np.float32)}, np.zeros((3, 7)), *np.zeros((6, 3)), episode=0
    )
    write_demos(tmp_path / "demos.pkl", [replace(segment, masks=np.ones(3))])
    config = OfflineConfig().training(demo_paths=(str(tmp_path / "demos.pkl"),), image_keys=("front",))
    with pytest.raises(DemoError, match=r"camera front has images \(16, 16, 4\); the policy sees colours alone"):
        config.build_algo()


@pytest.fixture
def build(build):
    return lambda configuration: build(configuration.debugging(seed=3))


def offline(demos, **options):
    options = (
        {"steps_per_iteration": 60, "max_steps": 600, "evaluate_every": 0, "state_keys": ("state",)} | SMALL | options
    )
    return OfflineConfig().training(demo_paths=(demos,), **options)


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["bc", "awac"])
def test_a_policy_from_demonstrations_alone(build, demos, objective):
    options = {"env_name": ENV, "evaluate_every": 600, "evaluation_episodes": 40, "steps_per_iteration": 600}
    algorithm = build(offline(demos, objective=objective, **options))
    result = algorithm.train()
    assert result["evaluation/success_rate"] >= 0.9 and result["evaluation/at_step"] == 600
    assert result["env/steps"] == 0 and math.isnan(result["env/success_rate"])
    assert result["held_out/action_error"] < 0.25 and 0.3 < result["held_out/q_mean"] < 1.1
    assert result["actor/imitation_share"] == 1.0


def test_without_an_env_the_demonstrations_say_what_the_spaces_are(build, demos):
    algorithm = build(offline(demos, image_keys=("front",), augment_crops=1, batch_size=4, steps_per_iteration=2))
    assert algorithm.policy.observation_space["front"].shape == (32, 32, 3)
    assert algorithm.policy.action_space.shape == (7,)
    assert algorithm.train()["learner/steps"] == 2
    assert not math.isnan(algorithm.evaluate_now()["held_out/action_error"])


def test_no_batch_has_what_is_held_out(build, demos, monkeypatch):
    for streaming in (False, True):
        algorithm = build(offline(demos, held_out=0.25, streaming=streaming, window=40))
        held_out = np.concatenate([segment.observations["state"] for segment in algorithm.data.held_out])
        assert len(algorithm.data.held_out) == 6 and bool(algorithm.data.stream) == streaming
        update, batches = algorithm.agent.update, []

        def note_and_update(batch, *args, update=update, batches=batches, **kwargs):
            batches.append(np.asarray(batch["observations"]["state"]))
            return update(batch, *args, **kwargs)

        monkeypatch.setattr(algorithm.agent, "update", note_and_update)
        algorithm.train()
        seen = np.concatenate(batches)
        assert not {tuple(row) for row in held_out.tolist()} & {tuple(row) for row in seen.tolist()}
        assert len({tuple(row) for row in seen.tolist()}) >= 0.9 * algorithm.data.num_transitions


def test_what_needs_more_memory_than_is_granted_streams(build, demos):
    algorithm = build(offline(demos, memory_gb=1e-6))
    assert algorithm.data.stream and algorithm.data.stream._window.nbytes <= 1e3
    assert algorithm.train()["learner/steps"] == 60
    assert not build(offline(demos)).data.stream


def test_a_restored_run_goes_on_to_the_last_bit(build, demos, tmp_path):
    straight, saved, restored = (build(offline(demos)) for _ in range(3))
    for _ in range(2):
        straight.train()
    saved.train()
    saved.save_checkpoint(str(tmp_path))
    restored.load_checkpoint(str(tmp_path))
    restored.train()
    ours, theirs = straight.agent.state.tensors(), restored.agent.state.tensors()
    assert restored.learner_steps == 120
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_what_cannot_be_learned_from_is_refused(demos, tmp_path):
    with pytest.raises(ValueError, match="demo_paths is empty"):
        OfflineConfig().training(**SMALL).build_algo()
    with pytest.raises(ValueError, match="'objectiv'.*'objective'"):
        OfflineConfig().training(objectiv="bc")
    with pytest.raises(ValueError, match="objective is 'cql'"):
        offline(demos, objective="cql").build_algo()
    with pytest.raises(DemoError, match="1 episode.*all held out"):
        offline(record_line_demos(tmp_path / "one.pkl", 1)).build_algo()


@pytest.mark.slow
def test_a_hybrid_run_starts_with_the_policy_and_imitation_fades(build, demos, tmp_path):
    trained = build(offline(demos, objective="bc"))
    for _ in range(5):
        trained.train()
    trained.save_checkpoint(str(tmp_path))
    online = {"env_name": ENV, "init_from": str(tmp_path), "training_starts": 20, "warmup_steps": 100, "max_steps": 300}
    online |= {"steps_per_iteration": 60, "evaluate_every": 60, "evaluation_episodes": 20, "state_keys": ("state",)}
    algorithm = build(SERLConfig().training(demo_paths=(demos,), **online, **SMALL))
    env = build_env(ENV, setup_mode=MODE)
    by_hand = evaluate(deterministic(trained.agent), env, episodes=20).success_rate
    before = algorithm.agent.state.tensors()
    assert all(
        torch.equal(before[name], tensor)
        for name, tensor in trained.agent.networks.state_dict(prefix="networks.").items()
    )
    assert algorithm.options.learning.random_steps == 0 and algorithm.options.agent.objective == "bc"
    shares, rates = [], []
    for _ in range(3):
        result = algorithm.train()
        shares.append(result["actor/imitation_share"])
        rates.append(result["env/success_rate"])
    assert by_hand >= 0.9 and min(rates) >= 0.7
    assert shares == [pytest.approx(0.6), 0.0, 0.0]
    with pytest.raises(ValueError, match=r"hidden_dims \[32, 32\], this run has \[8, 8\]"):
        SERLConfig().training(**online, **(SMALL | {"hidden_dims": (8, 8)})).build_algo()


def test_a_bad_demonstration_is_left_out_where_that_is_wanted(build, demos, tmp_path, caplog):
    segments = list(read_file(find_files(demos)[0]))
    segments[5].rewards = segments[5].rewards * np.nan
    write_demos(tmp_path / "some" / "bad.pkl", segments)
    (tmp_path / "some" / "torn.pkl").write_bytes(b"\x80\x05")
    with pytest.raises(DemoError, match="rewards"):
        build(offline(str(tmp_path / "some" / "bad.pkl")))
    algorithm = build(offline(str(tmp_path / "some"), skip_bad=True, held_out=0.0))
    assert "2 of 25 episodes dropped" in caplog.text
    assert algorithm.data.num_transitions == sum(map(len, segments)) - len(segments[5])
    assert algorithm.train()["learner/steps"] == 60


def test_demonstrations_may_lie_in_a_folder_of_any_name(build, demos, tmp_path):
    path = tmp_path / "dü #1 %20\nx" / "demos.pkl"  # which is in the names of its episodes
    write_demos(path, list(read_file(find_files(demos)[0]))[:6])
    algorithm = build(offline(str(path), steps_per_iteration=2))
    assert algorithm.train()["learner/steps"] == 2
    [judged] = algorithm.data.held_out
    assert judged.episode.startswith(str(path)) and algorithm.data.num_transitions > 0
