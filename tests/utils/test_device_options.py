"""The option that names a device: what it takes, what it refuses, and who obeys it."""

from __future__ import annotations

import pytest
import ray
import torch

from serl_ray.classifier.config import ClassifierOptions
from serl_ray.classifier.train import train_classifier, training_device
from serl_ray.options.sets import HybridRun
from serl_ray.rllib.config import SERLConfig
from serl_ray.runs.train import train
from serl_ray.utils.device import device_named


def classifier(**options):
    return ClassifierOptions(success_dir="success", failure_dir="failure", image_keys=("image",), **options)


@pytest.fixture
def one_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)


def test_a_device_is_named(one_gpu):
    named = {name: str(device_named(name)) for name in ("auto", "cpu", "cuda", "cuda:0")}
    assert named == {"auto": "cuda", "cpu": "cpu", "cuda": "cuda", "cuda:0": "cuda:0"}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("cuda:1", r"device is 'cuda:1', which PyTorch does not find here; it finds cpu, cuda:0"),
        ("mps", "device is 'mps', which PyTorch does not find here"),
        ("tpu", "device is 'tpu'; choose auto, cpu, cuda"),
        ("cuda:", "device is 'cuda:'; choose"),
        ("cuda:-1", "device is 'cuda:-1'; choose"),
    ],
)
def test_a_device_that_is_not_there_is_refused_before_any_work(one_gpu, monkeypatch, tmp_path, name, said):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    for check in (
        lambda: train(HybridRun.of(device=name, save_dir=tmp_path / "run")),
        lambda: SERLConfig().learn_on(name).validate(),
        lambda: train_classifier(classifier(device=name, save_dir=tmp_path / "classifier")),
    ):
        with pytest.raises(ValueError, match=said):
            check()
    assert not list(tmp_path.iterdir())


def test_rllib_s_number_of_gpus_is_obeyed_where_it_is_given():
    assert SERLConfig().device == "auto"
    assert SERLConfig().resources(num_cpus_for_main_process=2).device == "auto"
    assert SERLConfig().resources(num_gpus=0).device == "cpu"
    assert SERLConfig().resources(num_gpus=0).resources(num_gpus=1).device == "auto"
    assert SERLConfig().update_from_dict({"num_gpus": 0}).device == "cpu"
    whole = SERLConfig().learn_on("cuda:1").to_dict()
    assert SERLConfig().update_from_dict(whole).device == "cuda:1"


@pytest.mark.parametrize(
    ("gpus", "options", "device"),
    [
        (1, {}, "cuda"),
        (0, {}, "cpu"),
        (1, {"num_workers": 2}, "cpu"),
        (2, {"num_workers": 2}, "cuda"),
        (1, {"device": "cpu"}, "cpu"),
        (1, {"device": "cuda:0"}, "cuda:0"),
    ],
)
def test_a_classifier_takes_the_best_device_by_itself(one_gpu, monkeypatch, gpus, options, device):
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 4.0, "GPU": float(gpus)})
    assert training_device(classifier(**options)) == device


def test_more_processes_than_gpus_are_refused(one_gpu, monkeypatch):
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"GPU": 1.0})
    with pytest.raises(ValueError, match=r"device is cuda for num_workers 2, but Ray has 1 GPU\(s\)"):
        training_device(classifier(device="cuda", num_workers=2))
    with pytest.raises(ValueError, match="device is cuda:0, for one process, and num_workers is 2"):
        classifier(device="cuda:0", num_workers=2)
