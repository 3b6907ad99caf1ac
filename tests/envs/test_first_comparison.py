"""The first episodes of a run are compared with its demonstrations."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import robot_faults as faults
from ray.rllib.env.env_context import EnvContext

from serl_ray.data.demos import write_demos
from serl_ray.data.episodes import EnvFault
from serl_ray.data.observations import Selection
from serl_ray.data.reference import MOST_DEMOS, DemoReference, read_reference, small_image
from serl_ray.envs import build_env
from serl_ray.envs.border import Border
from serl_ray.envs.expert import ScriptedExpert
from serl_ray.envs.first_episodes import EPISODES, FirstEpisodes
from serl_ray.envs.guard import Guard
from serl_ray.envs.recording import record_successes
from serl_ray.envs.wrappers import SelectObservations
from serl_ray.options.sets import HybridOptions
from serl_ray.rllib.demo_shapes import reference_of_run
from serl_ray.rllib.rollout_env import RolloutEnv
from serl_ray.types import SETUP_MODES, ActionLayout

MODE = "single-arm-learned-gripper"
LAYOUT = ActionLayout.from_setup(MODE, 7)
CAMERAS = ("image", "wrist")
NAMED = {
    "red and blue swapped": faults.bgr,
    "darker: set the exposure": faults.dark,
    "Reset to the pose of the demonstrations": faults.elsewhere,
    "the gripper's sign is reversed": partial(faults.reversed_action, number=6),
    "Reverse the sign of action[0] in the env": partial(faults.reversed_action, number=0),
    "Set its scale to 2": faults.scaled,
    "or its rate to theirs": faults.Twice,
}


def simulated():
    return build_env("tabletop", setup_mode=MODE, image_keys=CAMERAS, env_kwargs={"max_steps": 40})


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    env = Guard(simulated(), None, None)
    segments = record_successes(env, ScriptedExpert(env, LAYOUT, 0.2, 0).act, 8, 0)
    folder = tmp_path_factory.mktemp("demos") / "demos.pkl"
    write_demos(folder, segments)
    env.close()
    return str(folder)


@pytest.fixture(scope="module")
def reference(path):
    return read_reference(path, Selection(CAMERAS))


def play(env, reference, episodes=EPISODES + 1, layout=LAYOUT, cameras=CAMERAS):
    """Episodes of random actions, as a run's first ones."""
    env = FirstEpisodes(SelectObservations(Border(env), cameras), layout, (*cameras, "state"), False, False, reference)
    rng, is_over = np.random.default_rng(0), True
    while episodes:
        if is_over:
            env.reset(seed=1000 + episodes)
        _, _, terminated, truncated, _ = env.step(layout.random(rng, 1)[0])
        is_over = terminated or truncated
        episodes -= is_over
    env.reset()
    env.close()


def said(caplog):
    texts = [record.getMessage() for record in caplog.records]
    return [text for text in texts if text.startswith("The env and the demonstrations differ. ")]


@pytest.mark.slow
def test_the_demonstrations_own_env_gets_no_word(reference, caplog):
    play(simulated(), reference)
    assert said(caplog) == []


@pytest.mark.slow
@pytest.mark.parametrize("sentence", NAMED)
def test_what_differs_is_said_once(sentence, reference, caplog):
    play(NAMED[sentence](simulated()), reference)
    [line] = said(caplog)
    assert sentence in line


def test_another_rate_than_the_demonstrations_is_said_at_the_first_reset(reference, caplog):
    theirs = replace(reference, rate=30.0)
    for rate, count in ((10.0, 1), (25.0, 0), (None, 0)):
        caplog.clear()
        watched = SelectObservations(Border(simulated()), CAMERAS)
        env = FirstEpisodes(watched, LAYOUT, CAMERAS, False, False, theirs, control_hz=rate)
        env.reset(seed=3)
        assert len(said(caplog)) == count and all("--control_hz 30" in line for line in said(caplog))
        env.close()


@pytest.mark.slow
@pytest.mark.parametrize("mode", SETUP_MODES)
def test_a_sound_arm_of_each_set_up_gets_no_word_from_the_state_alone(mode, caplog):
    env = Guard(build_env("tabletop", setup_mode=mode), None, None)
    layout = ActionLayout.from_setup(mode, env.action_space.shape[0])
    known = DemoReference.of_segments(list(record_successes(env, ScriptedExpert(env, layout, 0.2, 0).act, 8, 0)))
    play(build_env("tabletop", setup_mode=mode), known, EPISODES, layout=layout, cameras=())
    assert said(caplog) == []


def test_cameras_that_certainly_have_other_colours_let_no_episode_begin(reference, caplog):
    both = faults.Seen(faults.bgr(simulated()), lambda image: image[..., ::-1], "wrist")
    watched = FirstEpisodes(SelectObservations(Border(both), CAMERAS), LAYOUT, CAMERAS, False, False, reference)
    env = Guard(watched, None, None)
    for _ in range(2):
        with pytest.raises(EnvFault, match="Camera `wrist` has red and blue swapped") as raised:
            env.reset(seed=3)
        assert raised.value.kind == "wrong_result"
    assert len(said(caplog)) == 2
    env.close()


def test_light_of_another_colour_is_no_swap(reference, caplog):
    def warm(image):
        return (image.astype(np.int16) + np.array([12, 0, -12])).clip(0, 255).astype(np.uint8)

    env = FirstEpisodes(
        SelectObservations(Border(faults.Seen(simulated(), warm)), CAMERAS), LAYOUT, CAMERAS, False, False, reference
    )
    env.reset(seed=5)
    assert not any("swapped" in line for line in said(caplog))
    env.close()


def test_a_reference_is_small_and_without_poses_of_objects(reference):
    assert {key: images.shape for key, images in reference.images.items()} == dict.fromkeys(CAMERAS, (8, 48, 48, 3))
    assert len(reference.courses) == 8 <= MOST_DEMOS and reference.starts["state"].shape == (8, 8)
    assert set(reference.starts) == {"state"} and reference.rate is None


@pytest.mark.parametrize("shape", [(128, 128, 3), (60, 97, 3), (7, 300, 3)])
def test_a_small_image_has_the_means_of_its_blocks(shape):
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    small = small_image(image)
    assert small.shape == (48, 48, 3) and small.min() >= image.min() and small.max() <= image.max()
    np.testing.assert_allclose(small_image(np.full(shape, 9, np.uint8)), 9.0)


def test_a_worker_gets_the_reference_and_trials_that_share_demonstrations_do_not(path):
    options = HybridOptions.of(demo_paths=(path,), setup_mode=MODE, image_keys=CAMERAS)
    found = reference_of_run(options, demos_are_shared=False)
    assert found is not None and set(found.images) == set(CAMERAS)
    assert reference_of_run(options, demos_are_shared=True) is None
    assert reference_of_run(HybridOptions.of(setup_mode=MODE), False) is None
    config = options.env_config() | options.deadlines() | {"action_scale": None}
    watch = {"is_dense": False, "has_scale": False, "reference": found}
    env = RolloutEnv(EnvContext(config | {"watch": watch, "frame_stack": 1}, 0))
    env.reset(seed=0)
    env.close()
