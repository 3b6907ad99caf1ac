"""What a rollout worker makes of its envs' frames."""

from collections import defaultdict
from types import SimpleNamespace

import gymnasium
import numpy as np
import pytest
from line_envs import LineEnv

from serl_ray.data.replay.log import ReplayLog, read_shards
from serl_ray.data.replay.maps import TRUNK_BATCH, FrameEncoder, frozen_trunk
from serl_ray.data.schema import Segment
from serl_ray.envs.wrappers import ExpertIntervention
from serl_ray.options.sets import HybridOptions
from serl_ray.rllib.collector import Collector, CountedEnv
from serl_ray.types import ActionLayout

NUM_ENVS, CROPS = 3, 2
LAYOUT = ActionLayout.from_setup("single-arm-learned-gripper", 7)


class Policy:
    """Stands still or acts at random, and remembers what it has seen and wanted."""

    def __init__(self, envs, frame_stack, is_random):
        self.options = HybridOptions.of(image_keys=("front",), augment_crops=CROPS, frame_stack=frame_stack)
        self.envs, self.seen, self.wanted = envs, [], []
        self._scale, self._rng = float(is_random), np.random.default_rng(0)
        self.global_timestep = 0
        self.agent = SimpleNamespace(seed=1)

    def act(self, observations):
        self.seen.append(observations)
        self.wanted.append(self._scale * self._rng.uniform(-1, 1, (NUM_ENVS, 7)).astype(np.float32))
        return self.wanted[-1].copy()


class Witness(gymnasium.Wrapper):
    """Remembers what was executed."""

    def __init__(self, env):
        super().__init__(env)
        self.executed = []

    def step(self, action):
        self.executed.append(np.array(action))
        return self.env.step(action)


@pytest.fixture
def trunk_batches():
    batches = []
    hook = frozen_trunk("random").register_forward_hook(lambda trunk, inputs, output: batches.append(len(inputs[0])))
    yield batches
    hook.remove()


@pytest.fixture
def make():
    def make(frame_stack=1, helped=0.0):
        """A collector whose envs end after 4, 5 and 6 steps; the policy is random where an expert intervenes."""
        envs = [Witness(LineEnv(cameras=("front",), horizon=4 + index)) for index in range(NUM_ENVS)]
        envs = [ExpertIntervention(env, LAYOUT, 0.1, helped, mean_length=3, seed=i) for i, env in enumerate(envs)]
        envs = [CountedEnv(env) for env in envs]
        for index, env in enumerate(envs):
            env.reset(seed=index)
        policy = Policy(envs, frame_stack, is_random=helped > 0)
        async_env = SimpleNamespace(get_sub_environments=lambda: envs)
        return Collector(SimpleNamespace(get_policy=lambda: policy, worker_index=1, async_env=async_env)), policy

    return make


def whole_frame_maps(steps):
    """The first map of the frames that a `LineEnv` shows after so many steps, (n, h, w, C)."""
    frames = np.stack([np.full((32, 32, 3), step, np.uint8) for step in steps])
    return FrameEncoder(["front"], "random", crops=1)({"front": frames})["front"][:, 0]


def test_the_frames_of_all_envs_fill_passes_of_the_trunk_together(make, trunk_batches):
    collector, _ = make()
    collector.collect(1)
    trunk_batches.clear()
    collector.collect(2)
    together = [TRUNK_BATCH, NUM_ENVS * CROPS - TRUNK_BATCH]
    assert trunk_batches == together * 2
    trunk_batches.clear()
    collector.collect(2)  # the first env ends at its step 4, the second at its step 5
    assert trunk_batches == [*together, CROPS] * 2


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


def test_what_the_policy_wanted_is_stored_beside_what_was_executed(make, tmp_path):
    collector, policy = make(helped=0.4)
    log, episodes = ReplayLog(tmp_path), defaultdict(list)
    for _ in range(4):
        segments, _ = collector.collect(3)
        for segment in segments:
            log.append(segment)
    log.flush()
    for segment in read_shards(log.shards):
        episodes[segment.episode].append(segment)
    executed = {
        wanted.tobytes(): policy.envs[index].get_wrapper_attr("executed")[t]
        for t, actions in enumerate(policy.wanted)
        for index, wanted in enumerate(actions)
    }
    spanning = 0
    for pieces in episodes.values():
        whole = Segment.join(sorted(pieces, key=lambda piece: piece.first_step))
        for action, wanted in zip(whole.actions, whole.actors.policy_actions, strict=True):
            np.testing.assert_array_equal(action, executed.pop(wanted.tobytes()))
        assert (whole.actions[~whole.intervened] == whole.actors.policy_actions[~whole.intervened]).all()
        begins = whole.intervened & ~np.r_[False, whole.intervened[:-1]]
        np.testing.assert_array_equal(whole.actors.interventions, np.cumsum(begins) * whole.intervened)
        np.testing.assert_array_equal(whole.actors.sources, np.where(whole.intervened, "expert", "policy"))
        spanning += sum(piece.intervened[0] and not begins[piece.first_step] for piece in pieces)
    assert not executed and spanning, "every step is stored once, and an intervention goes on in the next fragment"


def test_a_stack_holds_the_newest_frames_and_repeats_the_first(make):
    collector, policy = make(frame_stack=3)
    collector.collect(5)
    shown = [[0, 0, 0], [0, 0, 1], [0, 1, 2], [1, 2, 3], [0, 0, 0]]  # the first env begins anew after its step 4
    for seen, steps in zip(policy.seen, shown, strict=True):
        np.testing.assert_allclose(seen["front"][0, :, 0], whole_frame_maps(steps), atol=2e-3, rtol=2e-3)
