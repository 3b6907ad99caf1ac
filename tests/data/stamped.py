"""Segments whose every number says which episode and step it belongs to."""

from __future__ import annotations

from dataclasses import fields

import numpy as np

from serl_ray.data.schema import ENV, POLICY, Actors, ArraySpec, Segment

ACTION_DIM = 2
SPEC = {
    "image": ArraySpec((2, 2, 3), np.uint8),
    "state": ArraySpec((2,), np.float32),
    "map": ArraySpec((1, 2, 2, 2), np.float16),
}


def stamped_segment(
    episode: int, first_step: int, length: int, done: bool = False, truncated: bool = False, actors: bool = False
) -> Segment:
    """Steps `first_step` to `first_step + length - 1` of an episode; episode and step below 200."""
    steps = np.arange(first_step, first_step + length + 1)
    last = np.arange(length) == length - 1
    return Segment(
        observations=frames(episode, steps),
        actions=np.stack([np.full(length, episode), steps[:-1]], axis=1) / 256,
        rewards=steps[:-1] + episode / 256,
        masks=1.0 - (last & done & (not truncated)),
        dones=last & done,
        truncateds=last & done & truncated,
        grasp_penalty=-0.5 * (steps[:-1] % 2),
        intervened=steps[:-1] % 3 == 0,
        episode=episode,
        first_step=first_step,
        actors=stamped_actors(episode, steps[:-1]) if actors else None,
    )


def stamped_actors(episode: int, steps: np.ndarray) -> Actors:
    """The actors at some steps (n,) of an episode, in which a person acts at each third one."""
    intervened = steps % 3 == 0
    return Actors(
        policy_actions=np.stack([np.full(len(steps), -episode), -steps], axis=1) / 256,
        interventions=np.where(intervened, steps // 3 + 1, 0),
        sources=np.where(intervened, np.where(steps % 2, ENV, "expert"), POLICY),
    )


def frames(episode: int | np.ndarray, steps: np.ndarray) -> dict[str, np.ndarray]:
    """The observations (n, ...) at some steps (n,) of an episode, or of n episodes."""
    n = len(steps)
    stamps = np.stack([np.broadcast_to(episode, n), steps], axis=1)  # (n, 2)
    image = np.zeros((n, 2, 2, 3), np.uint8)
    image[:, 0, 0, :2] = stamps
    trunk_map = np.zeros((n, 1, 2, 2, 2), np.float16)
    trunk_map[:, 0, 1, 1] = stamps
    return {"image": image, "state": stamps.astype(np.float32), "map": trunk_map}


def assert_same(found: Segment, expected: Segment, ids: bool = True) -> None:
    """Two segments are equal to the bit, dtypes included; with `ids`, so are episode, step and actors."""
    assert found.observation_spec == expected.observation_spec
    for key, rows in expected.observations.items():
        np.testing.assert_array_equal(found.observations[key], rows)
    for name in (field.name for field in fields(Segment)):
        value, wanted = getattr(found, name), getattr(expected, name)
        if isinstance(wanted, np.ndarray):
            assert value.dtype == wanted.dtype, name
            np.testing.assert_array_equal(value, wanted)
        elif name == "actors" and ids:
            assert_same_actors(value, wanted)
        elif name != "observations" and ids:
            assert value == wanted, name


def assert_same_actors(found: Actors | None, expected: Actors | None) -> None:
    """The actors of two segments are equal to the bit, or neither has them."""
    assert (found is None) == (expected is None)
    for name in (field.name for field in fields(Actors) if found is not None):
        value, wanted = getattr(found, name), getattr(expected, name)
        assert value.dtype == wanted.dtype, name
        np.testing.assert_array_equal(value, wanted)


def random_segment(
    rng: np.random.Generator, n: int, spec: dict[str, ArraySpec], action_dim: int, episode: str, actors: bool = False
) -> Segment:
    """A segment of n steps of random numbers, whose first step is anything below 100."""
    numbers = rng.integers(0, 3, n)
    sources = np.where(numbers, rng.choice([ENV, "expert", "page in Zürich"], n), POLICY)
    return Segment(
        observations={key: rng.integers(0, 2, (n + 1, *s.shape)).astype(s.dtype) for key, s in spec.items()},
        actions=rng.uniform(-1, 1, (n, action_dim)),
        rewards=rng.normal(size=n),
        masks=rng.integers(0, 2, n),
        dones=np.arange(n) == n - 1,
        truncateds=rng.integers(0, 2, n),
        grasp_penalty=-rng.random(n),
        intervened=numbers > 0,
        episode=episode,
        first_step=int(rng.integers(100)),
        actors=Actors(rng.uniform(-1, 1, (n, action_dim)), numbers, sources) if actors else None,
    )
