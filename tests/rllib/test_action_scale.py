"""A run whose demonstrations were scaled by a conversion says so, and keeps the scale in its checkpoints."""

import json
from dataclasses import replace

import numpy as np
import pytest
from small_runs import SMALL
from stamped import stamped_segment

from serl_ray.agents.sac import SACHybridAgent
from serl_ray.data.demo_scale import scale_of_demos
from serl_ray.data.demos import find_files, read_file
from serl_ray.data.formats.parquet import write_shards
from serl_ray.evaluation.rollouts import deterministic, evaluate
from serl_ray.files.digests import SEAL, write_sealed
from serl_ray.options.sets import HybridOptions
from serl_ray.rllib import OfflineConfig, SERLConfig
from serl_ray.rllib.action_scale import explanation, saved_scale, scale_of_run
from serl_ray.runs.policy import load_policy
from serl_ray.types import ActionScale

MODE = "single-arm-learned-gripper"
SCALE = ActionScale((0.05, 1.0), (0.0, 1.0), (1,))


def shards(folder, scale):
    folder.mkdir()
    write_shards(folder, [stamped_segment(number, 0, 6, done=True) for number in range(3)], scale)
    return str(folder)


@pytest.fixture
def checkpoint(tmp_path, shared_ray):
    """A checkpoint of a run on scaled demonstrations."""
    small = {"batch_size": 4, "hidden_dims": (8, 8), "evaluate_every": 0, "held_out": 0.34, "max_return": None}
    options = {"setup_mode": "single-arm-learned-gripper", "state_keys": ("state",), **small}
    algorithm = OfflineConfig().training(demo_paths=(shards(tmp_path / "demos", SCALE),), **options).build_algo()
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    algorithm.save_checkpoint(str(folder))
    algorithm.stop()
    return folder


def test_a_checkpoint_has_the_scale_and_a_run_that_starts_from_it_has_it_too(tmp_path, checkpoint, caplog):
    assert explanation(SCALE) in [record.getMessage() for record in caplog.get_records("setup")]
    assert saved_scale(checkpoint) == SCALE
    assert scale_of_run(HybridOptions.of(init_from=str(checkpoint))) == SCALE
    assert "action[0]: divided by 0.05; action[1]: gripper, 0, 1, 2 become -1, 0, 1" in explanation(SCALE)
    other = shards(tmp_path / "other", ActionScale((0.1, 1.0), (0.0, 1.0), (1,)))
    with pytest.raises(ValueError, match=r"divided by \(0\.05, 1\.0\), those of --demo_paths by \(0\.1, 1\.0\)"):
        scale_of_run(HybridOptions.of(init_from=str(checkpoint), demo_paths=(other,)))
    described = json.loads((checkpoint / "run.json").read_text())
    described["contract"]["action_scale"]["limits"] = [0]
    write_sealed(checkpoint / "run.json", {name: part for name, part in described.items() if name != SEAL})
    with pytest.raises(ValueError, match=r"run\.json: the scale of the actions is damaged"):
        saved_scale(checkpoint)


def test_a_run_without_scaled_demonstrations_has_no_scale(tmp_path, caplog):
    assert scale_of_run(HybridOptions.of()) is None
    assert scale_of_run(HybridOptions.of(demo_paths=(shards(tmp_path / "demos", None),))) is None
    with pytest.raises(FileNotFoundError):
        scale_of_run(HybridOptions.of(demo_paths=("nowhere.pkl",)))
    assert scale_of_run(HybridOptions.of(demo_paths=("nowhere.pkl",)), demos_are_shared=True) is None
    assert "a scale of their actions is not in checkpoints" in caplog.text


def test_a_resumed_run_keeps_the_scale_that_it_cannot_find_any_more(tmp_path, checkpoint):
    small = {"batch_size": 4, "hidden_dims": (8, 8), "evaluate_every": 0, "held_out": 0.34, "max_return": None}
    options = {"setup_mode": "single-arm-learned-gripper", "state_keys": ("state",), **small}
    algorithm = OfflineConfig().training(demo_paths=(shards(tmp_path / "plain", None),), **options).build_algo()
    algorithm.load_checkpoint(str(checkpoint))
    assert algorithm.agent.action_scale == SCALE
    algorithm.stop()


