"""n-step transitions: what a buffer sums up, and what the critics make of it."""

import numpy as np
import pytest
import torch
from experience import draw_many, experience
from hypothesis import given, settings
from hypothesis import strategies as st
from stamped import ACTION_DIM, SPEC, frames, stamped_segment
from test_replay_buffer import Model, sampled_ids

from serl_ray.agents.config import SACConfig
from serl_ray.agents.losses import td_target
from serl_ray.agents.transitions import transition_tensors
from serl_ray.data.replay.ring import Horizon, ReplayBuffer
from serl_ray.types import ActionLayout


@given(
    fragments=experience(),
    capacity=st.integers(7, 60),
    frame_stack=st.integers(1, 3),
    n_step=st.sampled_from([1, 2, 3, 7]),
)
@settings(max_examples=80, deadline=None)
def test_a_sample_spans_as_many_recorded_steps_as_there_are_in_a_row(fragments, capacity, frame_stack, n_step):
    buffer = ReplayBuffer(SPEC, ACTION_DIM, capacity, frame_stack, horizon=Horizon(n_step, 0.5))
    model, ends = Model(capacity, frame_stack), set()
    for segment in fragments:
        buffer.add(segment)
        model.add(segment)
        if segment.masks[-1] == 0.0:
            ends.add((int(segment.episode), segment.first_step + len(segment)))
    if not len(buffer):
        return
    batch = draw_many(buffer, 60)
    assert set(sampled_ids(batch)) <= model.alive()
    for row, (episode, step) in enumerate(sampled_ids(batch)):
        [recording] = [r for r in model.recordings[str(episode)] if step in r and model.origin[episode, step] == min(r)]
        last = min(step + n_step, max(recording))  # the observation that the sample leads to
        assert batch["steps"][row] == last - step
        powers = 0.5 ** np.arange(last - step)
        np.testing.assert_allclose(batch["rewards"][row], powers @ (np.arange(step, last) + episode / 256), rtol=1e-6)
        np.testing.assert_allclose(batch["grasp_penalty"][row], powers @ (-0.5 * (np.arange(step, last) % 2)))
        assert batch["masks"][row] == float((episode, last) not in ends)
        stack = np.maximum(last + np.arange(1 - frame_stack, 1), min(recording))
        for key, expected in frames(np.full(frame_stack, episode), stack).items():
            found = batch["next_observations"][key][row]
            np.testing.assert_array_equal(found.reshape(expected.shape), expected)


@pytest.mark.parametrize("truncated", [True, False])
def test_three_step_returns_by_hand(truncated):
    """Rewards 10, 11, 12, 13 of an episode's last steps, at a discount of 0.5."""
    buffer = ReplayBuffer(SPEC, ACTION_DIM, 20, horizon=Horizon(3, 0.5))
    buffer.add(stamped_segment(0, 10, 4, done=True, truncated=truncated))
    batch = draw_many(buffer)
    first = {step: row for row, (_, step) in enumerate(sampled_ids(batch))}
    rows = [first[step] for step in (10, 11, 12, 13)]
    assert batch["rewards"][rows].tolist() == [10 + 5.5 + 3, 11 + 6 + 3.25, 12 + 6.5, 13]
    assert batch["steps"][rows].tolist() == [3, 3, 2, 1]
    assert batch["masks"][rows].tolist() == [1.0] + [float(truncated)] * 3
    assert batch["dones"][rows].tolist() == [False, False, False, True]


@pytest.mark.parametrize("discount", [0.5, 1.0])
def test_a_target_discounts_the_value_by_the_steps_before_it_and_biases_every_reward(discount):
    batch = {
        "actions": np.zeros((3, 2), np.float32),
        "rewards": np.array([0.0, 1.0, 1.5], np.float32),
        "masks": np.array([1.0, 1.0, 0.0], np.float32),
        "steps": np.array([1, 3, 2]),
    }
    config = SACConfig(discount=discount, reward_bias=-1.0)
    tensors = transition_tensors(batch, ActionLayout.from_sizes(2), config, torch.device("cpu"))
    target = td_target(tensors["rewards"], tensors["masks"], torch.full((3,), 8.0), tensors["discounts"])
    half = [0.0 - 1.0 + 4.0, 1.0 - 1.75 + 1.0, 1.5 - 1.5]
    whole = [0.0 - 1.0 + 8.0, 1.0 - 3.0 + 8.0, 1.5 - 2.0]
    assert target.tolist() == (half if discount == 0.5 else whole)
