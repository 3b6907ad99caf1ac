"""Small files of labelled frames."""

import pickle

import numpy as np

SIZE = 24


def frame(rng, is_success):
    """A noisy picture; a success has a bright square in the middle."""
    picture = rng.integers(0, 60, (SIZE, SIZE, 3), dtype=np.uint8)
    if is_success:
        picture[8:16, 8:16] += 180
    return picture


def items(rng, n, label, episode=None, cameras=("image",), with_label=True):
    """What a pickle of labelled frames holds."""
    labels = {"labels": label} if with_label else {}
    episodes = {"episode": episode} if episode else {}
    return [{"observations": {key: frame(rng, label == 1) for key in cameras}, **labels, **episodes} for _ in range(n)]


def write(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(value))
    return path


def write_folders(root, episodes=6, frames=6, seed=0, cameras=("image",)):
    """`success` and `failure` with a file for each episode, which has frames of both."""
    rng = np.random.default_rng(seed)
    for episode in range(episodes):
        for label, name in enumerate(("failure", "success")):
            frames_of_episode = items(rng, frames, label, f"episode-{episode}", cameras)
            write(root / name / f"{episode}.pkl", frames_of_episode)
    return root
