import gymnasium
import numpy as np
import pytest

pytest.importorskip("gym_hil")

from serl_ray.envs import check_env, make_env
from serl_ray.envs import gym_hil as adapter
from serl_ray.envs.expert import ScriptedExpert
from serl_ray.envs.guard import Guard
from serl_ray.envs.gym_hil import PandaPickCube, make_pick_cube
from serl_ray.teleop.events import Client, ClientRole, Command
from serl_ray.teleop.session import Session
from serl_ray.teleop.twists import Reference, Twist, TwistMap
from serl_ray.teleop.wrapper import OperatedEnv
from serl_ray.types import ActionLayout

MODE = "single-arm-learned-gripper"
CLOSE, HOLD, OPEN = (np.array([0, 0, 0, gripper], np.float32) for gripper in (-1, 0, 1))
COMMAND, OPENING = 9, 10  # in `state`


@pytest.fixture(scope="module")
def env():
    return PandaPickCube()


def finish(env, act, steps=60):
    """Plays on to the episode's end: (reward, terminated, number of steps)."""
    for step in range(1, steps + 1):
        _, reward, terminated, truncated, _ = env.step(act())
        if terminated or truncated:
            return reward, terminated, step
    return reward, terminated, steps


@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_the_expert_lifts_the_cube(env, noise):
    expert = ScriptedExpert(env, ActionLayout.from_setup(MODE, 4), noise)
    for seed in range(4):
        env.reset(seed=seed)
        reward, terminated, steps = finish(env, expert.act)
        assert (reward, terminated) == (1.0, True) and steps <= 40


@pytest.mark.parametrize("before", [[CLOSE] * 4, [np.array([0, 0, -1, -1], np.float32)] * 3, "drop"])
def test_the_expert_recovers(env, before):
    env.reset(seed=0)
    if isinstance(before, str):
        for _ in range(15):
            env.step(env.expert_action())
        before = [OPEN, HOLD]
    for action in before:
        env.step(action)
    assert finish(env, env.expert_action)[0] == 1.0


def test_minus_one_closes_and_plus_one_opens(env):
    env.reset(seed=0)
    openings, commands, penalties = [], [], []
    for action in (CLOSE, HOLD, HOLD, HOLD, CLOSE, OPEN, HOLD, HOLD, HOLD, OPEN):
        observation, *_, info = env.step(action)
        openings.append(observation["state"][OPENING])
        commands.append(observation["state"][COMMAND])
        penalties.append(info["grasp_penalty"])
    assert openings[3] < -0.8 and openings[-1] > 0.8
    assert commands == [-1.0] * 5 + [1.0] * 5
    np.testing.assert_allclose(penalties, [0, 0, 0, 0, -0.02, 0, 0, 0, 0, -0.02])


def test_a_full_scale_action_moves_the_tip_by_25_millimetres(env):
    for axis in range(3):
        start = env.reset(seed=0)[0]["state"][:3]
        observation, *_ = env.step(np.eye(4, dtype=np.float32)[axis])
        for _ in range(8):
            observation, *_ = env.step(HOLD)
        moved = observation["state"][:3] - start  # decimetres
        np.testing.assert_allclose(moved, 0.25 * np.eye(3)[axis], atol=0.02)


def test_the_seed_alone_places_the_cube(env):
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    first = env.reset(seed=5)[0]["object_state"]
    np.testing.assert_array_equal(np.random.get_state()[1], before)
    np.random.seed(1)
    np.testing.assert_array_equal(env.reset(seed=5)[0]["object_state"], first)
    places = np.array([env.reset()[0]["object_state"][:2] for _ in range(20)])
    assert (np.ptp(places, axis=0) > [1.0, 1.5]).all()  # decimetres, of 2 by 3


def place_cube(env, position):
    env.reset(seed=0)
    env.data.joint("block").qpos[:3] = position
    return env.step(HOLD)


def test_a_cube_that_left_its_area_truncates(env):
    _, reward, terminated, truncated, _ = place_cube(env, (0.5, 0.25, 0.02))
    assert (reward, terminated, truncated) == (0.0, False, True)


def test_a_cube_in_the_air_away_from_the_gripper_is_no_success(env):
    _, reward, terminated, truncated, info = place_cube(env, (0.35, 0.1, 0.4))
    assert (reward, terminated, truncated, info["success"]) == (0.0, False, False, False)


def test_the_time_limit_truncates():
    env = make_pick_cube(max_steps=2)
    env.reset(seed=0)
    assert [env.step(HOLD)[2:4] for _ in range(2)] == [(False, False), (False, True)]
    assert isinstance(env, gymnasium.wrappers.TimeLimit)


def test_it_keeps_the_contract():
    assert check_env(make_pick_cube(), MODE, steps=30) == []


class RendererStub:
    def __init__(self, model, height, width):
        self.size, self.drawn = (height, width, 3), []

    def render(self, data, camera):
        self.drawn.append(camera)
        return np.zeros(self.size, np.uint8)


def test_only_the_cameras_asked_for_are_drawn(monkeypatch):
    made = []
    monkeypatch.setattr(adapter, "OffscreenRenderer", lambda *args: made.append(RendererStub(*args)) or made[-1])
    PandaPickCube().reset(seed=0)
    assert made == []
    observation, _ = PandaPickCube(["wrist"], image_size=32).reset(seed=0)
    assert observation["wrist"].shape == (32, 32, 3)
    assert [renderer.drawn for renderer in made] == [["handcam_rgb"]]


def test_the_cube_is_seen():
    try:
        env = make_env("gym-hil", setup_mode=MODE, image_keys=["front", "wrist"])
        observation, _ = env.reset(seed=3)
    except RuntimeError as error:
        pytest.skip(f"no OpenGL here: {error}")
    assert env.observation_space.contains(observation)
    for _ in range(12):
        observation, *_ = env.step(env.unwrapped.expert_action())
    for key in ("front", "wrist"):
        red, green, blue = np.moveaxis(observation[key].astype(int), -1, 0)
        assert ((red - green > 30) & (blue - green > 30)).sum() > 8, f"no purple in {key}"
    env.close()


def test_unknown_cameras_are_named():
    with pytest.raises(ValueError, match="side: the env gym-hil has front, image, wrist"):
        PandaPickCube(["front", "side"])


def test_a_person_moves_the_tip_by_twists():
    layout = ActionLayout.from_setup(MODE, 4)
    env = PandaPickCube()
    session = Session(layout, twist_map=TwistMap.from_env(env, layout, MODE))
    operated = OperatedEnv(Guard(env, None, None), session, clock=lambda: 0.0)
    operated.reset(seed=0)
    anna, upwards = (
        Client("anna", ClientRole.OPERATOR),
        Twist(np.array([0, 0, 0.5, 0, 0, 1], np.float32), 0, Reference.BASE),
    )
    session.lease.request(anna, 0.0)
    for clutch in (False, True):
        session.command(Command(anna, 1, operated.view.frame, clutch, upwards, "keyboard"), 0.0)
    heights = [operated.step(np.zeros(4, np.float32))[0]["state"][2] for _ in range(5)]
    assert operated.view.actor == "person" and operated.view.executed.tolist() == [0, 0, 0.5, 0]
    assert heights[-1] > heights[0] + 0.1, "decimetres"
