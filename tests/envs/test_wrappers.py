import gymnasium
import numpy as np
import pytest
from fake_envs import FakeEnv

from serl_ray.data.episodes import EnvFault
from serl_ray.data.formats.parquet import read_segments
from serl_ray.data.observations import Selection, default_state_keys
from serl_ray.envs.wrappers import (
    ControlRate,
    ExpertIntervention,
    GripperPenalty,
    RecordEpisodes,
    SelectObservations,
)
from serl_ray.types import ActionLayout

SINGLE = ActionLayout.from_setup("single-arm-learned-gripper", 7)
DUAL = ActionLayout.from_setup("dual-arm-learned-gripper", 14)


class TestSelection:
    def test_joins_vectors_in_the_order_asked_for(self):
        observations = {
            "a": np.array([1.0, 2.0]),
            "b": np.array([3], np.float32),
            "front": np.zeros((2, 2, 3), np.uint8),
        }
        selected = Selection(["front"], ["b", "a"])(observations)
        assert list(selected) == ["front", "state"]
        np.testing.assert_array_equal(selected["state"], np.array([3, 1, 2], np.float32))
        assert selected["state"].dtype == np.float32 and selected["front"] is observations["front"]

    def test_many_steps_at_once_are_the_same_as_one_by_one(self):
        rng = np.random.default_rng(0)
        steps = {"state": rng.normal(size=(5, 2, 3)), "object_state": rng.normal(size=(5, 2, 4))}
        together = Selection((), ("object_state", "state"))(steps)["state"]
        assert together.shape == (5, 2, 7)
        for i in np.ndindex(5, 2):
            alone = Selection((), ("object_state", "state"))({key: value[i] for key, value in steps.items()})
            np.testing.assert_array_equal(together[i], alone["state"])

    def test_without_state_keys_there_are_cameras_only(self):
        assert list(Selection(["front"], [])({"front": np.zeros((2, 2, 3)), "state": np.zeros(2)})) == ["front"]

    @pytest.mark.parametrize(
        ("available", "image_keys", "chosen"),
        [
            (["state", "object_state"], ["front"], ("state",)),
            (["state", "object_state"], [], ("state", "object_state")),
            (["state"], [], ("state",)),
            (["front"], ["front"], ()),
        ],
    )
    def test_default_state_keys(self, available, image_keys, chosen):
        assert default_state_keys(available, image_keys) == chosen

    @pytest.mark.parametrize(
        ("image_keys", "state_keys", "message"),
        [
            (["side"], ["state", "force"], "side, force not found; there are front, object_state, state, wrist"),
            ([], [], "at least one camera or one state vector"),
            (["state"], [], "'state' is the name of the state vector"),
            (["object_state"], ["state"], "'object_state' has shape .2,.; it must be an image"),
            (["wrist"], ["front"], "'front' has shape .6, 8, 3.; it must be a vector"),
        ],
    )
    def test_errors_name_the_keys(self, image_keys, state_keys, message):
        with pytest.raises(ValueError, match=message):
            SelectObservations(FakeEnv(), image_keys, state_keys)

    def test_nested_spaces_are_refused(self):
        env = FakeEnv()
        env.observation_space = gymnasium.spaces.Dict({"images": env.observation_space})
        with pytest.raises(ValueError, match="images is not a Box"):
            SelectObservations(env)

    @pytest.mark.parametrize(("image_keys", "state_dim"), [((), 5), (("wrist", "front"), 3)])
    def test_the_space_holds_what_is_returned(self, image_keys, state_dim):
        env = SelectObservations(FakeEnv(), image_keys)
        observation, _ = env.reset(seed=1)
        assert env.observation_space.contains(observation)
        assert observation["state"].shape == (state_dim,)
        observation, *_ = env.step(env.action_space.sample())
        assert env.observation_space.contains(observation) and set(observation) == {*image_keys, "state"}


def play(env, steps, action):
    """The infos of some steps, through resets."""
    env.reset(seed=0)
    infos = []
    for _ in range(steps):
        *_, terminated, truncated, info = env.step(action)
        infos.append((info, terminated or truncated))
        if terminated or truncated:
            env.reset()
    return infos


