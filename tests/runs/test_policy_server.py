"""A served policy acts as its agent does, for several robots at once, and says what it does not accept."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from serl_robot.policy import PolicyError
from serl_robot.remote_policy import RemotePolicy
from serl_robot.trainer import UnknownTrainer
from small_agents import ABOUT, small_config
from websockets.sync.client import connect
from websockets.sync.server import serve

from serl_ray.agents.make import make_agent
from serl_ray.networks.inputs import ObservationSpec
from serl_ray.runs.export import policy_contract
from serl_ray.runs.policy_server import Batcher, PolicyServer, how_to_ask
from serl_ray.teleop.wire import Message, pack, unpack
from serl_ray.types import ActionLayout

TOKEN = "t" * 32
SHAPE = (40, 24)


class Served:
    """A server in a thread, of an agent that counts its batches and waits where it is told to."""

    def __init__(self, stack=1):
        layout = ActionLayout.from_setup("single-arm-learned-gripper", 7)
        spec = ObservationSpec(("wrist",), stack, 5)
        self.agent = make_agent(layout, spec, small_config(), device="cpu", seed=0)
        self.batches, self.open, self.fails = [], threading.Event(), False
        self.open.set()
        self.ended, self._ready = threading.Event(), threading.Event()
        contract = policy_contract(self.agent, {"wrist": SHAPE}, ABOUT)
        batcher = Batcher(self.act, max_batch=4, wait_seconds=0.05)
        self.server = PolicyServer(contract, batcher, TOKEN)
        self.thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self.thread.start()
        assert self._ready.wait(30)

    async def _serve(self):
        await self.server.serve("127.0.0.1", 0, self.ended, self._say)

    def _say(self, port):
        self.url = f"ws://127.0.0.1:{port}"
        self._ready.set()

    def act(self, inputs):
        assert self.open.wait(30)
        if self.fails:
            raise FloatingPointError("The policy's actions are NaN or infinite.")
        self.batches.append(len(inputs["wrist"]))
        return self.agent.sample_actions(inputs, argmax=True)

    def close(self):
        self.open.set()
        self.ended.set()
        self.thread.join(30)
        assert not self.thread.is_alive()


@pytest.fixture
def served():
    one = Served()
    yield one
    one.close()


def observation(seed):
    rng = np.random.default_rng(seed)
    return {
        "wrist": rng.integers(0, 256, (*SHAPE, 3), np.uint8),
        "state": rng.standard_normal(5).astype(np.float32),
        "unused": np.zeros(3),
    }


def test_the_command_for_the_robots_computer_has_an_address_that_it_reaches_and_a_rate():
    text = how_to_ask("0.0.0.0", 8775, None)
    assert "0.0.0.0:" not in text and "my_robot:make_env --hz 10`" in text
    assert "ws://10.0.0.2:8775 my_robot:make_env --hz 12.5`" in how_to_ask("10.0.0.2", 8775, 12.5)
    assert "ssh -N -L 8775:127.0.0.1:8775" in how_to_ask("127.0.0.1", 8775, 10.0)


def test_the_actions_are_those_of_the_agent(served):
    policy = RemotePolicy(served.url, TOKEN, seconds=30.0)
    for seed in range(10):
        wanted = served.agent.sample_actions(observation(seed), argmax=True)
        np.testing.assert_allclose(policy.act(observation(seed)), wanted, atol=1e-6)
    assert policy.fingerprint == served.server._contract["weights"] and policy.control_hz == 10.0
    policy.close()


def test_frames_are_stacked_at_the_robot():
    served = Served(stack=2)
    policy = RemotePolicy(served.url, TOKEN, seconds=30.0)
    first, second = observation(0), observation(1)
    policy.act(first)
    stacked = {key: np.stack([first[key], second[key]]) for key in ("wrist", "state")}
    np.testing.assert_allclose(policy.act(second), served.agent.sample_actions(stacked, argmax=True), atol=1e-6)
    policy.close()
    served.close()


def test_robots_that_ask_at_once_are_computed_together(served):
    policies = [RemotePolicy(served.url, TOKEN, seconds=30.0) for _ in range(6)]
    served.open.clear()
    with ThreadPoolExecutor(6) as pool:
        answers = [pool.submit(policy.act, observation(seed)) for seed, policy in enumerate(policies)]
        while served.server._batcher._requests.qsize() < 2:  # four, or fewer, are under way
            pass
        served.open.set()
        for seed, answer in enumerate(answers):
            wanted = served.agent.sample_actions(observation(seed), argmax=True)
            np.testing.assert_allclose(answer.result(30), wanted, atol=1e-5)
    assert sum(served.batches) == 6 and max(served.batches) > 1 and max(served.batches) <= 4
    for policy in policies:
        policy.close()


def test_a_late_action_is_refused_and_never_taken_for_the_next(served):
    policy = RemotePolicy(served.url, TOKEN, seconds=0.3)
    served.open.clear()
    with pytest.raises(PolicyError, match="not answered in time"):
        policy.act(observation(0))
    served.open.set()
    policy._seconds = 30.0
    wanted = served.agent.sample_actions(observation(1), argmax=True)
    np.testing.assert_allclose(policy.act(observation(1)), wanted, atol=1e-6)
    policy.close()


def test_a_server_that_reads_nothing_any_more_is_left():
    large = {"images": {"wrist": [1500, 1500, 3]}, "state_dim": 0, "state_keys": [], "frame_stack": 1, "action_dim": 7}
    contract = {**large, "in_robot_units": False, "control_hz": None, "weights": "w"}
    may_end = threading.Event()

    def handle(connection):
        connection.send(pack(Message("contract", contract)))
        with connection.protocol_mutex:
            may_end.wait(30)

    with serve(handle, "127.0.0.1", 0, compression=None) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        policy = RemotePolicy(f"ws://127.0.0.1:{server.socket.getsockname()[1]}", TOKEN, seconds=0.3)
        with pytest.raises(PolicyError, match="is lost"):
            policy.act({"wrist": np.zeros((1500, 1500, 3), np.uint8)})
        may_end.set()


@pytest.mark.parametrize("answers", ["old", "far", "float64"])
def test_a_server_that_answers_with_something_else_is_refused(served, monkeypatch, answers):
    policy = RemotePolicy(served.url, TOKEN, seconds=0.3)
    numbers = np.full(7, 2.0 if answers == "far" else 0.5, np.float64 if answers == "float64" else np.float32)
    number = 0 if answers == "old" else 1
    answer = pack(Message("action", {"number": number, "weights": policy.fingerprint}, {"action": numbers}))
    monkeypatch.setattr(policy._socket, "recv", lambda timeout: answer)
    text = {"old": "not answered in time", "far": "leaves .-1, 1.", "float64": "acts with another policy"}[answers]
    with pytest.raises(PolicyError, match=text):
        policy.act(observation(0))
    policy.close()


def test_another_contract_is_refused_by_name_at_the_robot_and_at_the_server(served):
    policy = RemotePolicy(served.url, TOKEN, seconds=30.0)
    with pytest.raises(PolicyError, match="no camera 'wrist'"):
        policy.act({"state": np.zeros(5, np.float32)})
    with pytest.raises(PolicyError, match=r"'wrist' is uint8 of shape \(1, 8, 8, 3\); the policy reads"):
        policy._infer({"wrist": np.zeros((1, 1, 8, 8, 3), np.uint8), "state": np.zeros((1, 1, 5), np.float32)})
    with pytest.raises(PolicyError, match="reads wrist, state, and got state"):
        policy._infer({"state": np.zeros((1, 1, 5), np.float32)})
    assert policy.act(observation(0)).shape == (7,), "the connection goes on"
    policy.close()


def test_a_policy_of_nan_says_so(served):
    policy = RemotePolicy(served.url, TOKEN, seconds=30.0)
    served.fails = True
    with pytest.raises(PolicyError, match="NaN or infinite"):
        policy.act(observation(0))
    policy.close()


@pytest.mark.parametrize(
    "raw", [b"", b"\xff" * 40, pack(Message("step", {"number": 1})), pack(Message("infer", {"number": "1"})), "text"]
)
def test_bytes_of_anybody_end_their_own_connection_alone(served, raw):
    policy = RemotePolicy(served.url, TOKEN, seconds=30.0)
    with connect(f"{served.url}/policy", additional_headers={"Authorization": f"Bearer {TOKEN}"}) as socket:
        assert unpack(socket.recv(timeout=30)).kind == "contract"
        socket.send(raw)
        with pytest.raises(Exception, match="received|sent|close"):
            socket.recv(timeout=30)
    assert policy.act(observation(0)).shape == (7,)
    policy.close()


def test_a_wrong_token_and_a_server_that_is_gone_are_named(served):
    with pytest.raises(UnknownTrainer, match="refuses the token"):
        RemotePolicy(served.url, "x" * 32)
    policy = RemotePolicy(served.url, TOKEN, seconds=30.0)
    served.close()
    with pytest.raises(PolicyError, match="is lost"):
        policy.act(observation(0))
    with pytest.raises(PolicyError, match="No policy is served"):
        RemotePolicy(served.url, TOKEN)
