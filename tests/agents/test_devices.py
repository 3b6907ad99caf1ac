"""What a GPU does, on a device that refuses what a GPU refuses; and how a checkpoint goes from one kind of device to
another."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import ray.train
import torch
from fake_gpu import NAME, STATE_BYTES, fake_gpu
from safetensors.torch import load_file
from small_agents import SMALL, batch, observations, small_config, with_maps

from serl_ray.agents.checkpoint import load_agent, save_agent
from serl_ray.agents.noise import PolicyNoise, UpdateNoise
from serl_ray.agents.sac import SACAgent, SACHybridAgent
from serl_ray.classifier.loop import BEST_FILE, HISTORY_FILE, LoopConfig, train_loop
from serl_ray.networks.classifier import RewardClassifier
from serl_ray.rllib.feed import BatchFeed

OPTIONS = {
    "sac": {},
    "awac": {"objective": "awac"},
    "bc, trained trunk": {"objective": "bc"},
    "redq": {"critic_subsample_size": 1, "backup_entropy": True, "max_return": 1.0},
}


@pytest.fixture
def gpu():
    with fake_gpu() as name:
        yield name


def make(device, cameras=(), hybrid=True, seed=0, **options):
    config = small_config(frozen="trunk" not in str(options.pop("named", ""))).replace(**options)
    agent_class, sizes = (SACHybridAgent, (6, 3)) if hybrid else (SACAgent, (6,))
    return agent_class(cameras, *sizes, config=config, device=device, seed=seed)


def as_float64(value):
    if isinstance(value, dict):
        return {key: as_float64(part) for key, part in value.items()}
    return value.astype(np.float64) if value.dtype == np.float32 else value


def on_cpu(noise):
    """The same noise for an agent on the CPU."""
    if isinstance(noise, torch.Tensor):
        return noise.cpu()
    if isinstance(noise, PolicyNoise | UpdateNoise):
        return type(noise)(**{name: on_cpu(part) for name, part in vars(noise).items()})
    return noise if noise is None else [on_cpu(part) for part in noise]


@pytest.mark.parametrize(
    "misuse",
    {
        "a tensor of the CPU": lambda x: x + torch.ones(3),
        "a mask from the CPU": lambda x: torch.where(torch.ones(3).bool(), x, x),
        "a numpy array": lambda x: x.numpy(),
        "float64": lambda x: torch.as_tensor(np.ones(3), device=NAME),
        "float64 to convert there": lambda x: torch.as_tensor(np.ones(3), dtype=torch.float32, device=NAME),
        "a generator of the CPU": lambda x: torch.randn(3, generator=torch.Generator(), device=NAME),
        "its generator on the CPU": lambda x: torch.randn(3, generator=torch.Generator(NAME)),
    }.items(),
    ids=lambda case: case[0],
)
def test_the_fake_gpu_refuses(gpu, misuse):
    with pytest.raises((RuntimeError, TypeError)):
        misuse[1](torch.ones(3, device=gpu))


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("hybrid", [False, True], ids=["continuous", "hybrid"])
@pytest.mark.parametrize("seen", ["state", "frames", "maps"])
def test_an_update_on_a_gpu_is_that_of_the_cpu(gpu, seen, hybrid, options):
    if seen == "maps" and "trunk" in options:
        pytest.skip("maps are of a frozen trunk")
    rng, cameras = np.random.default_rng(0), () if seen == "state" else ("a", "b")
    there, here = (make(device, cameras, hybrid, named=options, **OPTIONS[options]) for device in (gpu, "cpu"))
    for critics_only in (True, False):
        same = batch(rng, here, cameras)
        same = as_float64(with_maps(same, cameras) if seen == "maps" else same)
        if not critics_only:
            same["is_demo"] = np.arange(6) >= 3
        for agent in (there, here):
            agent.sample_actions(same["observations"])
        noise = there.agent.noise.update(6, critics_only)
        assert noise.critic.eps.device.type == NAME
        ours, theirs = there.update(same, critics_only, noise), here.update(same, critics_only, on_cpu(noise))
        assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-5)
    for name, tensor in here.networks.state_dict().items():
        torch.testing.assert_close(there.networks.state_dict()[name].cpu(), tensor, rtol=1e-3, atol=1e-5)


def test_an_agent_on_a_gpu_draws_its_own_noise_there(gpu):
    rng, cameras = np.random.default_rng(1), ("a",)
    agent = make(gpu, cameras)
    assert all(np.isfinite(value) for value in agent.update(batch(rng, agent, cameras)).values())


@pytest.mark.parametrize("cameras", [(), ("a",)], ids=["state", "frames"])
def test_acting_on_a_gpu_is_acting_on_the_cpu(gpu, cameras):
    rng = np.random.default_rng(2)
    there, here = (make(device, cameras) for device in (gpu, "cpu"))
    seen = as_float64(observations(rng, 4, cameras))
    ours, theirs = (agent.sample_actions(seen, argmax=True) for agent in (there, here))
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert there.sample_actions({key: rows[0] for key, rows in seen.items()}).shape == (7,)
    q, their_q = (agent.q_values(seen, theirs.astype(np.float64)) for agent in (there, here))
    np.testing.assert_allclose(q, their_q, atol=1e-5)
    here.state.load_acting_tensors({name: tensor.cpu() for name, tensor in there.state.acting_tensors().items()})


def saved(folder, device, updates=2):
    """An agent that has learned, on disk, and a batch to go on with."""
    rng = np.random.default_rng(3)
    agent = make(device)
    for _ in range(updates):
        agent.update(batch(rng, agent, ()))
    agent.save(folder)
    return agent, batch(rng, agent, ())


def same_tensors(ours, theirs):
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name].cpu(), theirs[name].cpu()) for name in ours)


def trained(agent):
    return {name: tensor for name, tensor in agent.state.tensors().items() if not name.startswith("generator")}


def test_a_checkpoint_of_a_gpu_goes_on_there_with_the_very_next_update(gpu, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    agent, next_batch = saved(tmp_path / "agent", gpu)
    loaded = load_agent(tmp_path / "agent", gpu)
    assert same_tensors(agent.state.tensors(), loaded.state.tensors())
    assert len(load_file(tmp_path / "agent" / "agent.safetensors")[f"generator.{NAME}"]) == STATE_BYTES
    assert "another kind of device" not in caplog.text
    agent.state.generator.set_state(loaded.state.generator.get_state())  # the fake one's state is its seed alone
    assert agent.update(next_batch) == loaded.update(next_batch)


@pytest.mark.parametrize(("written_on", "read_on"), [(NAME, "cpu"), ("cpu", NAME)])
def test_a_checkpoint_goes_on_on_another_kind_of_device_with_fresh_noise(gpu, tmp_path, caplog, written_on, read_on):
    agent, next_batch = saved(tmp_path / "agent", written_on)
    caplog.set_level(logging.INFO)
    first, second = (load_agent(tmp_path / "agent", read_on) for _ in range(2))
    assert same_tensors(trained(agent), trained(first))
    assert caplog.text.count("is from another kind of device, so random numbers start from a new seed") == 2
    assert first.update(next_batch) == second.update(next_batch)
    saved(tmp_path / "later", written_on, updates=3)
    draws = [torch.randn(4, generator=load_agent(path, read_on).state.generator, device=read_on).cpu()
             for path in (tmp_path / "agent", tmp_path / "agent", tmp_path / "later")]  # fmt: skip
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])
    again = tmp_path / "again"
    save_agent(first, again)
    assert same_tensors(first.state.tensors(), load_agent(again, read_on).state.tensors())


class Shard:
    """Frames of two classes, as Ray Train hands them to a worker."""

    def __init__(self, maps: bool) -> None:
        rng = np.random.default_rng(4)
        shape = (8, 2, 1, 1, 64) if maps else (8, 32, 32, 3)
        rows = rng.random(shape).astype(np.float16) if maps else rng.integers(0, 256, shape, np.uint8)
        self.rows = {"image": rows, "_label": np.arange(8) % 2}

    def iter_batches(self, **options):
        yield self.rows


@pytest.mark.parametrize("maps", [False, True], ids=["frames", "maps"])
def test_a_classifier_is_trained_on_a_gpu_and_read_on_the_cpu(gpu, monkeypatch, tmp_path, maps):
    context = SimpleNamespace(get_world_rank=lambda: 0, get_world_size=lambda: 1, get_local_world_size=lambda: 1)
    devices, reports = [], []
    monkeypatch.setattr(ray.train, "get_context", lambda: context)
    monkeypatch.setattr(ray.train, "get_dataset_shard", lambda name: Shard(maps))
    monkeypatch.setattr(
        ray.train.torch, "prepare_model", lambda model, move_to_device: devices.append(move_to_device) or model
    )

    def report(metrics, checkpoint):
        with checkpoint.as_directory() as folder:
            assert metrics.keys() == {"best_epoch"}, "Ray prints what is reported"
            history = json.loads(Path(folder, HISTORY_FILE).read_text())
            reports.append((history, load_file(f"{folder}/{BEST_FILE}")))

    monkeypatch.setattr(ray.train, "report", report)
    encoder = SMALL
    threads = torch.get_num_threads()
    train_loop(
        LoopConfig(gpu, ("image",), SMALL, 2, num_frames=8, batch_size=4, num_epochs=2, lr=1e-3, patience=2, seed=0)
    )
    torch.set_num_threads(threads)
    [(history, tensors)] = reports
    assert [device.type for device in devices] == [NAME] and np.isfinite(
        [list(losses.values()) for losses in history]
    ).all()
    there, here = (RewardClassifier(["image"], encoder=encoder, device=device) for device in (gpu, "cpu"))
    for classifier in (there, here):
        classifier.network.load_state_dict(tensors)
    ours, theirs = (each.predict_success({"image": Shard(False).rows["image"]})[0] for each in (there, here))
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    there.save(tmp_path)
    assert RewardClassifier.load(tmp_path, device="cpu").image_keys == ("image",)


@pytest.mark.gpu
@pytest.mark.parametrize("cameras", [(), ("a",)], ids=["state", "frames"])
def test_a_run_on_cuda_goes_on_there_and_on_the_cpu(tmp_path, cameras, caplog):
    rng = np.random.default_rng(5)
    agent = make("cuda", cameras)
    feed = BatchFeed(lambda: batch(rng, agent, cameras), agent.device)
    for _ in range(3):
        assert np.isfinite(agent.update(feed.next(prepare_another=False))["critic/loss"])
    agent.save(tmp_path / "agent")
    last = feed.next(prepare_another=False)
    feed.close()
    assert agent.update(last) == pytest.approx(load_agent(tmp_path / "agent", "cuda").update(last), rel=1e-4)
    caplog.set_level(logging.INFO)
    here = load_agent(tmp_path / "agent", "cpu")
    assert "another kind of device" in caplog.text
    assert here.sample_actions(observations(rng, 2, cameras)).shape == (2, 7)
