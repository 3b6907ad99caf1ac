"""The agents by their public calls: set-ups, observations in any form, saving, and what the core may import."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from small_agents import SMALL, batch, observations, small_config, with_maps

from serl_ray.agents.losses import td_target
from serl_ray.agents.sac import SACAgent, SACHybridAgent
from serl_ray.networks.classifier import RewardClassifier

SETUPS = {
    "single-arm-fixed-gripper": lambda **keywords: SACAgent(action_dim=6, **keywords),
    "single-arm-learned-gripper": lambda **keywords: SACHybridAgent(
        continuous_action_dim=6, grasp_action_dim=3, **keywords
    ),
    "dual-arm-fixed-gripper": lambda **keywords: SACAgent(action_dim=12, **keywords),
    "dual-arm-learned-gripper": lambda **keywords: SACHybridAgent(
        continuous_action_dim=12, grasp_action_dim=9, **keywords
    ),
}


@pytest.mark.parametrize("setup_mode", SETUPS)
@pytest.mark.parametrize("cameras", [(), ("image",), ("a", "b", "c")], ids=len)
def test_every_set_up_acts_and_updates(setup_mode, cameras):
    rng = np.random.default_rng(0)
    agent = SETUPS[setup_mode](image_keys=cameras, lr=3e-4, config=small_config(), device="cpu")
    one = {key: array[0] for key, array in observations(rng, 1, cameras).items()}
    action = agent.sample_actions(one)
    assert action.shape == (agent.layout.action_dim,) and np.abs(action).max() <= 1
    assert set(action[list(agent.layout.gripper_indices)]) <= {-1.0, 0.0, 1.0}
    assert agent.sample_actions(observations(rng, 4, cameras), argmax=True).shape == (4, agent.layout.action_dim)
    metrics = agent.update(batch(rng, agent, cameras))
    assert all(np.isfinite(value) for value in metrics.values())
    assert ("grasp_critic/loss" in metrics) == (agent.layout.num_grippers > 0)


def test_observations_are_read_by_key_not_by_order():
    rng = np.random.default_rng(1)
    agent = SACAgent(image_keys=("a", "b"), action_dim=6, config=small_config(), device="cpu")
    observation = observations(rng, 3, ("a", "b"))
    backwards = dict(reversed(list(observation.items())))
    np.testing.assert_array_equal(
        agent.sample_actions(observation, argmax=True), agent.sample_actions(backwards, argmax=True)
    )


@pytest.mark.parametrize("setup_mode", SETUPS)
def test_a_loaded_agent_makes_the_same_next_update(setup_mode, tmp_path):
    rng = np.random.default_rng(2)
    agent = SETUPS[setup_mode](image_keys=("image",), config=small_config(), device="cpu")
    agent.update(batch(rng, agent, ("image",)))
    agent.save(tmp_path / "agent")
    loaded = type(agent).load(tmp_path / "agent", device="cpu")
    next_batch = batch(rng, agent, ("image",))
    assert agent.update(next_batch) == loaded.update(next_batch)
    ours, theirs = agent.state.tensors(), loaded.state.tensors()
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_an_agent_of_another_kind_is_not_loaded(tmp_path):
    agent = SACAgent(image_keys=(), action_dim=6, device="cpu")
    agent.sample_actions({"state": np.zeros(5, np.float32)})
    agent.save(tmp_path / "agent")
    with pytest.raises(ValueError, match="holds a SACAgent, not a SACHybridAgent"):
        SACHybridAgent.load(tmp_path / "agent")


@pytest.mark.parametrize("frozen", [True, False])
def test_the_trunk_learns_from_the_critics_and_only_where_it_may(frozen):
    rng = np.random.default_rng(3)
    agent = SACAgent(image_keys=("image",), action_dim=6, config=small_config(frozen=frozen), device="cpu")
    first = batch(rng, agent, ("image",))
    agent.sample_actions(first["observations"])
    before = {name: tensor.clone() for name, tensor in agent.networks.encoder.trunk.state_dict().items()}
    agent.update(first, critics_only=True)
    after = agent.networks.encoder.trunk.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before) == frozen
    lagging = agent.target.encoder.trunk.state_dict()
    assert all(torch.equal(lagging[name], after[name]) for name in after) == frozen


@pytest.mark.parametrize("cameras", [("image",), ("a", "b", "c")], ids=len)
def test_a_frozen_trunk_runs_twice_an_update(cameras):
    rng = np.random.default_rng(4)
    agent = SACHybridAgent(cameras, 6, 3, config=small_config(), device="cpu")
    first = batch(rng, agent, cameras)
    agent.sample_actions(first["observations"])
    passes = []
    agent.networks.encoder.trunk.register_forward_hook(lambda *_: passes.append(1))
    agent.update(first)
    assert len(passes) == 2


@pytest.mark.parametrize(
    ("option", "tolerance"), [pytest.param("compile", 1e-4, marks=pytest.mark.slow), ("bfloat16", 0.05)]
)
@pytest.mark.parametrize("cameras", [(), ("a", "b")], ids=["state", "maps"])
def test_a_faster_update_is_the_same_update(option, tolerance, cameras):
    rng = np.random.default_rng(7)
    plain, fast = (
        SACHybridAgent(cameras, 6, 3, config=small_config().replace(**options), device="cpu")
        for options in ({}, {option: "on" if option == "bfloat16" else True})
    )
    for same_batch in [with_maps(batch(rng, plain, cameras), cameras) for _ in range(3)]:
        ours, theirs = plain.update(same_batch), fast.update(same_batch)
    assert ours == pytest.approx(theirs, rel=tolerance, abs=tolerance)
    assert option == "compile" or ours != theirs
    assert hasattr(fast.networks.encoder.embed, "_torchdynamo_orig_callable") == (option == "compile")
    dtypes = {tensor.dtype for tensor in fast.networks.parameters()}
    assert dtypes == {torch.float32}


def test_what_acts_has_neither_critics_nor_a_frozen_trunk_and_acts_as_the_learner():
    rng = np.random.default_rng(8)
    learner, actor = (SACHybridAgent(("a",), 6, 3, config=small_config(), device="cpu", seed=0) for _ in range(2))
    learner.update(batch(rng, learner, ("a",)))
    seen = observations(rng, 4, ("a",))
    before = actor.sample_actions(seen, argmax=True)
    weights = learner.state.acting_tensors()
    assert {name.split(".")[0] for name in weights} == {"encoder", "actor", "grasp_critic"}
    assert not any(name.startswith("encoder.trunk.") for name in weights)
    actor.state.load_acting_tensors({name: tensor.clone() for name, tensor in weights.items()})
    after = actor.sample_actions(seen, argmax=True)
    assert not np.array_equal(before, after) and np.array_equal(after, learner.sample_actions(seen, argmax=True))
    trained = SACAgent(("a",), 6, config=small_config(frozen=False), device="cpu")
    trained.sample_actions(seen)
    assert any(name.startswith("encoder.trunk.") for name in trained.state.acting_tensors()), (
        "a trunk that is trained changes"
    )


@pytest.mark.parametrize("cameras", [(), ("a",)], ids=["state", "images"])
def test_who_is_asked_for_its_values_acts_as_who_is_not(cameras):
    rng = np.random.default_rng(10)
    asked, other = (SACHybridAgent(cameras, 6, 3, config=small_config(), device="cpu", seed=0) for _ in range(2))
    for seen in (observations(rng, 1, cameras) for _ in range(3)):
        actions, others = (agent.sample_actions(seen) for agent in (asked, other))
        np.testing.assert_array_equal(actions, others)
        single = {key: value[0] for key, value in seen.items()}
        values = asked.agent.step_values(single, actions[0])
        assert values["q"] == pytest.approx(asked.q_values(seen, actions).mean(), abs=1e-6)
        closed = asked.agent.step_values(single, np.append(actions[0, :6], np.float32(-1.0)))
        assert closed["q"] == values["q"] and closed["grasp_q"] <= values["grasp_q"], "it takes the best choice"


def test_the_critics_of_a_learner_travel_with_its_acting_weights_where_somebody_may_look():
    rng = np.random.default_rng(11)
    learner, actor = (SACHybridAgent(("a",), 6, 3, config=small_config(), device="cpu", seed=0) for _ in range(2))
    learner.update(batch(rng, learner, ("a",)))
    seen = observations(rng, 4, ("a",))
    actions = actor.sample_actions(seen)
    weights = learner.state.acting_tensors(with_critics=True)
    actor.state.load_acting_tensors({name: tensor.clone() for name, tensor in weights.items()})
    np.testing.assert_array_equal(actor.q_values(seen, actions), learner.q_values(seen, actions))
    with pytest.raises(ValueError, match="same networks"):
        actor.state.load_acting_tensors({name: weights[name] for name in list(weights)[:-1]})


def test_every_target_follows_by_tau_a_trained_trunk_too():
    rng = np.random.default_rng(9)
    agent = SACHybridAgent(("a",), 6, 3, config=small_config(frozen=False), device="cpu")
    agent.sample_actions(observations(rng, 1, ("a",)))
    before = {name: tensor.clone() for name, tensor in agent.target.named_parameters()}
    agent.update(batch(rng, agent, ("a",)))
    ours, moved, tau = dict(agent.networks.named_parameters()), dict(agent.target.named_parameters()), agent.config.tau
    assert any(name.startswith("encoder.trunk.") for name in moved)
    for name, target in moved.items():
        torch.testing.assert_close(target, (1 - tau) * before[name] + tau * ours[name])


@pytest.mark.parametrize(("objective", "learns"), [("sac", False), ("bc", True), ("awac", True)])
def test_a_trained_trunk_learns_from_imitation_and_not_from_the_actor_s_own_loss(objective, learns):
    rng = np.random.default_rng(10)
    config = small_config(frozen=False).replace(objective=objective)
    agent = SACAgent(("a",), 6, config=config, device="cpu")
    agent.sample_actions(observations(rng, 1, ("a",)))
    trunk = {id(parameter) for parameter in agent.networks.encoder.trunk.parameters()}
    assert any(id(parameter) in trunk for parameter in agent.state.parameters["actor"]) == learns


def test_a_target_is_at_most_the_greatest_return_and_a_time_out_bootstraps():
    rewards, masks, values = (
        torch.tensor([0.0, 0.0, 1.0, 0.0]),
        torch.tensor([1.0, 1.0, 0.0, 0.0]),
        torch.tensor([-5.0, 5.0, 5.0, 5.0]),
    )
    torch.testing.assert_close(td_target(rewards, masks, values, discount=0.9), torch.tensor([-4.5, 4.5, 1.0, 0.0]))
    torch.testing.assert_close(
        td_target(rewards, masks, values, 0.9, max_return=1.0), torch.tensor([-4.5, 1.0, 1.0, 0.0])
    )


def test_no_robot_is_given_what_is_no_number():
    agent = SACAgent(config=small_config())
    observation = {"state": np.zeros(5, np.float32)}
    agent.sample_actions(observation)
    next(agent.networks.actor.parameters()).data.fill_(np.inf)
    with pytest.raises(FloatingPointError, match="NaN or infinite"):
        agent.sample_actions(observation, argmax=True)


def test_frames_can_be_stacked():
    rng = np.random.default_rng(5)
    agent = SACAgent(image_keys=("image",), action_dim=6, config=small_config(), frame_stack=3, device="cpu")
    assert agent.sample_actions(observations(rng, 2, ("image",), stack=(3,))).shape == (2, 6)
    assert np.isfinite(agent.update(batch(rng, agent, ("image",), stack=(3,)))["critic/loss"])


@pytest.mark.parametrize(
    ("observation", "message"),
    [
        ({"image": np.zeros((32, 32, 3), np.float32), "state": np.zeros(5)}, "expected uint8 images"),
        ({"image": np.zeros((3, 32, 32), np.uint8), "state": np.zeros(5)}, "expected uint8 images"),
        ({"state": np.zeros(5)}, "has no 'image'"),
        ({"image": np.zeros((32, 32, 3), np.uint8), "state": np.zeros(4)}, "reads 5 numbers"),
        ({"image": np.zeros((2, 32, 32, 3), np.uint8), "state": np.zeros(5)}, "disagree on the batch axis"),
    ],
)
def test_wrong_observations_are_refused(observation, message):
    agent = SACAgent(image_keys=("image",), action_dim=6, config=small_config(), device="cpu")
    agent.sample_actions({"image": np.zeros((32, 32, 3), np.uint8), "state": np.zeros(5)})
    with pytest.raises(ValueError, match=message):
        agent.sample_actions(observation)


def test_the_classifier_answers_for_one_and_for_many():
    rng = np.random.default_rng(6)
    classifier = RewardClassifier(image_keys=["image"], encoder=SMALL, device="cpu")
    frames = rng.integers(0, 256, (4, 32, 32, 3), np.uint8)
    probabilities, verdicts = classifier.predict_success({"image": frames})
    assert probabilities.shape == verdicts.shape == (4,)
    probability, verdict = classifier.predict_success({"image": frames[2]})
    assert isinstance(verdict, bool) and probability == pytest.approx(probabilities[2], abs=1e-5)


def test_the_core_needs_neither_ray_nor_gymnasium():
    program = (
        "import sys; sys.modules['ray'] = sys.modules['gymnasium'] = None\n"
        "import numpy as np\n"
        "from serl_ray.agents.sac import SACHybridAgent\n"
        "from serl_ray.networks.classifier import RewardClassifier\n"
        "agent = SACHybridAgent(image_keys=[], continuous_action_dim=6, grasp_action_dim=3)\n"
        "print(agent.sample_actions({'state': np.zeros(4, np.float32)}).shape)"
    )
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "(7,)"


def test_an_agent_that_was_saved_on_another_kind_of_device_goes_on_with_a_new_seed(caplog):
    rng = np.random.default_rng(5)
    agent = SACAgent((), 6, config=small_config(), device="cpu")
    agent.update(batch(rng, agent, ()))
    tensors = {name: tensor.clone() for name, tensor in agent.state.tensors().items()}
    own = tensors.pop("generator.cpu")
    on_a_gpu = {**tensors, "generator.cuda": torch.arange(16, dtype=torch.uint8)}
    caplog.set_level("INFO")
    agent.state.load(on_a_gpu)
    assert "another kind of device" in caplog.text
    first = agent.state.generator.get_state()
    agent.state.load(on_a_gpu)
    assert torch.equal(first, agent.state.generator.get_state()) and not torch.equal(first, own), (
        "seeded anew, and alike"
    )
    agent.state.load({**tensors, "generator.cpu": own})
    assert torch.equal(agent.state.generator.get_state(), own)
