"""Envs that can be served, and what is said of the others."""

from __future__ import annotations

import enum

import gymnasium
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps
from robot_trainers import RecordingArm, scripted_trainer, served
from serl_robot import Box, Dict, UnservableEnv
from serl_robot.adapter import EnvFault, RobotEnv
from serl_robot.frozen import ImageWatch
from serl_robot.infos import READ_BY_TRAINER, UnsendableInfo, split_info
from serl_robot.serving import Serving
from serl_robot.spaces import description
from serl_robot.wire import MAX_BLOBS, Message, pack, unpack


def env_with(**spaces):
    env = RecordingArm()
    for name, space in spaces.items():
        setattr(env, name, space)
    return env


UNSERVABLE = {
    "observation_space is no Dict": {"observation_space": Box(0, 1, (3,))},
    "is a dict of tcp, grip: flatten it": {
        "observation_space": Dict({"state": Dict({"tcp": Box(0, 1, (3,)), "grip": Box(0, 1, (1,))})})
    },
    "such as HIL-SERL's ChunkingWrapper": {"observation_space": Dict({"front": Box(0, 255, (1, 8, 8, 3), np.uint8)})},
    r"'grey' has the shape \(8, 8\), not": {"observation_space": Dict({"grey": Box(0, 255, (8, 8), np.uint8)})},
    "Observation 'z' is complex64": {"observation_space": Dict({"z": Box(0, 1, (2,), np.complex64)})},
    "Observation 'on' is bool": {"observation_space": Dict({"on": Box(0, 1, (2,), bool)})},
    "is a Discrete; it must be a Box": {"observation_space": Dict({"n": gymnasium.spaces.Discrete(3)})},
    "keys must be strings": {"observation_space": Dict({1: Box(0, 1, (3,))})},
    "has 9 arrays": {"observation_space": Dict({str(n): Box(0, 1, (3,)) for n in range(9)})},
    "Shrink the images": {"observation_space": Dict({"front": Box(0, 255, (2000, 2000, 3), np.uint8)})},
    "from 0 to 1; it must be Box": {"action_space": Box(0, 1, (4,))},
    r"has the shape \(2, 2\)": {"action_space": Box(-1, 1, (2, 2))},
}


@pytest.mark.parametrize("text", UNSERVABLE)
def test_an_env_that_cannot_be_served_is_refused_with_what_to_change(text):
    with pytest.raises(UnservableEnv, match=text):
        RobotEnv(env_with(**UNSERVABLE[text]))


@pytest.mark.parametrize(
    ("kwargs", "text"),
    [({"hz": 0.0}, "from 1 to 1000"), ({"hz": float("nan")}, "nan Hz"), ({"setup_mode": "one-arm"}, "one of single-")],
)
def test_a_rate_or_a_layout_that_cannot_be_right_is_named(kwargs, text):
    given = {"hz": 10, "setup_mode": "single-arm-learned-gripper", **kwargs}
    with pytest.raises(UnservableEnv, match=text):
        Serving(RecordingArm(), "ws://a", "token", **given)


def test_spaces_of_gymnasium_and_ours_are_described_alike():
    of = gymnasium.spaces
    theirs = of.Dict({"state": of.Box(-1, 2, (3,), np.float32), "front": of.Box(0, 255, (8, 6, 3), np.uint8)})
    ours = Dict({"state": Box(-1, 2, (3,)), "front": Box(0, 255, (8, 6, 3), np.uint8)})
    described = [description(env_with(observation_space=space)) for space in (theirs, ours)]
    assert {tuple(sorted(fields["observations"])) for fields, _ in described} == {("front", "state")}
    assert described[0][0]["observations"]["front"] == described[1][0]["observations"]["front"]
    np.testing.assert_equal(described[0][1], described[1][1])
    unbounded, bounds = description(env_with(observation_space=Dict({"state": Box(-np.inf, 1, (3,))})))
    assert unbounded["observations"] and not bounds


class OldArm(RecordingArm):
    """An env of gym before 0.26."""

    def reset(self):
        self._note("reset")
        return self._observe()

    def seed(self, seed):
        self.seeds.append(seed)

    def step(self, action):
        self._note("step")
        return self._observe(), 1, self.calls.count("step") > 1, {"TimeLimit.truncated": self.calls.count("step") > 2}


def test_an_env_of_old_gym_is_served():
    arm = OldArm()
    with scripted_trainer() as trainer, served(arm, trainer.url):
        talk = trainer.accept().welcome()
        talk.reset(seed=4)
        ends = []
        for _ in range(3):
            talk.reset()
            fields = talk.step().fields
            ends.append((fields["terminated"], fields["truncated"]))
    assert arm.seeds == [4] and ends == [(False, False), (True, False), (False, True)]


