"""Evaluations during training are recorded, and the video is where it is looked for."""

from __future__ import annotations

import io
import logging
from pathlib import Path

import av
import gymnasium
import numpy as np
import pytest
from line_envs import LineEnv
from mlflow import MlflowClient
from PIL import Image, ImageSequence
from small_runs import SMALL
from tensorboardX.proto.event_pb2 import Event
from tracked import mlflow_runs, wandb_runs

from serl_ray.evaluation.rollouts import record_video
from serl_ray.evaluation.video import BORDER, GIF_FRAMES, GIF_SIDE, VideoFile, gif_of
from serl_ray.files.images import decode
from serl_ray.options.sets import HybridRun
from serl_ray.runs.log import read_results
from serl_ray.runs.train import train

TESTS = Path(__file__).parents[1]
RUN = SMALL | {"max_steps": 100, "steps_per_iteration": 50, "evaluate_every": 50, "evaluation_episodes": 2}


@pytest.fixture(scope="module")
def nothing_leaves_this_machine(shared_ray):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        yield


def frames_of(video):
    with av.open(str(video)) as container:
        assert container.streams.video[0].codec_context.name == "h264" and container.streams.video[0].average_rate == 10
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def gifs(logs):
    """{step: an image} of what TensorBoard shows as the video of an evaluation."""
    found = {}
    for file in sorted(logs.glob("events.*")):
        data, at = file.read_bytes(), 0
        while at < len(data):
            length = int.from_bytes(data[at : at + 8], "little")  # then its checksum, the event and its checksum
            event, at = Event.FromString(data[at + 12 : at + 12 + length]), at + 16 + length
            for value in event.summary.value:
                if value.tag == "evaluation/video":
                    found[event.step] = value.image
    return found


@pytest.mark.slow
@pytest.mark.usefixtures("nothing_leaves_this_machine")
@pytest.mark.parametrize("evaluation_workers", [0, 2])
def test_the_first_episode_is_a_video_and_everywhere_the_results_are(tmp_path, evaluation_workers, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where MLflow puts what is no number
    store, folder = f"sqlite:///{tmp_path}/mlflow.db", tmp_path / "run"
    run = {"save_dir": folder, "evaluation_workers": evaluation_workers, "track": ("wandb:peg", f"mlflow:{store}")}
    options = HybridRun.of(env_name="line_envs:ShownEnv", env_kwargs={"horizon": 12}, **RUN)
    train(options.replace(**run))
    steps = {
        int(result["evaluation/at_step"]) for result in read_results(folder / "logs") if "evaluation/at_step" in result
    }
    assert 100 in steps and {path.name for path in (folder / "videos").iterdir()} == {
        f"{step:09d}.mp4" for step in steps
    }
    frames = frames_of(folder / "videos" / "000000100.mp4")
    assert 2 <= len(frames) <= 13 and all(frame.shape == (64, 48, 3) for frame in frames)
    assert [round(frame.mean() / 10) for frame in frames] == list(range(len(frames))), "a frame a step"
    shown = gifs(folder / "logs")
    assert shown.keys() == steps and (shown[100].height, shown[100].width) == (64, 48)
    gif = Image.open(io.BytesIO(shown[100].encoded_image_string))
    assert gif.format == "GIF" and gif.n_frames == len(frames) and gif.size == (48, 64) and gif.info["duration"] == 100
    [told] = wandb_runs(folder).values()
    captions = [row["evaluation/video/caption"] for row in told["rows"] if "evaluation/video/caption" in row]
    assert captions[-1] == "after 100 steps" and list(
        folder.glob("wandb/offline-run-*/files/media/videos/evaluation/*.mp4")
    )
    [name] = mlflow_runs(store, "serl_ray")
    assert len(MlflowClient(store).list_artifacts(name, "videos")) == len(steps)


@pytest.mark.usefixtures("nothing_leaves_this_machine")
def test_an_env_without_pictures_is_evaluated_and_said_to_be_one(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    result = train(HybridRun.of(env_name="line_envs:LineEnv", **RUN, save_dir=tmp_path / "run"))
    assert result["evaluation/episodes"] == 2 and result["faults/evaluations_lost"] == 0
    assert caplog.text.count("Evaluations have no video") == 1 and "LineEnv.render() gives no image" in caplog.text
    assert not (tmp_path / "run" / "videos").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("nothing_leaves_this_machine")
def test_evaluations_are_the_same_with_and_without_a_video(tmp_path):
    options = HybridRun.of(env_name="line_envs:ShownEnv", **RUN)
    results = []
    for recorded in (True, False):
        folder = tmp_path / str(recorded)
        results.append(train(options.replace(save_dir=folder, record_video=recorded)))
        assert (folder / "videos").exists() == recorded
    assert all(results[0][name] == results[1][name] for name in results[0] if name.startswith("evaluation/"))


class HelpedEnv(gymnasium.Wrapper):
    """Somebody intervenes in the second step."""

    def step(self, action):
        observation, reward, terminated, truncated, info = self.env.step(action)
        helped = {"intervene_action": action} if self.unwrapped.steps == 2 else {}
        return observation, reward, terminated, truncated, info | helped


class ShownEnv(LineEnv):
    def render(self):
        return np.full((65, 49, 3), 40, np.uint8)


def test_a_frame_has_a_border_while_somebody_intervenes(tmp_path):
    record_video(
        lambda observation: np.zeros(7, np.float32), HelpedEnv(ShownEnv(horizon=4)), tmp_path / "video.mp4", episodes=1
    )
    frames = frames_of(tmp_path / "video.mp4")
    assert [np.abs(frame[0, 10].astype(int) - BORDER).max() < 60 for frame in frames] == [
        False,
        False,
        True,
        False,
        False,
    ]
    assert all(abs(int(frame[30, 20].mean()) - 40) < 10 for frame in frames)


def test_a_palette_picture_is_decoded_to_its_colours():
    file = io.BytesIO()
    Image.new("RGB", (4, 4), BORDER).quantize(2).save(file, format="PNG")
    assert (decode(file.getvalue()) == BORDER).all()


def test_a_long_and_large_video_is_a_small_gif(tmp_path):
    class Large(gymnasium.Env):
        def render(self):
            return np.zeros((300, 600, 3), np.uint8)

    with VideoFile(tmp_path / "video.mp4") as video:
        for _ in range(2 * GIF_FRAMES + 1):
            video.take(Large(), False)
    gif, height, width = gif_of(tmp_path / "video.mp4")
    frames = list(ImageSequence.Iterator(Image.open(io.BytesIO(gif))))
    assert (height, width) == (GIF_SIDE // 2, GIF_SIDE) and sum(frame.info["duration"] for frame in frames) >= 30_000


def test_an_env_without_render_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"LineEnv.render\(\) gives no image, so there is no video to write"):
        record_video(lambda observation: np.zeros(7, np.float32), LineEnv(), tmp_path / "video.mp4", episodes=1)