class TestExpertIntervention:
    action = np.full(7, -0.5, np.float32)

    def test_reports_exactly_what_was_executed(self):
        inner = FakeEnv()
        infos = play(ExpertIntervention(inner, SINGLE, noise=0.1, probability=0.3, mean_length=3), 300, self.action)
        for (info, _), executed in zip(infos, inner.executed, strict=True):
            np.testing.assert_array_equal(info.get("intervene_action", self.action), executed)
            assert info.get("intervene_source") == ("expert" if "intervene_action" in info else None)
        assert any("intervene_action" in info for info, _ in infos)

    def test_share_and_length_of_interventions(self):
        probability, mean_length = 0.05, 5.0
        inner = FakeEnv(outcome=lambda result: (result[0], 0.0, False, False, {}))
        infos = play(
            ExpertIntervention(inner, SINGLE, probability=probability, mean_length=mean_length), 8000, self.action
        )
        acted = np.array(["intervene_action" in info for info, _ in infos])
        begins = acted & ~np.r_[False, acted[:-1]]
        share = probability * mean_length / (1 + probability * mean_length)
        assert acted.mean() == pytest.approx(share, rel=0.2)
        assert acted.sum() / begins.sum() == pytest.approx(mean_length, rel=0.2)

    def test_no_intervention_outlasts_its_episode(self):
        env = ExpertIntervention(FakeEnv(), SINGLE, probability=0.05, mean_length=1e6)
        infos = play(env, 3000, self.action)
        acted = np.array(["intervene_action" in info for info, _ in infos])
        is_first = np.array([True, *(is_last for _, is_last in infos[:-1])])
        assert acted[is_first].mean() < 0.1 < acted.mean(), (
            "few begin with one, although each lasts to its episode's end"
        )

    def test_never_and_always(self):
        never, always = (ExpertIntervention(FakeEnv(), SINGLE, probability=p) for p in (0.0, 1.0))
        assert not any("intervene_action" in info for info, _ in play(never, 50, self.action))
        assert "intervene_action" in play(always, 1, self.action)[0][0]

    def test_a_person_inside_the_env_has_the_last_word(self):
        person = np.ones(7, np.float32)
        inner = FakeEnv(outcome=lambda result: (*result[:4], {"intervene_action": person}))
        info, _ = play(ExpertIntervention(inner, SINGLE, probability=1.0), 1, self.action)[0]
        assert info["intervene_action"] is person and "intervene_source" not in info

    def test_seeds(self):
        def actions(seed):
            inner = FakeEnv()
            play(ExpertIntervention(inner, SINGLE, noise=0.2, probability=0.2, seed=seed), 40, self.action)
            return np.array(inner.executed)

        np.testing.assert_array_equal(actions(3), actions(3))
        assert not np.array_equal(actions(3), actions(4))

    @pytest.mark.parametrize("action", [np.zeros(6), None, np.full(7, np.nan)])
    def test_an_expert_that_gives_no_whole_action_is_named(self, action):
        inner = FakeEnv()
        inner.expert_action = lambda: action
        env = ExpertIntervention(inner, SINGLE, probability=1.0)
        env.reset(seed=0)
        with pytest.raises(EnvFault, match=r"expert_action\(\) returns .*: return the whole action, 7 finite numbers"):
            env.step(self.action)

    @pytest.mark.parametrize("kwargs", [{"probability": 1.5}, {"probability": -0.1}, {"mean_length": 0.5}])
    def test_limits(self, kwargs):
        with pytest.raises(ValueError, match=str(next(iter(kwargs.values())))):
            ExpertIntervention(FakeEnv(), SINGLE, **kwargs)


