from functools import partial

import numpy as np
import pytest
import torch

from serl_ray.agents.config import SACConfig
from serl_ray.agents.sac import SACAgent
from serl_ray.data.demos import read_file, write_demos
from serl_ray.data.observations import Selection
from serl_ray.data.replay.maps import FrameEncoder, encode_demo, frozen_trunk
from serl_ray.data.replay.ring import ReplayBuffer
from serl_ray.data.schema import ArraySpec, Segment
from serl_ray.networks.augment import crop, draw_offsets
from serl_ray.networks.resnet import resize

SIZE = (32, 32)  # a map of 1 x 1
KEYS = ("front", "wrist")
HALF = {"atol": 2e-3, "rtol": 2e-3}  # float16
WHOLE_FRAMES = SACConfig(augment=False)


def frames(rng, count):
    return {key: rng.integers(0, 256, (count, *SIZE, 3), np.uint8) for key in KEYS}


def trunk(images):
    with torch.inference_mode():
        return frozen_trunk("random")(torch.as_tensor(images)).numpy()


def test_a_map_is_what_the_trunk_makes_of_a_crop_and_the_first_of_the_whole_frame():
    rng = np.random.default_rng(0)
    images = frames(rng, 5)
    encode = FrameEncoder(KEYS, "random", crops=3, image_size=SIZE, seed=7)
    maps = encode(images | {"state": np.zeros((5, 2), np.float32)})
    offsets = draw_offsets((5, 3), torch.Generator().manual_seed(7))
    assert maps["state"].shape == (5, 2)
    for key in KEYS:
        assert (maps[key].shape, maps[key].dtype) == ((5, *encode.map_shape), np.float16)
        np.testing.assert_allclose(maps[key][:, 0], trunk(images[key]), **HALF)
        for i in (1, 2):
            np.testing.assert_allclose(
                maps[key][:, i], trunk(crop(torch.as_tensor(images[key]), offsets[:, i])), **HALF
            )


def test_a_frame_has_the_same_crops_in_all_cameras_and_other_ones_the_next_time():
    image = np.random.default_rng(1).integers(0, 256, (4, *SIZE, 3), np.uint8)
    encode = FrameEncoder(KEYS, "random", crops=4, image_size=SIZE)
    first, second = encode({key: image for key in KEYS}), encode({key: image for key in KEYS})
    assert np.array_equal(first["front"], first["wrist"])
    assert not np.array_equal(first["front"][:, 1:], second["front"][:, 1:])
    assert np.array_equal(first["front"][:, 0], second["front"][:, 0])


def test_sizes_that_the_trunk_does_not_see_are_resized():
    image = np.full((2, 48, 64, 3), 90, np.uint8)
    maps = FrameEncoder(["front"], "random", crops=1, image_size=SIZE)({"front": image})["front"]
    np.testing.assert_allclose(maps[:, 0], trunk(image[:, :32, :32]), **HALF)


def test_cameras_of_different_sizes_get_the_maps_that_each_has_alone():
    rng = np.random.default_rng(3)
    images = {
        "front": rng.integers(0, 256, (40, *SIZE, 3), np.uint8),
        "wrist": rng.integers(0, 256, (40, 48, 80, 3), np.uint8),
    }
    maps = FrameEncoder(KEYS, "random", crops=2, image_size=SIZE, seed=4)(images)
    for key in KEYS:
        alone = FrameEncoder([key], "random", crops=2, image_size=SIZE, seed=4)({key: images[key]})
        np.testing.assert_allclose(maps[key], alone[key], **HALF)


def test_crops_shift_the_resized_image():
    images = np.random.default_rng(5).integers(0, 256, (3, 96, 128, 3), np.uint8)
    maps = FrameEncoder(["front"], "random", crops=3, image_size=SIZE, seed=6)({"front": images})["front"]
    offsets = draw_offsets((3, 3), torch.Generator().manual_seed(6))
    small = resize(torch.as_tensor(images), SIZE)
    for i in (1, 2):
        np.testing.assert_allclose(maps[:, i], trunk(crop(small, offsets[:, i])), **HALF)


@pytest.mark.filterwarnings("error")
def test_images_in_read_only_memory_are_encoded_without_a_warning():
    images = np.random.default_rng(6).integers(0, 256, (2, *SIZE, 3), np.uint8)
    images.flags.writeable = False
    assert FrameEncoder(["front"], "random", crops=1, image_size=SIZE)({"front": images})["front"].shape == (
        2,
        1,
        1,
        1,
        512,
    )


