"""The border to an env: what passes it is a copy in the contract's words, and what must not pass is named."""

from __future__ import annotations

import enum
import logging

import gymnasium
import numpy as np
import pytest
from fake_envs import FakeEnv
from line_envs import LineEnv

from serl_ray.data.episodes import EnvFault
from serl_ray.envs import inspect_env, make_env
from serl_ray.envs.border import Border
from serl_ray.envs.guard import Guard
from serl_ray.envs.wrappers import GripperPenalty
from serl_ray.types import ActionLayout

MODE = "single-arm-learned-gripper"
CHOSEN = np.full(7, 0.6, np.float32)
PERSON = np.full(7, -0.5, np.float32)


def step_of(outcome=lambda result: result, observe=lambda observation: observation, env=FakeEnv, keys=None):
    """The first step of an env behind a border."""
    border = Border(env(outcome=outcome, observe=observe), keys)
    border.reset(seed=0)
    return border.step(CHOSEN.copy())


def with_info(**items):
    return lambda result: (*result[:4], result[4] | items)


def with_result(index, value):
    return lambda result: (*result[:index], value, *result[index + 1 :])


ODD_FLAGS = [2, 0.5, None, "False", np.ones(2, bool)]


@pytest.mark.parametrize("index", [2, 3])
@pytest.mark.parametrize("flag", ODD_FLAGS, ids=repr)
def test_a_flag_is_a_bool(index, flag):
    name = ("terminated", "truncated")[index - 2]
    with pytest.raises(EnvFault, match=f"The env FakeEnv breaks the contract: `{name}` is .*: return a bool") as caught:
        step_of(with_result(index, flag))
    assert caught.value.kind == "wrong_result" and "\n" not in str(caught.value)


@pytest.mark.parametrize("flag", [False, np.False_, 0, np.int64(0), np.zeros(1)])
def test_flags_and_rewards_leave_as_plain_values(flag):
    _, reward, terminated, truncated, _ = step_of(lambda result: (result[0], np.float32(0.0), flag, flag, {}))
    assert [type(value) for value in (reward, terminated, truncated)] == [float, bool, bool]


@pytest.mark.parametrize("info", [None, [], 3])
def test_info_is_a_dict(info):
    with pytest.raises(EnvFault, match="info is a .*: return a dict"):
        step_of(with_result(4, info))


@pytest.mark.parametrize(
    ("result", "says"),
    [((1, 2, 3, 4), "a tuple of 4 .4 is the old gym API."), (None, "a NoneType"), ([1, 2, 3, 4, 5], "a list")],
)
def test_a_step_is_five_things(result, says):
    with pytest.raises(EnvFault, match=f"step.. returns {says}: return observation, reward"):
        step_of(lambda _: result)


class NoOptions(LineEnv):
    def reset(self, seed=None):
        return super().reset(seed=seed)


class NoSeed(LineEnv):
    def reset(self):
        return super().reset()


@pytest.mark.parametrize(("env", "says"), [(NoOptions, "takes no options"), (NoSeed, "takes no seed and no options")])
def test_a_reset_that_takes_too_little_is_refused_before_the_first(env, says):
    whole = (
        f"The env {env.__name__} breaks the contract: reset.. {says}: declare reset.self, .*, seed=None, options=None"
    )
    for wrap in (Border, lambda env: Guard(env, None, None)):
        with pytest.raises(EnvFault, match=whole):
            wrap(env())


class Scaling(FakeEnv):
    def step(self, action):
        result = super().step(action)
        action *= 0.05
        return result


def test_an_action_is_a_copy_on_its_way_in():
    action = CHOSEN.copy()
    border = Border(Scaling())
    border.reset(seed=0)
    border.step(action)
    np.testing.assert_array_equal(action, CHOSEN)


def test_observations_frames_and_a_person_s_action_are_copies_on_their_way_out():
    frame, device = np.zeros((6, 8, 3), np.uint8), np.zeros(7, np.float32)

    def observe(observation):
        frame[:] = observation["front"]
        return observation | {"front": frame}

    def outcome(result):
        device[:] = device + 0.1
        return (*result[:4], {"intervene_action": device})

    border = Border(FakeEnv(observe=observe, outcome=outcome))
    first, _ = border.reset(seed=0)
    steps = [border.step(CHOSEN) for _ in range(3)]
    assert len({observation["front"].tobytes() for observation in (first, *(step[0] for step in steps))}) == 4
    np.testing.assert_allclose([step[4]["intervene_action"][0] for step in steps], [0.1, 0.2, 0.3], rtol=1e-6)


class Names(enum.Enum):
    FLAG = "is_intervention"


