"""The discount follows from the demonstrations, unless it is given or a run goes on."""

from __future__ import annotations

import pytest
import ray
from line_demos import record_line_demos
from small_runs import SMALL
from stamped import stamped_segment

from serl_ray.data.demos import write_demos
from serl_ray.data.rewards import ReturnBound, discount_for
from serl_ray.files.atomic import read_json
from serl_ray.files.digests import SEAL, write_sealed
from serl_ray.options.sets import HybridOptions, HybridRun
from serl_ray.rllib import SERL, OfflineConfig, SERLConfig
from serl_ray.rllib.buffers import demos_key, read_dataset
from serl_ray.rllib.discount import find_discount
from serl_ray.runs.train import train
from serl_ray.utils.options import OptionError

ENV = {"env_name": "line_envs:LineEnv", "setup_mode": "single-arm-learned-gripper"}
TINY = {**ENV, **SMALL, "evaluate_every": 0, "steps_per_iteration": 10, "max_steps": 20, "max_return": None}


def demos(folder, *lengths):
    segments = [stamped_segment(number, 0, steps, done=True) for number, steps in enumerate(lengths)]
    write_demos(folder, segments)
    return (str(folder),)


@pytest.mark.parametrize(
    ("steps", "discount"),
    [(1, 0.9), (4, 0.9), (5, 0.903), (10, 0.95), (10.5, 0.953), (45, 0.989), (170, 0.997), (300, 0.998), (9999, 0.998)],
)
def test_a_success_after_so_many_steps_is_worth_0_6_in_the_first(steps, discount):
    assert discount_for(steps) == discount


@pytest.mark.parametrize("name", ["demos.pkl", "demos"])
@pytest.mark.parametrize("config", [SERLConfig, OfflineConfig])
def test_the_median_demonstration_decides(tmp_path, name, config):
    paths = demos(tmp_path / name, 3, 45, 60)
    made = config().training(demo_paths=paths, state_keys=("state",), **ENV)
    assert made.discount is None
    made.validate()
    assert made.discount == 0.989 and "a success after 45 steps" in made.discount_reason
    made.training(demo_paths=demos(tmp_path / "others", 10)).validate()
    assert made.discount == 0.95, "what was found for other demonstrations does not count as given"
    assert made.training(reward="dense").discount == 0.98 and made.discount_reason is None


@pytest.mark.parametrize(
    ("given", "discount"),
    [({"discount": 0.5}, 0.5), ({"reward": "dense"}, 0.98), ({"reward": "dense", "discount": None}, 0.989)],
)
def test_a_given_discount_counts(tmp_path, given, discount):
    config = SERLConfig().training(demo_paths=demos(tmp_path / "demos", 45), **ENV, **given)
    config.validate()
    assert config.discount == discount
    config = SERLConfig().preset("hil-serl").training(demo_paths=demos(tmp_path / "others", 45), **ENV)
    config.validate()
    assert config.discount == 0.97 and config.discount_reason is None


def test_without_demonstrations_it_is_the_originals():
    found = find_discount(HybridOptions.of(**ENV))
    assert (found.value, found.reason[:24]) == (0.97, "The discount is 0.97: th")
    with pytest.raises(FileNotFoundError):
        find_discount(HybridOptions.of(demo_paths=("nowhere.pkl",)))
    with pytest.raises(OptionError, match="discount is None, and the demonstrations"):
        HybridOptions.of().return_bound()


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    return record_line_demos(tmp_path_factory.mktemp("discount") / "demos", 5)


def saved(algorithm, folder, discount):
    """A checkpoint of an algorithm, as one that had another discount would have written it."""
    folder.mkdir()
    algorithm.save_checkpoint(str(folder))
    described = read_json(folder / "run.json", "checkpoint")
    described["options"]["discount"] = discount
    write_sealed(folder / "run.json", {name: part for name, part in described.items() if name != SEAL})
    return folder


def parts_of(algorithm):
    """The discounts of everything that has one."""
    buffers = [algorithm.data.buffer] if hasattr(algorithm, "data") else algorithm.buffers.values()
    return {algorithm.agent.config.discount, algorithm.options.discount, *(ring.horizon.discount for ring in buffers)}


@pytest.mark.parametrize("config", [SERLConfig, OfflineConfig])
def test_a_restored_run_goes_on_with_its_own_unless_one_is_given(shared_ray, build, tmp_path, recorded, config):
    streaming = {"streaming": True, "window": 10} if config is OfflineConfig else {}
    options = {**TINY, "demo_paths": (recorded,), "state_keys": ("state",), **streaming}
    options = {name: value for name, value in options.items() if name in vars(config())}
    algorithm = build(config().training(**options))
    found = algorithm.options.discount
    assert parts_of(algorithm) == {found} and 0.9 <= found < 0.95
    folder = saved(algorithm, tmp_path / "checkpoint", 0.95)
    algorithm.load_checkpoint(str(folder))
    assert parts_of(algorithm) == {0.95}
    if isinstance(algorithm, SERL):
        assert algorithm.returns._bound == ReturnBound(None, 0.95)
    algorithm.train()
    given = build(config().training(**options, discount=0.8))
    given.load_checkpoint(str(folder))
    assert parts_of(given) == {0.8}


def test_shared_demonstrations_are_measured_where_they_lie(shared_ray, build, recorded):
    options = {**TINY, "demo_paths": (recorded,)}
    alone = build(SERLConfig().training(**options))
    space, shape = alone.policy.observation_space, alone.policy.action_space.shape
    elsewhere = {**options, "demo_paths": ("elsewhere.pkl",)}
    shared = {demos_key(HybridOptions.of(**elsewhere)): ray.put(read_dataset(alone.options, space, *shape))}
    trial = build(SERLConfig().training(**elsewhere).share_demos(shared))
    assert trial.options.discount == alone.options.discount
    assert trial.config.discount_reason == alone.config.discount_reason


@pytest.mark.slow
def test_a_run_says_its_discount_and_goes_on_with_it(shared_ray, tmp_path, recorded, capsys):
    options = HybridRun.of(**TINY, demo_paths=(recorded,), save_dir=tmp_path / "run")
    train(options)
    found = find_discount(options)
    assert found.reason in capsys.readouterr().out
    train(options.replace(resume=True, max_steps=30))
    assert f"The discount is {found.value:g}, with which the run began." in capsys.readouterr().out
    train(options.replace(resume=True, max_steps=40, discount=0.5))
    assert "The discount is 0.5, as given." in capsys.readouterr().out


def test_a_run_that_starts_from_a_policy_has_its_discount_where_it_has_no_demonstrations(
    shared_ray, build, tmp_path, recorded
):
    offline = {name: TINY[name] for name in TINY if name in vars(OfflineConfig())}
    algorithm = build(OfflineConfig().training(**offline, demo_paths=(recorded,), state_keys=("state",)))
    folder = saved(algorithm, tmp_path / "checkpoint", 0.93)
    assert find_discount(HybridOptions.of(init_from=str(folder))).value == 0.93
    found = find_discount(HybridOptions.of(init_from=str(folder), demo_paths=demos(tmp_path / "demos", 45)))
    assert found.value == 0.989
