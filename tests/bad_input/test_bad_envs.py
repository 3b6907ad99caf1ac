"""Envs that are wrong: their names, their spaces, what they return while they are used, and gates."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from cases import Case, assert_refused, table
from fake_envs import FakeEnv
from gymnasium.spaces import Box, Dict, Discrete

from serl_ray.cli import check_env
from serl_ray.data.episodes import EnvFault, EpisodeRecorder
from serl_ray.envs import make_env
from serl_ray.envs.border import Border
from serl_ray.envs.learned_reward import parse_gate
from serl_ray.envs.steps import check_step
from serl_ray.utils.options import OptionError

MODE = "single-arm-learned-gripper"


def made(name: str, says: str, error: type[Exception] = ValueError, **options: Any) -> Case:
    return Case(name, lambda _: make_env(**{"env": "tabletop", "setup_mode": MODE, **options}), error, says)


def spaced(name: str, says: str, image_keys: tuple[str, ...] = (), **spaces: gymnasium.Space) -> Case:
    return made(f"space: {name}", says, env="fake_envs:Spaced", image_keys=image_keys, env_kwargs=spaces)


NAMES = [
    made(
        "unknown env",
        "Unknown env 'table': choose tabletop, gym-hil, metaworld, robosuite, franka or remote, or name your own",
        env="table",
    ),
    made("no module", "cannot be imported .*install its package", env="no_such_module:Env"),
    made("no class", "fake_envs has no class 'Fake'; its envs: FakeEnv", env="fake_envs:Fake"),
    made("no env", "gives a str, which is no gymnasium.Env", env="fake_envs:not_an_env"),
    made("unknown argument", "env_kwargs do not fit env 'tabletop'.*'sizes'", env_kwargs={"sizes": 3}),
    made("unknown set-up", "setup_mode is 'one-arm'; choose one of", setup_mode="one-arm"),
    made(
        "unknown camera", "side not found; there are front, object_state", env="fake_envs:FakeEnv", image_keys=["side"]
    ),
    made("unknown vector", "force not found; there are", env="fake_envs:FakeEnv", state_keys=["force"]),
    made(
        "a vector as camera", "'state' is the name of the state vector", env="fake_envs:FakeEnv", image_keys=["state"]
    ),
    made(
        "a camera as vector",
        r"'front' has shape \(6, 8, 3\); it must be a vector",
        env="fake_envs:FakeEnv",
        state_keys=["front"],
    ),
    made(
        "an odd number",
        "An action of 7 numbers cannot be dual",
        env="fake_envs:FakeEnv",
        setup_mode="dual-arm-fixed-gripper",
    ),
    made("no classifier", "holds no reward classifier", FileNotFoundError, learned_reward={"classifier": "nowhere"}),
]
SPACES = [
    spaced("discrete actions", r"The action space is Discrete\(3\): make it Box\(-1, 1", action_space=Discrete(3)),
    spaced(
        "actions in metres",
        "ranges from -0.1 to 0.1: make it -1 to 1, and scale",
        action_space=Box(-0.1, 0.1, (7,), np.float32),
    ),
    spaced(
        "endless actions",
        "ranges from -inf to inf: make it -1 to 1",
        action_space=Box(-np.inf, np.inf, (7,), np.float32),
    ),
    spaced(
        "float64 actions", "The action space is float64: make it float32", action_space=Box(-1, 1, (7,), np.float64)
    ),
    spaced(
        "float image", r"'front' is a float32 image\. Scale values", ("front",), front=Box(0, 1, (6, 8, 3), np.float32)
    ),
    spaced(
        "grey image", r"'front' has shape \(6, 8, 1\).*three colour", ("front",), front=Box(0, 255, (6, 8, 1), np.uint8)
    ),
    spaced(
        "channels first",
        r"'front' has shape \(3, 6, 8\).*np\.moveaxis",
        ("front",),
        front=Box(0, 255, (3, 6, 8), np.uint8),
    ),
    spaced("no channel", r"'front' has shape \(6, 8\)", ("front",), front=Box(0, 255, (6, 8), np.uint8)),
    spaced(
        "nested",
        "must be a flat Dict of Boxes, but images is not a Box",
        images=Dict({"front": Box(0, 255, (6, 8, 3), np.uint8)}),
    ),
]


def returned(name: str, says: str, error: type[Exception] = EnvFault, **changes: Any) -> Case:
    def do(_: Any) -> None:
        env = FakeEnv(
            observe=lambda observation: {k: v for k, v in {**observation, **changes}.items() if v is not None}
        )
        Border(env, ("front", "state")).reset(seed=0)

    return Case(f"observation: {name}", do, error, says)


def recorded(name: str, says: str, reward: Any = 0.0, state: Any = 0.0, terminated: Any = False, **info: Any) -> Case:
    def do(_: Any) -> None:
        observation = {"state": np.full(3, state, np.float32)}
        check_step(np.zeros(7, np.float32), (observation, reward, terminated, False, info))

    return Case(f"step: {name}", do, EnvFault, says)


HELPED = {"intervene_action": np.zeros(7, np.float32)}
RETURNED = [
    returned("NaN", "Observation `state` holds NaN or infinity: fix it", state=np.full(3, np.nan, np.float32)),
    returned("float image", r"`front` is a float32 image\. Scale values", front=np.zeros((6, 8, 3), np.float32)),
    returned("another size", r"`front` is uint8 \(8, 6, 3\), its space", front=np.zeros((8, 6, 3), np.uint8)),
    returned("no camera", "has the keys object_state, state, wrist, its space front", front=None),
    recorded("NaN as reward", "reward is nan: return one finite number", reward=np.nan),
    recorded("no reward", "reward is None: return one finite number", reward=None),
    recorded("rewards", "reward is array.*: return one finite number", reward=np.zeros(2)),
    recorded("a word as penalty", r"info\['grasp_penalty'\] is 'much': return one finite number", grasp_penalty="much"),
    recorded(
        "a bonus as penalty", r"info\['grasp_penalty'\] is 0.1: return one finite number, 0 or less", grasp_penalty=0.1
    ),
    recorded("a number as end", "`terminated` is 2: return a bool", terminated=2),
    recorded("many ends", r"`terminated` is array\(\[False, .*: return a bool", terminated=np.zeros(10_000, bool)),
    recorded("a whole trajectory as action", r"\['intervene_action'\] is \[", intervene_action=np.zeros((50, 7))),
    recorded("NaN in the state", "`state` holds NaN or infinity", state=np.nan),
    recorded(
        "an action in metres", r"\['intervene_action'\] is \[30.* in \[-1, 1\]", intervene_action=np.full(7, 30.0)
    ),
    recorded("NaN as action", r"\['intervene_action'\] is \[nan", intervene_action=np.full(7, np.nan)),
    recorded(
        "half an action", r"\['intervene_action'\] .*float64 \(6,\)\)\. Report the whole", intervene_action=np.zeros(6)
    ),
    recorded(
        "a sent action in metres",
        r"\['executed_action'\] is \[30.* without another action than the given one",
        executed_action=np.full(7, 30.0),
    ),
    recorded("a word as action", r"\['intervene_action'\] is left", intervene_action="left"),
    recorded(
        "the policy as the person", r"\['intervene_source'\] is 'policy': return", **HELPED, intervene_source="policy"
    ),
    recorded(
        "a person without a name", r"\['intervene_source'\] is '': return the name", **HELPED, intervene_source=""
    ),
    recorded("a number as source", r"\['intervene_source'\] is 3: return the name", **HELPED, intervene_source=3),
    recorded("a source of lines", r"\['intervene_source'\] is 'a.nb': return", **HELPED, intervene_source="a\nb"),
    recorded("a name as number", r"\['intervention'\] is 'one': return the number", **HELPED, intervention="one"),
    recorded("a flag as number", r"\['intervention'\] is True: return the number", **HELPED, intervention=True),
]


def gate(text: str, says: str) -> Case:
    return Case(f"gate {text}", lambda _: parse_gate(text, FakeEnv().observation_space.spaces), ValueError, says)


GATES = [
    gate("state > 1", "not a condition such as"),
    gate("state[0] >= 1", "not a condition such as"),
    gate("state[0] > e", "not a condition such as"),
    gate("state[0] > 1 or True", "not a condition such as"),
    gate("state[-1] > 1", "not a condition such as"),
    gate("state[3] > 1", r"asks for state\[3\]; the env's vectors are .*state\[0..2\]"),
    gate("front[0] > 1", r"asks for front\[0\]"),
]


def arguments(text: str, says: str, error: type[Exception] = OptionError) -> Case:
    check = ["--env_name", "fake_envs:FakeEnv", "--setup_mode", MODE, "--env_kwargs", *text.split()]
    return Case(f"env_kwargs {text}", lambda _: check_env.main(check), error, says)


ARGUMENTS = [
    arguments("action_dim", "env_kwargs is 'action_dim'; give a value after each name"),
    arguments("actions 7", "env_kwargs do not fit env 'fake_envs:FakeEnv'", ValueError),
]


@table(NAMES + SPACES + RETURNED + GATES + ARGUMENTS)
def test_a_wrong_env_is_refused(case, tmp_path):
    assert_refused(case, tmp_path)


def test_what_is_right_is_let_pass():
    env = make_env("fake_envs:Spaced", setup_mode=MODE, image_keys=("front",))
    observation, _ = env.reset(seed=0)
    recorder = EpisodeRecorder("a", observation)
    assert recorder.add(np.zeros(7, np.float32), env.step(np.zeros(7, np.float32))) in (True, False)