class TestGripperPenalty:
    @pytest.mark.parametrize(
        ("commands", "useless"),
        [
            ([-1, -1, 0, -1, 1, 1, -1], [0, 1, 0, 1, 0, 1, 0]),
            ([1, 0.4, 1, -0.4, -0.5, -1], [0, 0, 1, 0, 0, 1]),
        ],
    )
    def test_repeated_commands_cost(self, commands, useless):
        env = GripperPenalty(FakeEnv(outcome=lambda result: (*result[:4], {})), SINGLE, penalty=-0.3)
        env.reset(seed=0)
        penalties = [env.step(np.array([0] * 6 + [command], np.float32))[-1]["grasp_penalty"] for command in commands]
        np.testing.assert_allclose(penalties, -0.3 * np.array(useless))

    def test_two_grippers_are_counted_apart(self):
        env = GripperPenalty(FakeEnv(14), DUAL)
        env.reset(seed=0)
        penalties = []
        for first, second in [(-1, 1), (-1, 0), (0, -1), (-1, -1)]:
            action = np.zeros(14, np.float32)
            action[[6, 13]] = first, second
            penalties.append(env.step(action)[-1]["grasp_penalty"])
        np.testing.assert_allclose(penalties, [0, -0.02, 0, -0.04])

    def test_an_episode_begins_afresh(self):
        env = GripperPenalty(FakeEnv(), SINGLE)
        for _ in range(2):
            env.reset()
            assert env.step(np.ones(7, np.float32))[-1]["grasp_penalty"] == 0.0

    def test_prices_what_the_person_executed(self):
        opened = np.ones(7, np.float32)
        env = GripperPenalty(FakeEnv(outcome=lambda result: (*result[:4], {"intervene_action": opened})), SINGLE)
        env.reset(seed=0)
        penalties = [env.step(action)[-1]["grasp_penalty"] for action in (opened, -opened)]
        assert penalties == [0.0, -0.02]

    def test_limits(self):
        with pytest.raises(ValueError, match="0.1; it must be 0 or less"):
            GripperPenalty(FakeEnv(), SINGLE, penalty=0.1)
        with pytest.raises(ValueError, match="needs a learned gripper"):
            GripperPenalty(FakeEnv(6), ActionLayout.from_setup("single-arm-fixed-gripper", 6))


def test_recorded_episodes_hold_what_the_policy_wanted_beside_what_was_executed(tmp_path):
    inner, rng = FakeEnv(), np.random.default_rng(0)
    helped = ExpertIntervention(SelectObservations(inner), SINGLE, probability=0.3, mean_length=3)
    env, wanted = RecordEpisodes(helped, str(tmp_path), "worker"), []
    for episode in range(5):
        env.reset(seed=episode)
        done = False
        while not done:
            wanted.append(rng.uniform(-1, 1, 7).astype(np.float32))
            *_, terminated, truncated, _ = env.step(wanted[-1])
            done = terminated or truncated
    [*segments] = (segment for file in sorted(tmp_path.glob("*.parquet")) for segment in read_segments(file))
    np.testing.assert_array_equal(np.concatenate([segment.actors.policy_actions for segment in segments]), wanted)
    np.testing.assert_array_equal(np.concatenate([segment.actions for segment in segments]), inner.executed)
    assert any(segment.intervened.any() for segment in segments)
    for segment in segments:
        begins = segment.intervened & ~np.r_[False, segment.intervened[:-1]]
        np.testing.assert_array_equal(segment.actors.interventions, np.cumsum(begins) * segment.intervened)
        np.testing.assert_array_equal(segment.actors.sources, np.where(segment.intervened, "expert", "policy"))


def test_control_rate_waits_for_its_ticks_and_does_not_make_up_for_missed_ones(monkeypatch):
    now, slept = 100.0, []

    def sleep(seconds):
        nonlocal now
        now += seconds
        slept.append(seconds)

    monkeypatch.setattr("time.monotonic", lambda: now)
    monkeypatch.setattr("time.sleep", sleep)
    env = ControlRate(FakeEnv(), control_hz=10.0)
    env.reset(seed=0)
    for seconds_to_choose_an_action in (0.0, 0.03, 0.25, 0.0, 0.08):
        now += seconds_to_choose_an_action
        env.step(np.zeros(7, np.float32))
    np.testing.assert_allclose(slept, [0.0, 0.07, 0.0, 0.1, 0.02], atol=1e-9)
