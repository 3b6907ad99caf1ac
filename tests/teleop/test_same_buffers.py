"""A scripted expert who drives through a real socket leaves exactly what one in the env's own process leaves."""

from __future__ import annotations

import threading
from contextlib import closing

import gymnasium
import numpy as np
import pytest
from hub_peers import SECONDS, HubClient
from operated_robots import LAYOUT, SETUP, Clock, WitnessEnv

from serl_ray.data.episodes import EpisodeRecorder
from serl_ray.data.schema import SCALAR_FIELDS
from serl_ray.envs.guard import Guard
from serl_ray.rllib.metrics import EpisodeLog
from serl_ray.teleop.held import HeldEpisodes
from serl_ray.teleop.limits import Limits
from serl_ray.teleop.link import Link
from serl_ray.teleop.server import HubServer
from serl_ray.teleop.session import Session
from serl_ray.teleop.twists import TwistMap
from serl_ray.teleop.wrapper import OperatedEnv

EPISODES, HORIZON = 6, 12
WIDE = Limits(norm=1e9, slew=1e9)
TAKEN = (range(2, 5), range(7, 12))
"""Steps of an episode in which the expert acts: two interventions, the second one up to the end."""
CLOSES, OPENS = 3, 8
"""Steps in which the expert closes and opens the gripper."""


def expert_action(env, step):
    """The expert's action: towards the goal, and a gripper's command in two steps."""
    action = (0.7 * env.expert_action()).astype(np.float32)
    action[6] = {CLOSES: -1.0, OPENS: 1.0}.get(step, 0.0)
    return action


def intervention_at(step):
    """The number of the intervention in an episode's step; 0 for none."""
    return next((number for number, steps in enumerate(TAKEN, start=1) if step in steps), 0)


class InProcess(gymnasium.Wrapper):
    """The expert acts in the env's process."""

    def __init__(self, env):
        super().__init__(env)
        self._step = 0

    def reset(self, **kwargs):
        self._step = 0
        return self.env.reset(**kwargs)

    def step(self, action):
        number = intervention_at(self._step)
        executed = expert_action(self.unwrapped, self._step) if number else action
        self._step += 1
        *result, info = self.env.step(executed)
        if number:
            info = {"intervene_action": executed, "intervene_source": "spacemouse", "intervention": number, **info}
        return *result, info


class AnsweredSession(Session):
    """Knows the newest frame on which a command has come."""

    answered = 0

    def command(self, command, now):
        super().command(command, now)
        self.answered = max(self.answered, command.frame)


class Barrier(gymnasium.Wrapper):
    """Each frame is answered before the next step, as if the person and the network took no time."""

    def reset(self, **kwargs):
        return self._answered(self.env.reset(**kwargs))

    def step(self, action):
        return self._answered(self.env.step(action))

    def _answered(self, result):
        env = self.env
        with env.changed:
            assert env.changed.wait_for(lambda: env.session.answered == env.view.frame, SECONDS)
        return result


class ExpertClient(HubClient):
    """The expert behind a socket, who answers every frame; its hands are a thread of their own."""

    def __init__(self, page, env, act):
        self._env, self._act = env, act
        super().__init__(page)

    def play(self):
        """Answers frames until the connection ends."""
        while "robot" not in self.robots:
            self.robots = self.next("welcome").fields["robots"]
        first = self.watch("robot")
        self.request()
        self.answer(first)
        while (message := self.inbox.get(timeout=SECONDS)) is not None:
            if message.kind == "frame":
                self.answer(message)

    def answer(self, message):
        state = message.fields["state"]
        step = state["step"]
        number = intervention_at(step) if state["is_running"] else 0
        if number and step in (CLOSES, OPENS):
            self.press("gripper", gripper=0, direction=-1 if step == CLOSES else 1, frame=message.fields["frame"])
        # Two interventions that follow each other would be one: the clutch is released between them.
        action = expert_action(self._env, step)
        action[6] = 0.0
        self._act(self, bool(number), action, frame=message.fields["frame"], source="spacemouse")
        self.display()