@pytest.fixture
def robot_run(tmp_path, shared_ray):
    """The folder of a checkpoint, the replay and the episodes of a run in an env with the robot's own units."""
    demos = tmp_path / "demos"
    demos.mkdir()
    state = {"state": np.arange(28, dtype=np.float32).reshape(7, 4) / 28}
    write_shards(demos, [replace(stamped_segment(1, 0, 6, done=True), observations=state)], SCALE)
    options = {"setup_mode": MODE, "env_name": "line_envs:RobotEnv", "demo_paths": (str(demos),), "max_return": None}
    options |= {**SMALL, "max_steps": 40, "steps_per_iteration": 40}
    config = SERLConfig().training(**options, episodes_dir=str(tmp_path / "episodes"))
    algorithm = config.keep_replay(tmp_path / "replay").build_algo()
    algorithm.train()
    (tmp_path / "checkpoint").mkdir()
    algorithm.save_checkpoint(str(tmp_path / "checkpoint"))
    executed = algorithm.env_runner.async_env.get_sub_environments()[0].unwrapped.executed
    algorithm.stop()
    return tmp_path, np.array(executed)


def test_a_run_and_its_evaluation_act_in_the_robots_units_and_its_experience_tells_the_scale(robot_run):
    folder, executed = robot_run
    assert 0.02 < np.abs(executed[:, 0]).max() <= 0.05 and set(executed[:, 1]) == {0, 1, 2}
    assert scale_of_demos([str(folder / part) for part in ("replay/online", "replay/demos", "episodes")]) == SCALE
    [*stored] = (segment for file in find_files(str(folder / "replay/online")) for segment in read_file(file))
    actions = np.concatenate([segment.actions for segment in stored])
    np.testing.assert_allclose(SCALE.invert(actions), executed, rtol=1e-5, atol=1e-8)

    agent, env = load_policy(folder / "checkpoint", env_name="line_envs:RobotEnv")
    outcome = evaluate(deterministic(agent), env, episodes=2)
    robot = env.unwrapped
    assert sum(episode.steps for episode in outcome.episodes) == len(robot.executed)
    assert all(robot.action_space.contains(action.astype(np.float32)) for action in robot.executed)
    steps = len(robot.executed)
    observation, _ = env.reset(seed=0)
    action = agent.sample_actions(observation, argmax=True)
    env.step(action)
    np.testing.assert_allclose(robot.executed[steps], agent.in_robot_units(action), rtol=1e-6)
    agent, env = load_policy(folder / "checkpoint", env_name="line_envs:LineEnv", env_kwargs={"action_dim": 2})
    assert env.action_space == env.unwrapped.action_space, "an env of -1 to 1 multiplies by the limits itself"


def test_an_agent_alone_has_the_scale_and_one_of_an_older_checkpoint_gets_it_where_it_is_played(checkpoint, caplog):
    agent = SACHybridAgent.load(checkpoint / "agent", device="cpu")
    assert "in_robot_units(actions) gives them as they were recorded" in caplog.text
    np.testing.assert_allclose(agent.in_robot_units(np.array([[1.0, -1.0], [-0.5, 0.0]])), [[0.05, 0], [-0.025, 1]])
    agent.save(checkpoint.parent / "copy")
    assert SACHybridAgent.load(checkpoint.parent / "copy", device="cpu").agent.action_scale == SCALE
    described = json.loads((checkpoint / "agent" / "agent.json").read_text())
    older = {name: part for name, part in described.items() if name not in ("action_scale", SEAL)}
    write_sealed(checkpoint / "agent" / "agent.json", older)
    caplog.clear()
    assert SACHybridAgent.load(checkpoint / "agent", device="cpu").agent.action_scale is None and not caplog.text
    played, _ = load_policy(checkpoint, env_name="line_envs:LineEnv", env_kwargs={"action_dim": 2})
    assert played.action_scale == SCALE
    for damage in ({"limits": [1.0]}, {"limits": [0, 1]}, {"grippers": None}):
        write_sealed(checkpoint / "agent" / "agent.json", {**older, "action_scale": described["action_scale"] | damage})
        with pytest.raises(ValueError, match=r"agent\.json is damaged: .*scale of the actions"):
            SACHybridAgent.load(checkpoint / "agent", device="cpu")
