"""Our buffer against a recording of the original's, in which images are constant and frames are named by an id."""

import os
from pathlib import Path

import numpy as np
import pytest

from serl_ray.data.replay.ring import ReplayBuffer
from serl_ray.data.schema import ArraySpec, Segment

PARITY = Path(os.environ.get("SERL_PARITY_DIR", Path(__file__).parent / "parity"))


def original_segments(data, chosen: np.ndarray) -> list[Segment]:
    """The transitions of a recording as segments, cut after each done and wherever one that is not `chosen` lies
    between."""
    n, image = len(data["in/rewards"]), np.ones((2, 2, 1), np.uint8)
    episode = np.concatenate([[0], np.cumsum(data["in/dones"])[:-1]])
    runs = []
    for number in np.unique(episode):
        rows = np.flatnonzero(episode == number)
        ids = np.append(
            data["in/observations/frame_ids"][rows, -1], data["in/next_observations/frame_ids"][rows[-1], -1]
        )
        state = np.append(
            data["in/observations/state"][rows, -1], data["in/next_observations/state"][rows[-1:], -1], axis=0
        )
        whole = Segment(
            observations={"image": ids[:, None, None, None] * image, "state": state},
            **{name: data[f"in/{name}"][rows] for name in ("actions", "rewards", "masks", "dones", "grasp_penalty")},
            truncateds=np.zeros(len(rows)),
            intervened=np.isin(np.arange(n), chosen)[rows],
            episode=int(number),
        )
        runs += whole.runs(whole.intervened)
    return runs


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("replay_T1_cap12", "all"),
        ("replay_T1_cap64", "all"),
        ("replay_T2_cap64", "all"),
        ("replay_T1_cap64", "intervention"),
        ("replay_T2_cap64", "intervention"),
    ],
)
def test_frames_are_those_of_the_original_where_it_is_right(name, part):
    data = np.load(PARITY / f"{name}.npz")
    frame_stack, capacity = (2 if "T2" in name else 1), int(name.split("cap")[1])
    n = len(data["in/rewards"])
    chosen = np.arange(n) if part == "all" else data["in/intervention_selected"]
    spec = {"image": ArraySpec((2, 2, 1), np.uint8), "state": ArraySpec((3,), np.float32)}
    buffer = ReplayBuffer(spec, 7, capacity, frame_stack)
    for segment in original_segments(data, chosen):
        buffer.add(segment)

    batch = buffer.sample(2000, np.random.default_rng(0))
    ours = {}
    for b in range(2000):
        stacks = tuple(
            tuple(batch[role]["image"][b, ..., 0, 0, 0].reshape(-1)) for role in ("observations", "next_observations")
        )
        ours[batch["observations"]["state"][b].reshape(frame_stack, 3)[-1].tobytes()] = (
            *stacks,
            float(batch["rewards"][b]),
        )
    true_obs = data[f"out/{part}/{'obs' if part == 'all' else 'true_obs'}_frame_ids"]
    next_ids = data[f"out/{part}/next_frame_ids"]
    for b, state in enumerate(data[f"out/{part}/obs_state"][:, -1]):
        obs, next_obs, reward = ours[state.tobytes()]
        assert obs[-1] == true_obs[b, -1]
        assert next_obs[-1] == next_ids[b, -1]
        assert reward == data[f"out/{part}/reward"][b]
        if part == "all":
            assert (obs, next_obs) == (tuple(true_obs[b]), tuple(next_ids[b]))
    assert len(ours) == len(buffer) >= len(true_obs)