def test_recorded_frames_become_the_maps_that_a_worker_makes_of_them(tmp_path):
    seen = FrameEncoder(["front"], "random", crops=2)({"front": np.full((1, *SIZE, 3), 200, np.uint8)})["front"]
    rows = {"front": np.full((3, *SIZE, 3), 200, np.uint8), "wrist": np.zeros((3, *SIZE, 3), np.uint8)}
    flags = {"dones": [False, True], "truncateds": [False, False], "intervened": [True, True]}
    numbers = {"rewards": [0, 1], "masks": [1, 0], "grasp_penalty": [0, 0]}
    write_demos(tmp_path / "demos.pkl", [Segment(rows, np.zeros((2, 3)), episode="a", **numbers, **flags)])
    encoding = {"image_keys": ["front"], "trunk": "random", "crops": 2}
    spec = {"front": ArraySpec((2, 4, 4, 512), np.float16)}
    encode = partial(encode_demo, encoding=encoding)
    [segment] = read_file(str(tmp_path / "demos.pkl"), spec, 3, Selection(["front"], []), encode)
    assert segment.observations.keys() == {"front"}
    np.testing.assert_array_equal(segment.observations["front"][:, 0], np.repeat(seen[:, 0], 3, axis=0))


def test_every_demonstration_has_crops_of_its_own_the_same_whenever_it_is_read():
    rng, encoding = (
        np.random.default_rng(2),
        {"image_keys": ["front"], "trunk": "random", "crops": 3, "image_size": SIZE},
    )
    first, second = (rng.integers(0, 256, (6, *SIZE, 3), np.uint8) for _ in range(2))
    seen = []

    def drawn(images):
        seen.clear()
        encode_demo({"front": images}, encoding)
        return seen[0]

    draw = FrameEncoder._draw
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FrameEncoder, "_draw", lambda *args: seen.append(draw(*args)) or seen[-1])
        offsets = [drawn(images) for images in (first, second, first)]
    assert torch.equal(offsets[0], offsets[2]) and not torch.equal(offsets[0][:, 1:], offsets[1][:, 1:])


@pytest.mark.parametrize("frame_stack", [1, 2])
def test_a_sample_has_one_crop_the_same_in_all_cameras_and_another_in_the_next_observation(frame_stack):
    crops, steps = 3, 12
    stamps = 10 * np.arange(steps + 1)[:, None] + np.arange(crops)  # (n + 1, N): step and crop
    rows = {
        key: np.broadcast_to(stamps[..., None, None, None], (steps + 1, crops, 1, 1, 2)).astype(np.float16)
        for key in KEYS
    }
    rows["state"] = np.arange(steps + 1, dtype=np.float32)[:, None]
    ends = {
        "dones": np.arange(steps) == steps - 1,
        "truncateds": np.zeros(steps, bool),
        "intervened": np.zeros(steps, bool),
    }
    numbers = {"rewards": np.zeros(steps), "masks": np.ones(steps), "grasp_penalty": np.zeros(steps)}
    segment = Segment(rows, np.zeros((steps, 2)), episode="a", **numbers, **ends)
    buffer = ReplayBuffer(segment.observation_spec, 2, 40, frame_stack, crop_keys=KEYS)
    buffer.add(segment)
    batch = buffer.sample(4000, np.random.default_rng(0))
    drawn = {}
    for role in ("observations", "next_observations"):
        sampled = batch[role]["front"].reshape(4000, frame_stack, 1, 1, 1, 2)[..., 0].reshape(4000, frame_stack)
        np.testing.assert_array_equal(batch[role]["front"], batch[role]["wrist"])
        np.testing.assert_array_equal(sampled // 10, batch[role]["state"].reshape(4000, frame_stack))
        drawn[role] = (sampled[:, -1] % 10).astype(int)
    joint = np.histogram2d(drawn["observations"], drawn["next_observations"], bins=crops)[0]
    assert (np.abs(joint - 4000 / 9) < 5 * np.sqrt(4000 / 9)).all(), (
        "crops of observation and next observation are independent"
    )


def test_an_update_on_maps_is_the_one_on_frames_and_runs_no_trunk():
    rng = np.random.default_rng(2)
    rest = {
        "actions": rng.uniform(-1, 1, (6, 3)).astype(np.float32),
        "rewards": np.ones(6, np.float32),
        "masks": np.ones(6, np.float32),
    }
    roles = {
        role: {"front": rng.integers(0, 256, (6, 128, 128, 3), np.uint8)}
        for role in ("observations", "next_observations")
    }
    encode = FrameEncoder(["front"], "random", crops=1)
    metrics, passes = [], []
    for batch in (roles | rest, {role: encode(images) for role, images in roles.items()} | rest):
        agent = SACAgent(["front"], 3, config=WHOLE_FRAMES, device="cpu", seed=1)
        agent.sample_actions({"front": roles["observations"]["front"][0]})
        passes.clear()
        agent.networks.encoder.trunk.register_forward_hook(lambda *_: passes.append(1))
        metrics.append(agent.update(batch))
    assert not passes, "the second agent has the maps"
    assert metrics[0] == pytest.approx(metrics[1], rel=0.02, abs=0.02)
