"""What a rollout worker makes of its envs' frames."""

from types import SimpleNamespace

import numpy as np
import pytest
from line_envs import LineEnv

from serl_ray.data.replay.maps import FrameEncoder, frozen_trunk
from serl_ray.options.sets import HybridOptions
from serl_ray.rllib.collector import Collector, CountedEnv

NUM_ENVS, CROPS = 3, 2


class Policy:
    """Stands still, and remembers what it has seen."""

    def __init__(self, frame_stack):
        self.options = HybridOptions.of(image_keys=("front",), augment_crops=CROPS, frame_stack=frame_stack)
        self.seen = []
        self.global_timestep = 0
        self.agent = SimpleNamespace(seed=1)

    def act(self, observations):
        self.seen.append(observations)
        return np.zeros((NUM_ENVS, 7), np.float32)


@pytest.fixture
def trunk_batches():
    batches = []
    hook = frozen_trunk("random").register_forward_hook(lambda trunk, inputs, output: batches.append(len(inputs[0])))
    yield batches
    hook.remove()


@pytest.fixture
def make():
    def make(frame_stack=1):
        """A collector whose envs end after 4, 5 and 6 steps."""
        envs = [CountedEnv(LineEnv(cameras=("front",), horizon=4 + index)) for index in range(NUM_ENVS)]
        for index, env in enumerate(envs):
            env.reset(seed=index)
        policy = Policy(frame_stack)
        async_env = SimpleNamespace(get_sub_environments=lambda: envs)
        return Collector(SimpleNamespace(get_policy=lambda: policy, worker_index=1, async_env=async_env)), policy

    return make


def whole_frame_maps(steps):
    """The first map of the frames that a `LineEnv` shows after so many steps, (n, h, w, C)."""
    frames = np.stack([np.full((32, 32, 3), step, np.uint8) for step in steps])
    return FrameEncoder(["front"], "random", crops=1)({"front": frames})["front"][:, 0]


def test_the_frames_of_all_envs_are_one_batch_of_the_trunk(make, trunk_batches):
    collector, _ = make()
    trunk_batches.clear()
    collector.collect(3)
    assert trunk_batches == [NUM_ENVS * CROPS] * 3
    trunk_batches.clear()
    collector.collect(2)  # the first env ends at its step 4, the second at its step 5
    assert trunk_batches == [NUM_ENVS * CROPS, CROPS] * 2


def test_the_maps_that_are_acted_on_are_stored_with_the_episode_of_their_env(make):
    collector, policy = make()
    first, _ = collector.collect(3)
    assert [len(segment) for segment in first] == [3, 3, 3]
    for index, segment in enumerate(first):
        np.testing.assert_allclose(
            segment.observations["front"][:, 0], whole_frame_maps(range(4)), atol=2e-3, rtol=2e-3
        )
        acted_on = np.stack([seen["front"][index] for seen in policy.seen])
        np.testing.assert_array_equal(acted_on, segment.observations["front"][:-1])
        np.testing.assert_array_equal(segment.observations["state"][0], policy.seen[0]["state"][index])
    second, _ = collector.collect(2)
    assert {segment.episode for segment in first} < {segment.episode for segment in second}
    ended = [segment for segment in second if segment.dones[-1]]
    assert [(len(segment), segment.first_step) for segment in ended] == [(1, 3), (2, 3)]


def test_a_stack_holds_the_newest_frames_and_repeats_the_first(make):
    collector, policy = make(frame_stack=3)
    collector.collect(5)
    shown = [[0, 0, 0], [0, 0, 1], [0, 1, 2], [1, 2, 3], [0, 0, 0]]  # the first env begins anew after its step 4
    for seen, steps in zip(policy.seen, shown, strict=True):
        np.testing.assert_allclose(seen["front"][0, :, 0], whole_frame_maps(steps), atol=2e-3, rtol=2e-3)
