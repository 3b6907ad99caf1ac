"""The process that learns is killed, is short of disk, or learns nonsense: what it had saved is whole."""

import json
import logging
import random
import resource
import signal
import time
from contextlib import contextmanager

import commands
import numpy as np
import pytest
from small_runs import SMALL

from serl_ray.agents.agent import Agent
from serl_ray.agents.checkpoint import load_agent
from serl_ray.data.formats.parquet import read_segments
from serl_ray.data.replay.log import num_transitions
from serl_ray.options.sets import HybridRun
from serl_ray.rllib.checkpoint import AGENT_DIR, checkpoint_of, checkpoints_of, read_run
from serl_ray.rllib.failures import LearnerError
from serl_ray.runs.folder import RunFolder
from serl_ray.runs.log import RunLog, read_results
from serl_ray.runs.train import train

KILLS = 6
SAVING = [
    *("--env_name", "line_envs:LineEnv", "--steps_per_iteration", "5", "--checkpoint_every", "5"),
    *("--evaluate_every", "0", "--training_starts", "20", "--batch_size", "16", "--hidden_dims", "16", "16"),
    *("--utd_ratio", "0.1", "--num_workers", "1", "--fragment_length", "1", "--expert_interventions", "0.2"),
]  # fmt: skip


def start(run, *flags):
    return commands.start(["train", *SAVING, "--save_dir", str(run), *flags], run.with_suffix(".txt"))


def env_steps_logged(run):
    lines = (
        (run / "logs" / "results.jsonl").read_text().split("\n") if (run / "logs" / "results.jsonl").exists() else []
    )
    return [json.loads(line)["env/steps"] for line in lines if line.endswith("}")]


def check_whole(run):
    """The newest checkpoint can be read, all of it; returns its env steps."""
    path = checkpoint_of(run)
    state = read_run(path)
    load_agent(path / AGENT_DIR, "cpu")
    shards = [path / "replay" / "online" / name for name in state["replay"]["online"]]
    assert num_transitions(shards) == state["counters"]["env_steps"]
    return state["counters"]["env_steps"]


def unfinished(run):
    """What is being written."""
    return [*run.glob("checkpoints/.*"), *run.glob("replay/*/.*")]


@pytest.mark.slow
@pytest.mark.usefixtures("python_path")
def test_a_run_that_is_killed_at_any_moment_goes_on_with_all_that_it_had(tmp_path):
    run, moments, killed_while_saving = tmp_path / "run", random.Random(0), 0
    saved = 0
    for kill in range(KILLS):
        earlier = env_steps_logged(run)
        process = start(run, *(["--resume"] if kill else []))
        while len(env_steps_logged(run)) <= len(earlier):
            assert process.returncode is None, process.printed
            time.sleep(0.02)
        if kill % 2:
            time.sleep(moments.uniform(0.0, 0.5))
        else:
            while not unfinished(run):
                assert process.returncode is None, process.printed
                time.sleep(0.001)  # the run needs the core, too
        process.send_signal(signal.SIGKILL)
        process.wait()
        killed_while_saving += bool(unfinished(run))
        logged = env_steps_logged(run)
        assert logged[: len(earlier)] == earlier, "nothing that was logged has been lost at a resume"
        assert logged == sorted(logged)
        before, saved = saved, check_whole(run)
        assert before <= saved <= max(logged) + 5, "a checkpoint that was complete stays"
    process = start(run, "--resume", "--max_steps", "1")
    assert process.wait() == 0, process.printed
    assert killed_while_saving and saved > 0
    assert check_whole(run) >= max(logged) >= 5 * KILLS
    assert not unfinished(run)
    segments = [segment for shard in (run / "replay" / "online").iterdir() for segment in read_segments(shard)]
    stored = [(segment.episode, segment.first_step + t) for segment in segments for t in range(len(segment))]
    assert len(stored) == len(set(stored)) == check_whole(run), "every step once"
    assert len(checkpoints_of(run)) <= 3


@contextmanager
def full_disk():
    """No file may grow beyond 2 KB, as far as this process goes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2048, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.slow
@pytest.mark.usefixtures("shared_ray")
def test_a_full_disk_costs_no_checkpoint_and_no_experience(build, caplog, tmp_path):
    caplog.set_level(logging.WARNING)
    algorithm, folder, log = build(), RunFolder(tmp_path, keep=1), RunLog(tmp_path / "logs")
    algorithm.train()
    saved = folder.save(algorithm)
    with full_disk():
        for _ in range(9):  # as many results as fill whatever might lie between
            log.append(algorithm.train(), algorithm.steps)
            folder.try_to_save(algorithm)
    for what in ("No checkpoint could be written", "Experience could not be written", "A result could not be written"):
        assert what in caplog.text
    assert checkpoints_of(tmp_path) == [saved] and check_whole(tmp_path) == 50
    assert algorithm.logs["online"].pending and not list(tmp_path.glob("replay/*/.*"))
    log.append(algorithm.train(), algorithm.steps)
    folder.save(algorithm)
    log.close()
    assert check_whole(tmp_path) == 550 == read_results(tmp_path / "logs")[-1]["env/steps"]


@pytest.mark.usefixtures("shared_ray")
def test_a_learner_that_turns_nan_stops_before_it_overwrites_a_good_checkpoint(monkeypatch, tmp_path):
    update, updates = Agent.update, []

    def poisoned(agent, *args, **kwargs):
        updates.append(update(agent, *args, **kwargs))
        if len(updates) == 150:
            next(agent.networks.actor.parameters()).data.fill_(np.nan)
        return updates[-1]

    monkeypatch.setattr(Agent, "update", poisoned)
    options = {**SMALL, "steps_per_iteration": 10, "evaluate_every": 0, "max_steps": 500}
    run = HybridRun.of(env_name="line_envs:LineEnv", save_dir=tmp_path / "run", checkpoint_every=10, **options)
    with pytest.raises(
        LearnerError, match="NaN or infinite.*smaller --lr|NaN or infinite numbers, so nothing is saved"
    ):
        train(run)
    agent = load_agent(checkpoint_of(tmp_path / "run") / AGENT_DIR, "cpu")
    assert all(np.isfinite(tensor.numpy()).all() for tensor in agent.networks.state_dict().values())
    saved = check_whole(tmp_path / "run")
    stored = num_transitions(sorted(tmp_path.glob("run/replay/online/*.parquet")))
    assert 0 < saved < stored == 20 + 150 // run.learning.cta_ratio, (
        "what came after the last checkpoint is on disk, too"
    )
