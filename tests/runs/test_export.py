"""Exported policies act as their agents do, without PyTorch, and refuse what they were not trained on."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from small_agents import ABOUT, small_config

pytest.importorskip("onnxruntime")

from serl_robot.policy import Policy, PolicyError

from serl_ray.agents.make import make_agent
from serl_ray.networks.inputs import ObservationSpec
from serl_ray.runs.export import write_policy
from serl_ray.types import ActionLayout, ActionScale

ROOT = Path(__file__).parents[2]
LEARNED, TWO = "single-arm-learned-gripper", "dual-arm-learned-gripper"
CASES = {
    "state": (("single-arm-fixed-gripper", 6), (), 1, 5, (32, 32), {}),
    "one camera": ((LEARNED, 7), ("wrist",), 1, 5, (32, 32), {}),
    "two arms, two cameras, stacked, odd images": ((TWO, 14), ("left", "right"), 3, 4, (47, 90), {}),
    "trained trunk, no state, larger images": (
        ("dual-arm-fixed-gripper", 12),
        ("a",),
        1,
        0,
        (20, 33),
        {"frozen": False},
    ),
    "normalised state": ((LEARNED, 4), ("a",), 1, 3, (32, 32), {"normalise_state": True}),
}


def agent_of(case, seed=0):
    (mode, action_dim), cameras, stack, state_dim, shape, encoder = CASES[case]
    layout, spec = ActionLayout.from_setup(mode, action_dim), ObservationSpec(cameras, stack, state_dim)
    agent = make_agent(layout, spec, small_config(**encoder), device="cpu", seed=seed)
    agent.fit_normaliser(np.random.default_rng(0).normal(3.0, 40.0, (50, max(state_dim, 1))).astype(np.float32))
    return agent, dict.fromkeys(cameras, shape)


def observations_of(agent, shapes, count):
    rng = np.random.default_rng(2)
    for _ in range(count):
        images = {key: rng.integers(0, 256, (*shape, 3), np.uint8) for key, shape in shapes.items()}
        state = (
            {"state": rng.normal(3.0, 40.0, agent.spec.state_dim).astype(np.float32)} if agent.spec.state_dim else {}
        )
        yield {**images, **state}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export") / "policy"
    agent, shapes = agent_of("one camera")
    write_policy(agent, shapes, ABOUT, folder, 20)
    return folder


@pytest.mark.parametrize("case", CASES)
def test_an_exported_policy_acts_as_its_agent(case, tmp_path):
    agent, shapes = agent_of(case)
    found = write_policy(agent, shapes, ABOUT, tmp_path / "policy", 1000)
    assert found["difference"] <= 1e-5
    policy, stack = Policy(tmp_path / "policy"), []
    for observation in observations_of(agent, shapes, 30):
        stack = [*(stack or [observation] * agent.spec.frame_stack), observation][-agent.spec.frame_stack :]
        stacked = {key: np.stack([one[key] for one in stack]) for key in observation}
        wanted = agent.sample_actions(
            stacked if agent.spec.frame_stack > 1 else {key: array[0] for key, array in stacked.items()}, argmax=True
        )
        np.testing.assert_allclose(policy.act(observation), wanted, atol=1e-5)
    grippers = list(agent.layout.gripper_indices)
    assert set(np.unique(policy.act(observation)[grippers])) <= {-1.0, 0.0, 1.0}


def test_actions_come_in_the_units_of_the_demonstrations(tmp_path):
    agent, shapes = agent_of("state")
    agent.action_scale = ActionScale((0.02,) * 3 + (0.1,) * 3, (0.0,) * 5 + (0.3,), ())
    write_policy(agent, shapes, ABOUT, tmp_path / "policy", 50)
    policy = Policy(tmp_path / "policy")
    [observation] = observations_of(agent, shapes, 1)
    wanted = agent.in_robot_units(agent.sample_actions(observation, argmax=True))
    np.testing.assert_allclose(policy.act(observation), wanted, atol=1e-6)
    with pytest.raises(PolicyError, match="units of its demonstrations"):
        policy.check({}, 6)


def test_two_agents_have_two_fingerprints(exported, tmp_path):
    agent, shapes = agent_of("one camera", seed=1)
    write_policy(agent, shapes, ABOUT, tmp_path / "policy", 20)
    assert Policy(exported).fingerprint != Policy(tmp_path / "policy").fingerprint


SOUND = {"wrist": np.zeros((32, 32, 3), np.uint8), "state": np.zeros(5, np.float32)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"wrist": None}, "no camera 'wrist'"),
        ({"state": None}, "no vector 'state'"),
        ({"wrist": np.zeros((32, 32, 3), np.float32)}, "float32 of shape"),
        ({"wrist": np.zeros((64, 32, 3), np.uint8)}, r"shape \(64, 32, 3\); the policy was trained on"),
        ({"state": np.zeros(6, np.float32)}, "reads 5 numbers"),
        ({"state": np.full(5, np.nan, np.float32)}, "NaN or infinity"),
        ({"state": np.array(["1"] * 5)}, "Vector 'state' is <U1"),
    ],
)
def test_an_observation_of_another_contract_is_refused_by_name(exported, changes, message):
    policy = Policy(exported)
    assert policy.act(SOUND).shape == (7,)
    observation = {key: array for key, array in (SOUND | changes).items() if array is not None}
    with pytest.raises(PolicyError, match=message):
        policy.act(observation)


def test_a_policy_of_stages_says_which_number_its_state_lacks(tmp_path):
    agent, shapes = agent_of("one camera")
    write_policy(agent, shapes, ABOUT | {"stages": 2}, tmp_path / "policy", 20)
    with pytest.raises(PolicyError, match="share of 2 stages that are reached: append it, 0 at first"):
        Policy(tmp_path / "policy").act(SOUND | {"state": np.zeros(4, np.float32)})


def test_frames_are_kept_though_the_env_writes_into_its_image_again(tmp_path):
    agent, shapes = agent_of("two arms, two cameras, stacked, odd images")
    write_policy(agent, shapes, ABOUT, tmp_path / "policy", 20)
    fresh, reused = Policy(tmp_path / "policy"), Policy(tmp_path / "policy")
    buffers = {key: np.zeros((*shape, 3), np.uint8) for key, shape in shapes.items()}
    for observation in observations_of(agent, shapes, 4):
        for key, buffer in buffers.items():
            buffer[:] = observation[key]
        np.testing.assert_array_equal(reused.act(observation | buffers), fresh.act(observation))


@pytest.mark.parametrize("damage", ["graph", "json", "format", "field", "missing"])
def test_a_damaged_policy_is_refused(exported, tmp_path, damage):
    folder = tmp_path / "policy"
    folder.mkdir()
    for file in exported.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    graph, description = folder / "policy.onnx", folder / "policy.json"
    if damage == "graph":
        graph.write_bytes(graph.read_bytes()[:-1] + b"\0")
    elif damage == "json":
        description.write_text("{")
    elif damage == "format":
        description.write_text(json.dumps(json.loads(description.read_text()) | {"format": 2}))
    elif damage == "field":
        description.write_text(json.dumps(json.loads(description.read_text()) | {"images": None}))
    else:
        graph.unlink()
    expected = {
        "field": r"damaged \(images\)",
        "graph": "not the file that was exported",
        "json": "damaged",
        "format": "format 2",
        "missing": "no policy",
    }
    with pytest.raises(PolicyError, match=expected[damage]):
        Policy(folder)


def test_a_folder_with_something_else_is_not_replaced(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    agent, shapes = agent_of("state")
    with pytest.raises(FileExistsError, match="is no exported policy"):
        write_policy(agent, shapes, ABOUT, tmp_path, 20)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_it_acts_where_there_is_neither_torch_nor_ray(exported):
    code = (
        "import sys; sys.modules.update(torch=None, ray=None, gymnasium=None, serl_ray=None)\n"
        "import numpy as np; from serl_robot.policy import Policy\n"
        f"observation = {{'wrist': np.zeros((32, 32, 3), np.uint8), 'state': np.zeros(5, np.float32)}}\n"
        f"print(Policy({str(exported)!r}).act(observation).tolist())"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT / "robot", capture_output=True, text=True, check=True, timeout=120
    ).stdout
    np.testing.assert_allclose(json.loads(printed), Policy(exported).act(SOUND), atol=1e-6)
