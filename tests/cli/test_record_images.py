"""Recordings of images for a classifier: what is refused, what is counted, and how they go on with --resume."""

from __future__ import annotations

import numpy as np
import pytest
from line_envs import LineEnv

from serl_ray.cli.main import main
from serl_ray.envs.image_recording import write_images

FLAGS = ["record", "--env_name", "line_envs:LineEnv", "--image_keys"]


def test_images_of_no_camera_are_refused(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(LineEnv, "reset", lambda *args, **kwargs: pytest.fail("the env was reset"))
    assert main([*FLAGS, "--classifier_data", str(tmp_path)]) == 2
    assert "a classifier learns from images" in capsys.readouterr().err


def test_episodes_with_a_single_success_image_are_counted(tmp_path, capsys, monkeypatch):
    class Forgetful(LineEnv):
        def __init__(self):
            super().__init__(cameras=("image",))

        def step(self, action):
            observation, reward, terminated, truncated, info = super().step(action)
            self.goal = self.point + 5.0 if reward else self.goal
            return observation, reward, terminated, truncated, info

    monkeypatch.setattr("line_envs.Forgetful", Forgetful, raising=False)
    flags = [
        "--env_name",
        "line_envs:Forgetful",
        "--failing_share",
        "0",
        "--episodes",
        "2",
        "--classifier_data",
        str(tmp_path),
    ]
    assert main(["record", *flags]) == 0
    text = capsys.readouterr().out
    assert "2 success and" in text and "2 episodes gave a single success image" in text


def test_images_go_on_where_they_were_stopped(tmp_path, capsys):
    folder = tmp_path / "images"
    flags = ["record", "--image_keys", "image", "--classifier_data", str(folder), "--env_name", "line_envs:SeenEnv"]
    assert main([*flags, "--episodes", "2"]) == 0
    before = {path: path.read_bytes() for path in folder.rglob("*.pkl")}
    assert main([*flags, "--episodes", "3"]) == 2
    assert "holds images already" in capsys.readouterr().err
    assert main([*flags, "--episodes", "3", "--resume"]) == 0
    assert all(path.read_bytes() == content for path, content in before.items())
    assert any("0002" in path.name for path in folder.rglob("*.pkl"))


@pytest.mark.parametrize(("flag", "value"), [("linger", "3"), ("failing_share", "0.1")])
def test_what_a_scripted_expert_needs_is_refused_where_an_operator_labels(tmp_path, capsys, flag, value):
    flags = ["--classifier_data", str(tmp_path), "--driver", "operator", f"--{flag}", value]
    assert main([*FLAGS, *flags]) == 2
    assert f"{flag} is {value}, and nothing uses it without a --driver other than operator" in capsys.readouterr().err


def test_labelled_episodes_are_counted_when_a_recording_goes_on(tmp_path, capsys):
    folder = tmp_path / "images"
    frame = {"image": np.zeros((8, 8, 3), np.uint8)}
    for name in ("episode-0-0000", "episode-0-0001"):
        write_images(folder, name, [(frame, False), (frame, True)])
    env = ["record", "--env_name", "line_envs:SeenEnv", "--driver", "operator", "--operator_port", "0"]
    flags = [*env, "--classifier_data", str(folder), "--episodes", "2"]
    assert main(flags) == 2
    assert "holds images already" in capsys.readouterr().err
    assert main([*flags, "--resume"]) == 0
    assert "2 of 2 episodes" in capsys.readouterr().out
