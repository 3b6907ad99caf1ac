"""The device that an option names, on a machine without a GPU and with one."""

from __future__ import annotations

import pytest
import torch

from serl_ray.rllib import SERLConfig
from serl_ray.utils.device import device_named, pick_device


@pytest.fixture
def without_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.mark.usefixtures("without_gpu")
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("cuda", "device is 'cuda', which PyTorch does not find here; it finds cpu"),
        ("cuda:1", "device is 'cuda:1', which PyTorch does not find here"),
        ("mps", "device is 'mps', which PyTorch does not find here"),
        ("gpu", "device is 'gpu'; choose auto, cpu, cuda"),
        ("cuda:one", "device is 'cuda:one'; choose auto"),
    ],
)
def test_a_device_that_is_not_there_is_refused(name, says):
    with pytest.raises(ValueError, match=says):
        device_named(name)
    with pytest.raises(ValueError, match=says):
        SERLConfig().training(env_name="line_envs:LineEnv").learn_on(name).validate()


@pytest.mark.usefixtures("without_gpu")
def test_auto_is_the_best_that_is_there(monkeypatch):
    assert device_named("auto") == device_named("cpu") == pick_device() == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert device_named("auto") == torch.device("cuda") and device_named("cuda:1") == torch.device("cuda:1")


def test_no_gpus_are_no_gpus():
    assert SERLConfig().resources(num_gpus=0).device == "cpu"
    assert SERLConfig().update_from_dict({"num_gpus": 0}).device == "cpu"
    assert SERLConfig().device == SERLConfig().resources(num_gpus=1).device == "auto"