class Takeover(gymnasium.Wrapper):
    """A wrapper in the manner of HIL-SERL's, whose device gives the action."""

    def step(self, action):
        result = self.env.step(np.full_like(action, 0.5))
        return (*result[:4], {**result[4], "intervene_action": np.full(4, 0.5), "left": False, "right": True})


class GymArm(RecordingArm, gymnasium.Env):
    """An arm by gymnasium's base class."""

    observation_space = gymnasium.spaces.Dict(
        {
            "state": gymnasium.spaces.Box(-10, 10, (3,), np.float32),
            "front": gymnasium.spaces.Box(0, 255, (8, 6, 3), np.uint8),
        }
    )
    action_space = gymnasium.spaces.Box(-1, 1, (4,), np.float32)

    def reset(self, *, seed=None, options=None):
        return RecordingArm.reset(self, seed)


def test_wrappers_of_others_work_as_they_are_and_methods_are_found_in_them():
    arm = GymArm()
    with scripted_trainer() as trainer, served(Takeover(arm), trainer.url):
        talk = trainer.accept().welcome()
        talk.reset(seed=1)
        result = talk.step(0, 0, 0, 0)
    assert talk.hello.fields["methods"] == ["hold", "stop"] and talk.hello.fields["seen_from"] == "left"
    assert result.arrays["info/intervene_action"].tolist() == [0.5] * 4 and "stop" in arm.calls
    assert result.fields["info"] == {"distance": 0.25, "left": False, "right": True}


def test_a_seed_that_nothing_takes_is_told_once(caplog):
    arm = RecordingArm()
    arm.reset = lambda: (arm._observe(), {})
    env = RobotEnv(arm)
    env.reset(1), env.reset(2)
    assert caplog.text.count("takes no seed") == 1


def test_a_camera_that_has_frozen_is_named_and_one_that_goes_on_is_not():
    arm, image = RecordingArm(), np.zeros((8, 6, 3), np.uint8)
    env = RobotEnv(arm, frozen_after=1e-9)
    arm.next_step = [lambda result: ({**result[0], "front": image}, *result[1:])] * 2
    env.reset(None)
    env.step(np.zeros(4, np.float32))
    with pytest.raises(EnvFault, match="camera front has frozen: .* to the last bit .* Check its cable"):
        env.step(np.zeros(4, np.float32))
    env.reset(None)
    env.step(np.zeros(4, np.float32))


@pytest.mark.parametrize(("age", "is_frozen"), [(2.0, False), (2.1, True)])
def test_images_may_be_the_same_for_a_while_and_vectors_for_ever(age, is_frozen):
    now = [0.0]
    watch = ImageWatch(2.0, clock=lambda: now[0])
    observation = {"state": np.zeros(3, np.float32), "front": np.zeros((8, 6, 3), np.uint8)}
    assert not watch.fault(observation)
    now[0] = age
    assert bool(watch.fault(observation)) == is_frozen
    assert not watch.fault({"state": observation["state"], "front": observation["front"] + 1})


def test_a_reset_of_another_form_is_a_fault():
    arm = RecordingArm()
    arm.reset = lambda seed=None: None
    with pytest.raises(EnvFault, match=r"reset\(\) returns None: return observation, info"):
        RobotEnv(arm).reset(None)


def test_an_exit_of_the_env_is_a_fault():
    arm = RecordingArm()
    arm.hold = lambda: (_ for _ in ()).throw(SystemExit(3))
    with pytest.raises(EnvFault, match=r"hold\(\) raised SystemExit: 3"):
        RobotEnv(arm).rest()


class Event(enum.StrEnum):
    SUCCESS = "success"


NUMBERS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    nps.arrays(st.sampled_from(["float32", "int64", "bool", "complex64", "U3"]), nps.array_shapes(max_dims=2)),
    st.just(object()),
    st.builds(np.float64, st.floats()),
)
INFOS = st.dictionaries(
    st.text(max_size=5) | st.just(Event.SUCCESS) | st.sampled_from(sorted(READ_BY_TRAINER)),
    st.recursive(
        NUMBERS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_size=5,
)


@given(info=INFOS)
def test_any_info_is_sent_or_named(info):
    names = {str(getattr(key, "value", key)) for key in info}
    try:
        values, arrays, left_out = split_info(info)
    except UnsendableInfo as error:
        assert any(repr(name) in str(error) for name in READ_BY_TRAINER)
        return
    assert values.keys() | arrays.keys() | left_out.keys() == names
    assert not READ_BY_TRAINER & left_out.keys() and len(arrays) <= MAX_BLOBS
    if len(values) < 5:
        read = unpack(pack(Message("result", {"info": values}, arrays)))
        assert read.fields["info"] == values


def test_a_name_of_an_enumeration_is_its_value():
    assert split_info({Event.SUCCESS: np.True_}) == ({"success": True}, {}, {})