UNDERSTOOD = {
    "ours": ({"intervene_action": PERSON}, True),
    "ours with a flag": ({"is_intervention": True, "intervene_action": PERSON}, True),
    "LeRobot's": ({"is_intervention": True, "action_intervention": PERSON, "teleop_action": PERSON}, True),
    "LeRobot's teleop_action": ({"is_intervention": np.True_, "teleop_action": PERSON}, True),
    "LeRobot's enumeration": ({Names.FLAG: True, "teleop_action": PERSON}, True),
    "LeRobot's without a person": ({"is_intervention": False, "teleop_action": CHOSEN}, False),
    "none": ({"intervene_action": None}, False),
}


@pytest.mark.parametrize("name", UNDERSTOOD)
def test_other_projects_names_of_an_intervention(name):
    reported, is_intervention = UNDERSTOOD[name]
    info = step_of(with_result(4, reported))[4]
    assert ("intervene_action" in info) == is_intervention
    if is_intervention:
        np.testing.assert_array_equal(info["intervene_action"], PERSON)


AMBIGUOUS = {
    "no flag": ({"teleop_action": PERSON}, "'teleop_action' without 'is_intervention': say by"),
    "no action": ({"is_intervention": True}, "is true, and no action is given"),
    "a contradiction": (
        {"is_intervention": False, "intervene_action": PERSON},
        "is false, and there is an 'intervene_action'",
    ),
    "an odd flag": ({"is_intervention": "yes", "teleop_action": PERSON}, "is 'yes': return a bool"),
    "RLinf's flag alone": ({"intervene_flag": np.ones(1, bool)}, "'intervene_flag'.* is true, and no action is given"),
}


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_an_intervention_that_can_be_read_in_two_ways_is_named(name):
    reported, says = AMBIGUOUS[name]
    with pytest.raises(EnvFault, match=says) as caught:
        step_of(with_result(4, reported))
    assert caught.value.kind == "wrong_action"


@pytest.mark.parametrize("key", ["success", "succeed", "is_success", "next.success"])
@pytest.mark.parametrize("value", [True, False, 1.0])
def test_other_projects_names_of_a_success(key, value):
    assert step_of(with_info(**{key: value}))[4]["success"] == bool(value)


def test_other_projects_name_of_a_grippers_penalty():
    assert step_of(with_result(4, {"discrete_penalty": -0.05}))[4]["grasp_penalty"] == -0.05
    both = {"discrete_penalty": -0.05, "grasp_penalty": -0.02}
    assert step_of(with_result(4, both))[4]["grasp_penalty"] == -0.02
    with pytest.raises(EnvFault, match=r"info\['grasp_penalty'\] is 0.05: return one finite number, 0 or less"):
        step_of(with_result(4, {"discrete_penalty": 0.05}))


UNREAD = {
    "terminate_episode": ({"terminate_episode": True}, "is true, and the episode goes on: return terminated"),
    "failure": ({"failure": np.True_}, "is true, and the episode goes on"),
    "rerecord_episode": ({"rerecord_episode": True}, "no episode is dropped for it"),
    "gripper_penalty": ({"gripper_penalty": -0.02}, "is not read, because some envs add it to the reward themselves"),
}


@pytest.mark.parametrize("name", UNREAD)
def test_what_a_person_reports_and_nothing_acts_on_is_said_once(name, caplog):
    reported, says = UNREAD[name]
    border = Border(FakeEnv(outcome=lambda result: (result[0], 0.0, False, False, reported)))
    border.reset(seed=0)
    for _ in range(3):
        border.step(CHOSEN)
    [line] = [record.getMessage() for record in caplog.records]
    assert says in line and f"info[{name!r}]" in line
    found = inspect_env(FakeEnv(outcome=lambda result: (result[0], 0.0, False, False, reported)), MODE).problems
    assert len(found) == 1 and says in found[0]


def test_what_a_person_does_not_report_and_what_is_done_is_not_named(caplog):
    nothing = {**dict.fromkeys(("terminate_episode", "failure", "rerecord_episode"), False), "discrete_penalty": 0.0}
    step_of(with_result(4, nothing))
    step_of(lambda result: (result[0], 0.0, True, False, {"terminate_episode": True, "failure": True}))
    step_of(with_result(4, {"gripper_penalty": -0.02, "grasp_penalty": -0.02}))
    assert caplog.text == ""


def test_a_success_is_a_bool():
    with pytest.raises(EnvFault, match=r"info\['success'\] is 'no': return a bool"):
        step_of(with_info(is_success="no"))


LAST = {
    "state": np.full(3, 0.5, np.float32),
    "object_state": np.zeros(2, np.float32),
    "front": np.full((6, 8, 3), 7, np.uint8),
    "wrist": np.full((4, 4, 3), 7, np.uint8),
}


