import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from serl_ray.cli.main import main
from serl_ray.envs import make_env

ROOT = Path(__file__).parents[2]
MODE = "single-arm-learned-gripper"


def test_an_env_by_its_import_path():
    env = make_env(
        "fake_envs:FakeEnv", setup_mode="dual-arm-learned-gripper", image_keys=["wrist"], env_kwargs={"action_dim": 10}
    )
    observation, _ = env.reset(seed=0)
    assert env.action_space.shape == (10,) and list(observation) == ["wrist", "state"]


def test_a_function_that_makes_an_env():
    env = make_env("fake_envs:make_fake", setup_mode=MODE)
    assert env.reset(seed=0)[0]["state"].shape == (5,)  # state and object_state


@pytest.mark.parametrize("mode", ["single-arm-fixed-gripper", "dual-arm-learned-gripper"])
def test_tabletop_draws_no_camera_unasked(mode):
    env = make_env("tabletop", setup_mode=mode, env_kwargs={"max_steps": 3})
    observation, _ = env.reset(seed=0)
    assert list(observation) == ["state"] and observation["state"].dtype == np.float32
    truncations = [env.step(np.zeros(env.action_space.shape, np.float32))[3] for _ in range(3)]
    assert truncations == [False, False, True]


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        (
            {"env": "table"},
            "Unknown env 'table': choose tabletop, gym-hil, metaworld, robosuite, franka or remote, or name your own",
        ),
        ({"env": "no_such_module:Env"}, "cannot be imported .No module named 'no_such_module'.: install its package"),
        ({"env": "fake_envs:Fake"}, "fake_envs has no class 'Fake'; its envs: FakeEnv"),
        (
            {"env": "fake_envs:FakeEnv", "env_kwargs": {"actions": 7}},
            "unexpected keyword argument 'actions'.*FakeEnv.action_dim",
        ),
        ({"env": "fake_envs:Spaceless"}, "Spaceless of 'fake_envs:Spaceless' has no action_space: set it in"),
        ({"env": "fake_envs:not_an_env"}, "gives a str, which is no gymnasium.Env"),
        (
            {"env": "tabletop", "setup_mode": "one-arm"},
            "setup_mode is 'one-arm'; choose one of single-arm-fixed-gripper",
        ),
        ({"env": "tabletop", "env_kwargs": {"sizes": 3}}, "env_kwargs do not fit env 'tabletop'.*'sizes'.*image_size"),
        ({"env": "gym-hil", "setup_mode": "dual-arm-fixed-gripper"}, "gym-hil is single-arm-learned-gripper, not dual"),
        ({"env": "fake_envs:FakeEnv", "setup_mode": "dual-arm-fixed-gripper"}, "An action of 7 numbers cannot be dual"),
        ({"env": "fake_envs:FakeEnv", "image_keys": ["side"]}, "side not found; there are front"),
    ],
)
def test_errors_say_what_to_do(kwargs, message):
    with pytest.raises(ValueError, match=message):
        make_env(**{"setup_mode": MODE} | kwargs)


def test_importing_envs_loads_no_simulator():
    code = "import sys, serl_ray.envs; print([m for m in ('mujoco', 'gym_hil', 'ray') if m in sys.modules])"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )


@pytest.mark.parametrize(
    ("action_dim", "status", "text"),
    [
        (7, 0, "The env keeps the contract."),
        (1, 1, "problem: An action of 1 numbers cannot be single-arm-learned-gripper"),
    ],
)
def test_the_command_prints_a_report_and_exits_by_it(action_dim, status, text, capsys):
    arguments = ["--env_name", "fake_envs:FakeEnv", "--setup_mode", MODE, "--env_kwargs", "action_dim", str(action_dim)]
    assert main(["check-env", *arguments]) == status
    assert text in capsys.readouterr().out
