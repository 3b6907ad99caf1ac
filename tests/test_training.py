"""Whole runs: they learn, and Ctrl-C loses nothing."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import ray

from serl_ray.data.demos import write_demos
from serl_ray.envs.expert import ScriptedExpert
from serl_ray.envs.make import build_env
from serl_ray.envs.recording import record_successes
from serl_ray.rllib.checkpoint import checkpoint_of, read_run
from serl_ray.runs.train import HybridRunOptions, load_policy, train
from serl_ray.settings import HybridSettings
from serl_ray.types import ActionLayout

TESTS = Path(__file__).parent
MODE = "single-arm-learned-gripper"
SMALL = {"batch_size": 64, "hidden_dims": (32, 32), "training_starts": 50, "random_steps": 0, "discount": 0.9, "lr": 1e-3}


def test_a_run_learns_from_demonstrations_and_experience(tmp_path):
    env = build_env("line_envs:LineEnv", setup_mode=MODE)
    expert = ScriptedExpert(env, ActionLayout.from_setup(MODE, 7), noise=0.2)
    write_demos(tmp_path / "demos.pkl", record_successes(env, expert.act, episodes=10, seed=0))
    settings = HybridSettings(
        env_name="line_envs:LineEnv",
        setup_mode=MODE,
        demo_paths=(str(tmp_path / "demos.pkl"),),
        max_steps=1500,
        evaluate_every=500,
        evaluation_episodes=30,
        **SMALL,
    )
    ray.init("local", num_cpus=2, include_dashboard=False, runtime_env={"env_vars": {"PYTHONPATH": str(TESTS)}})
    try:
        result = train(settings, HybridRunOptions(save_dir=tmp_path / "run"))
    finally:
        ray.shutdown()
    assert result["evaluation/success_rate"] >= 0.9
    assert result["critic/q_max"] <= 1.5
    agent, _ = load_policy(tmp_path / "run", env_name=settings.env_name)
    assert agent.layout.action_dim == 7
    assert (tmp_path / "run" / "learning_curve.png").stat().st_size > 1000


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_saves_the_run_and_leaves_cleanly(tmp_path, signum):
    flags = ["--env_name", "line_envs:LineEnv", "--max_steps", "100000", "--training_starts", "90000", "--evaluate_every", "0"]
    command = [sys.executable, str(TESTS.parent / "scripts" / "train_hybrid.py"), *flags, "--save_dir", str(tmp_path / "run")]
    run = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(TESTS)}, stdout=subprocess.PIPE, text=True)
    results = tmp_path / "run" / "logs" / "results.jsonl"
    while run.poll() is None and not (results.exists() and results.read_text()):
        time.sleep(0.2)
    run.send_signal(signum)
    output, _ = run.communicate()
    assert run.returncode == 0 and "go on with the same command and --resume" in output
    saved = read_run(checkpoint_of(tmp_path / "run"))
    assert saved["counters"]["env_steps"] >= json.loads(results.read_text().splitlines()[-1])["env/steps"] > 0