@pytest.mark.parametrize("key", ["final_obs", "final_observation", "terminal_observation"])
@pytest.mark.parametrize(("terminated", "truncated"), [(True, False), (False, True)])
def test_the_last_observation_of_an_env_that_resets_itself(key, terminated, truncated):
    observation, *_ = step_of(lambda result: (result[0], 0.0, terminated, truncated, {key: LAST}))
    for name, value in LAST.items():
        np.testing.assert_array_equal(observation[name], value)
        assert observation[name] is not value
    observation, *_ = step_of(lambda result: (result[0], 0.0, False, False, {key: LAST}))
    assert not np.array_equal(observation["state"], LAST["state"]), "the episode goes on"


def test_the_last_info_of_an_env_that_resets_itself():
    reset_info = {"final_observation": LAST, "final_info": {"intervene_action": PERSON, "succeed": True}}
    info = step_of(lambda result: (result[0], 1.0, True, False, reset_info))[4]
    assert info["success"] is True
    np.testing.assert_array_equal(info["intervene_action"], PERSON)


def test_a_person_s_last_action_is_kept_beside_the_last_info():
    ended = {"intervene_action": PERSON, "final_obs": LAST, "final_info": {"success": True}}
    info = step_of(lambda result: (result[0], 1.0, True, False, ended))[4]
    assert info["success"] is True
    np.testing.assert_array_equal(info["intervene_action"], PERSON)


@pytest.mark.parametrize(("flag", "ends"), [(True, (False, True)), (False, (True, False))])
def test_gym_s_old_name_of_a_time_out_is_understood(flag, ends):
    _, _, *found, _ = step_of(lambda result: (result[0], 0.0, True, False, {"TimeLimit.truncated": flag}))
    assert tuple(found) == ends


def test_an_env_that_ends_the_process_is_at_fault():
    class Quitting(FakeEnv):
        def step(self, action):
            raise SystemExit("the robot's driver has had enough")

    env = Guard(Quitting(), None, None)
    env.reset(seed=0)
    with pytest.raises(EnvFault, match="raised SystemExit: the robot's driver has had enough"):
        env.step(CHOSEN)


def test_a_last_observation_that_is_none_is_named():
    with pytest.raises(EnvFault, match="An observation is not a dict but a ndarray"):
        step_of(lambda result: (result[0], 0.0, True, False, {"final_obs": np.zeros(3)}))


def test_deviations_that_can_be_put_right_are_said_once(caplog):
    caplog.set_level(logging.WARNING)

    def observe(observation):
        return observation | {"state": [0.5, 30.0, 0.0], "object_state": np.zeros(2), "extra": 1}

    border = Border(FakeEnv(observe=observe, outcome=with_info(intervene_action=PERSON.astype(np.float64))))
    border.reset(seed=0)
    for _ in range(3):
        observation, *_, info = border.step(CHOSEN)
    assert observation.keys() == FakeEnv().observation_space.keys()
    assert (
        observation["state"].dtype == observation["object_state"].dtype == info["intervene_action"].dtype == np.float32
    )
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == len(set(said)) == 5
    assert any(
        "FakeEnv deviates from the contract: Observation `object_state` is a float64 vector" in line for line in said
    )


def test_what_nobody_uses_does_not_matter():
    observation, *_ = step_of(observe=lambda o: o | {"wrist": o["wrist"].astype(np.float32)}, keys={"front", "state"})
    assert observation["wrist"].dtype == np.float32
    with pytest.raises(EnvFault, match="`wrist` is a float32 image"):
        step_of(observe=lambda o: o | {"wrist": o["wrist"].astype(np.float32)}, keys={"wrist"})


def test_an_env_gets_one_border():
    env = Guard(make_env("fake_envs:FakeEnv", setup_mode=MODE, image_keys=["front"]), None, None)
    borders = 0
    while isinstance(env, gymnasium.Wrapper):
        borders, env = borders + isinstance(env, Border), env.env
    assert borders == 1


def test_the_grasp_penalty_prices_what_was_executed():
    layout = ActionLayout.from_setup(MODE, 7)
    closing = np.full(7, -1.0, np.float32)
    scaling = GripperPenalty(Scaling(), layout)
    scaling.reset(seed=0)
    assert [scaling.step(closing.copy())[4]["grasp_penalty"] for _ in range(2)] == [0.0, -0.02]
    reported = {"is_intervention": True, "teleop_action": -closing}
    helped = GripperPenalty(FakeEnv(outcome=with_info(**reported)), layout)
    helped.reset(seed=0)
    assert [helped.step(action)[4]["grasp_penalty"] for action in (closing, -closing)] == [0.0, -0.02]
