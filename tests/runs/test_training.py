"""Whole runs: they learn, and Ctrl-C loses nothing."""

import json
import signal
import time

import pytest
from commands import start
from line_demos import record_line_demos

from serl_ray.options.sets import HybridRun
from serl_ray.rllib.checkpoint import checkpoint_of, read_run
from serl_ray.runs.policy import load_policy
from serl_ray.runs.train import train

MODE = "single-arm-learned-gripper"
SMALL = {
    "batch_size": 64,
    "hidden_dims": (32, 32),
    "training_starts": 50,
    "random_steps": 0,
    "discount": 0.9,
    "lr": 1e-3,
}


@pytest.mark.slow
def test_a_run_learns_from_demonstrations_and_experience(shared_ray, tmp_path):
    demos = record_line_demos(tmp_path / "demos.pkl", 10)
    options = HybridRun.of(
        env_name="line_envs:LineEnv",
        setup_mode=MODE,
        demo_paths=(demos,),
        max_steps=1500,
        evaluate_every=500,
        evaluation_episodes=30,
        **SMALL,
    )
    result = train(options.replace(save_dir=tmp_path / "run"))
    assert result["evaluation/success_rate"] >= 0.9
    assert result["critic/q_max"] <= 1.5
    agent, _ = load_policy(tmp_path / "run", env_name=options.env.env_name)
    assert agent.layout.action_dim == 7
    assert (tmp_path / "run" / "learning_curve.png").stat().st_size > 1000


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_saves_the_run_and_leaves_cleanly(python_path, tmp_path, signum):
    flags = [
        "--env_name",
        "line_envs:LineEnv",
        "--max_steps",
        "100000",
        "--training_starts",
        "90000",
        "--evaluate_every",
        "0",
    ]
    run = start(["train", *flags, "--save_dir", str(tmp_path / "run")], tmp_path / "printed.txt")
    results = tmp_path / "run" / "logs" / "results.jsonl"
    while run.returncode is None and not (results.exists() and results.read_text()):
        time.sleep(0.2)
    run.send_signal(signum)
    assert run.wait() == 0 and "go on with the same command and --resume" in run.printed
    saved = read_run(checkpoint_of(tmp_path / "run"))
    assert saved["counters"]["env_steps"] >= json.loads(results.read_text().splitlines()[-1])["env/steps"] > 0
