"""Fragments of episodes in any order, and draws from a replay buffer."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from stamped import stamped_segment

from serl_ray.data.replay.ring import ReplayBuffer


@st.composite
def experience(draw, max_episodes=6):
    """Fragments of several episodes at a time, in an order in which a buffer may get them, some with gaps and some with
    actors."""
    cursors, fragments, next_episode = [], [], 0
    for _ in range(draw(st.integers(1, 30))):
        if not cursors or (next_episode < max_episodes and draw(st.booleans())):
            cursors.append([next_episode, 0])
            next_episode += 1
        cursor = draw(st.sampled_from(cursors))
        cursor[1] += draw(st.sampled_from([0, 0, 0, 1, 3]))  # steps that nobody recorded
        length, done = draw(st.integers(1, 6)), draw(st.integers(0, 4)) == 0
        truncated, actors = draw(st.booleans()), draw(st.booleans())
        fragments.append(stamped_segment(cursor[0], cursor[1], length, done, truncated, actors))
        cursor[1] += length
        if done:
            cursors.remove(cursor)
        if next_episode == max_episodes and not cursors:
            break
    return fragments


def draw_many(buffer: ReplayBuffer, batch_size: int = 600, seed: int = 0):
    return buffer.sample(batch_size, np.random.default_rng(seed))