def by_action(client, clutch, action, **fields):
    client.command(clutch, action, **fields)


def by_twist(client, clutch, action, **fields):
    client.twist(clutch, action[:6], **fields)


def by_turned_twist(client, clutch, action, **fields):
    """The twist of which `TurningEnv` makes the action."""
    client.twist(clutch, -action[5::-1], reference="tool", **fields)


class TurningEnv(WitnessEnv):
    """Makes actions of twists by itself."""

    def twist_to_action(self, arm, twist, frame):
        assert (arm, frame) == (0, "tool")
        return -twist[::-1]


def recorded(env):
    """What a run keeps of some episodes: the segments of the buffer, and the metrics."""
    rng, held, log = np.random.default_rng(3), HeldEpisodes(env), EpisodeLog()
    segments = []
    for number in range(EPISODES):
        observation, _ = env.reset(seed=number)
        episode, is_over = EpisodeRecorder(f"episode-{number}", observation), False
        while not is_over:
            action = rng.uniform(-0.5, 0.5, 7).astype(np.float32)
            is_over = episode.add(action, env.step(action))
        held.end(episode)
        segments += held.settled()
    segments += held.all()
    for segment in segments:
        log.add(segment)
    return segments, log.metrics()


def over_the_socket(witness, act):
    session = AnsweredSession(LAYOUT, WIDE, twist_map=TwistMap.from_env(witness, LAYOUT, SETUP))
    env = OperatedEnv(Guard(witness, None, None), session, witness.clock)
    with closing(HubServer()) as server, closing(Link(env, "robot", server.robots, env.described(None))):
        with closing(ExpertClient(server.page(), witness, act)) as client:
            playing = threading.Thread(target=client.play, daemon=True)
            playing.start()
            result = recorded(Barrier(env))
        playing.join(SECONDS)
    return *result, witness.executed


def in_process():
    witness = WitnessEnv(Clock(), horizon=HORIZON)
    return *recorded(InProcess(Guard(witness, None, None))), witness.executed


@pytest.mark.parametrize(
    ("env", "act"), [(WitnessEnv, by_action), (WitnessEnv, by_twist), (TurningEnv, by_turned_twist)]
)
def test_the_buffers_the_demos_and_the_metrics_are_the_same(env, act):
    found, metrics, executed = over_the_socket(env(Clock(), horizon=HORIZON), act)
    expected, expected_metrics, same = in_process()
    np.testing.assert_array_equal(executed, same)
    np.testing.assert_equal(metrics, expected_metrics)
    assert 0.3 < metrics["env/intervention_rate"] < 0.8
    assert len(found) == len(expected) == EPISODES
    for segment, other in zip(found, expected, strict=True):
        assert_same(segment, other)
        demos, others = segment.runs(segment.intervened), other.runs(other.intervened)
        for demo, same_demo in zip(demos, others, strict=True):
            assert_same(demo, same_demo)
    everything = np.concatenate([segment.actions for segment in found])
    np.testing.assert_array_equal(everything, executed)
    assert {-1.0, 1.0} <= set(everything[:, 6]), "the gripper was closed and opened"
    assert {1, 2} <= {number for segment in found for number in segment.actors.interventions}


def assert_same(segment, other):
    for name in (*SCALAR_FIELDS, "actions"):
        assert getattr(segment, name).tobytes() == getattr(other, name).tobytes(), name
    for name, rows in segment.observations.items():
        assert rows.tobytes() == other.observations[name].tobytes(), name
    for name in ("policy_actions", "interventions"):
        assert getattr(segment.actors, name).tobytes() == getattr(other.actors, name).tobytes(), name
    assert segment.actors.sources.tolist() == other.actors.sources.tolist()
    assert (segment.episode, segment.first_step, segment.success) == (other.episode, other.first_step, other.success)
