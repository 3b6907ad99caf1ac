"""Imitation: its losses by hand, what it trains, and that nothing of it is left when its share is 0."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_agents import batch, small_config

from serl_ray.agents import losses
from serl_ray.agents.agent import TEMPERATURE_SPEED
from serl_ray.agents.config import SACConfig
from serl_ray.agents.imitation import (
    CHOICE_TEMPERATURE,
    CHOICE_WEIGHT,
    FULL_SCALE,
    actor_imitation_loss,
    choice_imitation_loss,
)
from serl_ray.agents.make import make_agent
from serl_ray.agents.sac import SACAgent
from serl_ray.networks.actor_critic import TanhNormal
from serl_ray.networks.inputs import ObservationSpec
from serl_ray.types import ActionLayout


def small_agent(objective="bc", cameras=(), sizes=(6, 3), **config):
    layout, spec = ActionLayout.from_sizes(*sizes), ObservationSpec(tuple(cameras), state_dim=5)
    return make_agent(layout, spec, small_config().replace(objective=objective, **config), device="cpu")


def test_the_imitation_loss_is_the_weighted_mean_of_the_negative_log_likelihood():
    log_prob, weights = torch.tensor([1.0, -2.0, 5.0]), torch.tensor([1.0, 3.0, 0.0])
    assert losses.imitation_loss(log_prob, weights).item() == pytest.approx(-(1.0 - 6.0) / 4.0)
    assert losses.imitation_loss(log_prob, torch.zeros(3)).item() == 0.0


def test_advantages_weigh_exponentially():
    weights = losses.advantage_weights(torch.tensor([0.3, 0.1, 0.2]), temperature=0.1)
    torch.testing.assert_close(weights, torch.tensor([1.0, np.exp(-2.0), np.exp(-1.0)], dtype=torch.float32))


def test_awac_prefers_the_action_with_the_greater_value_and_bc_does_not():
    policy = TanhNormal(torch.zeros(2, 1, requires_grad=True), torch.ones(2, 1))
    actions, latents, is_demo = torch.tensor([[0.5], [-0.5]]), torch.zeros(2, 1), torch.ones(2)

    def pull(weighted):
        loss = actor_imitation_loss(policy, lambda _, a: a.squeeze(-1)[None], latents, actions, is_demo, weighted)
        return -torch.autograd.grad(loss, policy.mean)[0].sum().item()

    assert pull(weighted=False) == pytest.approx(0.0, abs=1e-6)
    assert pull(weighted=True) > 0.4


def test_actions_at_full_scale_have_a_finite_loss():
    policy = TanhNormal(torch.zeros(1, 2), torch.ones(1, 2))
    at_the_bound, beyond = (torch.full((1, 2), value) for value in (FULL_SCALE, 1.0))
    arguments = {"critic": None, "latents": torch.zeros(1, 1), "is_demo": torch.ones(1), "weighted": False}
    loss = actor_imitation_loss(policy, actions=beyond, **arguments)
    assert torch.isfinite(loss) and loss == actor_imitation_loss(policy, actions=at_the_bound, **arguments)


def test_the_choice_loss_is_the_cross_entropy_of_the_values():
    q, ids = torch.tensor([[0.2, 0.3, 0.1], [0.9, 0.0, 0.5]]), torch.tensor([1, 2])
    log_softmax = torch.log_softmax(q / CHOICE_TEMPERATURE, dim=1)
    expected = -CHOICE_WEIGHT * (log_softmax[0, 1] + log_softmax[1, 2]) / 2
    torch.testing.assert_close(choice_imitation_loss(q, ids, torch.ones(2)), expected)


def test_a_rare_choice_counts_by_the_square_root_of_its_frequency():
    ids, probabilities = torch.tensor([1] * 9 + [0]), torch.tensor([0.25, 0.75])  # 1 : sqrt(9), not 1 : 9
    q = (CHOICE_TEMPERATURE * probabilities.log()).requires_grad_()
    loss = choice_imitation_loss(q.expand(10, 2), ids, torch.ones(10))
    torch.testing.assert_close(torch.autograd.grad(loss, q)[0], torch.zeros(2), atol=1e-6, rtol=0)
    with_online = choice_imitation_loss(
        q.expand(12, 2), torch.cat([ids, torch.tensor([0, 0])]), torch.tensor([1.0] * 10 + [0.0] * 2)
    )
    torch.testing.assert_close(with_online, loss)


def test_one_action_with_a_wrong_value_does_not_silence_the_others():
    policy = TanhNormal(torch.zeros(4, 1), torch.ones(4, 1))
    actions, latents = torch.tensor([[0.9], [-0.5], [-0.5], [-0.5]]), torch.zeros(4, 1)
    log_prob = policy.log_prob(actions)

    def critic(_, a):
        return 100.0 * (a.squeeze(-1)[None] == 0.9)

    loss = actor_imitation_loss(policy, critic, latents, actions, torch.ones(4), weighted=True)
    weights = torch.tensor([np.e, 1.0, 1.0, 1.0])
    torch.testing.assert_close(loss, (-(weights * log_prob).sum() / weights.sum()).float())


def test_dropout_is_in_the_imitation_losses_alone_and_keeps_the_mean():
    agent = small_agent("bc")
    shown = batch(np.random.default_rng(5), agent, ())
    noise = agent.noise.update(6, imitates=True)
    assert [scale.shape for scale in noise.imitation] == [(6, 16), (6, 16)]
    kept = torch.cat(list(noise.imitation)).unique()
    torch.testing.assert_close(kept[kept > 0], torch.tensor([616 / 600]))
    noise.imitation = [torch.where(torch.arange(16) % 2 == 0, 2.0, 0.0).expand(6, 16)] * 2
    assert not agent.noise.update(6).imitation, "an update without imitation draws no dropout"
    state = {name: tensor.clone() for name, tensor in agent.state.tensors().items()}
    with_dropout = agent.update(shown, noise=noise)
    agent.state.load(state)
    without = agent.update(shown, noise=replace(noise, imitation=[]))
    differing = {name for name in without if with_dropout[name] != without[name]}
    grippers = {f"grasp_critic/{name}" for name in ("imitation_loss", "loss", "q_mean")}
    assert differing <= {"actor/imitation_loss", "actor/loss", *grippers} and "actor/imitation_loss" in differing


def test_wide_layers_lose_more_of_their_units_to_dropout_and_those_for_two_arms_less():
    one, two = (6, 3), (12, 9)
    for sizes, size, lost in ((one, 32, 0.05), (one, 256, 0.3), (one, 600, 0.5), (two, 256, 0.18)):
        agent = small_agent("bc", sizes=sizes, hidden_dims=(size, size))
        kept = torch.cat(list(agent.noise.update(64, imitates=True).imitation)) > 0
        assert 1.0 - kept.float().mean().item() == pytest.approx(lost, abs=0.015)


def test_values_start_at_0_where_demonstrations_are_imitated():
    seen, rng = {"state": np.ones((3, 5), np.float32)}, np.random.default_rng(0)
    actions = rng.uniform(-1, 1, (3, 7)).astype(np.float32)
    assert not small_agent("bc").q_values(seen, actions).any()
    assert small_agent("sac").q_values(seen, actions).any()


def test_what_is_demonstrated_is_done_in_the_end():

    agent = small_agent("bc", hidden_dims=(64, 64))
    shown = batch(np.random.default_rng(0), agent, (), batch_size=4)
    shown["actions"][:, :6] *= 0.8
    for _ in range(600):
        metrics = agent.update(shown)
    done = agent.sample_actions(shown["observations"], argmax=True)
    assert np.abs(done - shown["actions"])[:, :6].mean() < 0.05
    np.testing.assert_array_equal(done[:, 6], shown["actions"][:, 6])
    assert abs(metrics["grasp_critic/q_mean"]) < 1.0, "values stay values"


@pytest.mark.parametrize("objective", ["bc", "awac"])
def test_imitation_trains_from_pixels(objective):
    agent = small_agent(objective, ("image",), lr=3e-3)
    shown = batch(np.random.default_rng(0), agent, ("image",))
    losses = [agent.update(shown)["actor/imitation_loss"] for _ in range(100)]
    assert losses[-1] < losses[0] - 2.0


@pytest.mark.parametrize("objective", ["bc", "awac"])
def test_only_demonstrations_are_imitated(objective):
    agent = small_agent(objective)
    mixed = batch(np.random.default_rng(1), agent, ())
    mixed["is_demo"] = np.arange(6) >= 3
    agent.sample_actions(mixed["observations"])
    state = {name: tensor.clone() for name, tensor in agent.state.tensors().items()}
    first = agent.update(mixed)["actor/imitation_loss"]
    agent.state.load(state)  # the state of the noise is among it
    mixed["actions"][:3] = -mixed["actions"][:3]
    assert agent.update(mixed)["actor/imitation_loss"] == pytest.approx(first, rel=1e-5)


def test_image_heads_learn_from_imitation_but_not_from_sacs_actor():
    for objective, learns in (("bc", True), ("sac", False)):
        agent = small_agent(objective, ("image",))
        agent.sample_actions(batch(np.random.default_rng(2), agent, ("image",))["observations"])
        heads = {id(parameter) for parameter in agent.networks.encoder.heads.parameters()}
        assert (heads <= {id(parameter) for parameter in agent.state.parameters["actor"]}) == learns


def test_without_a_share_of_imitation_an_update_is_that_of_sac():
    agents = [small_agent(objective, ("image",)) for objective in ("sac", "awac")]
    for networks in (agents[1].networks, agents[1].target):
        networks.load_state_dict(agents[0].networks.state_dict())
    agents[1].state.optimisers["temperature"].lr /= TEMPERATURE_SPEED
    agents[1].imitation_share = 0.0
    for seed in range(3):
        for agent in agents:
            agent.update(batch(np.random.default_rng(seed), agent, ("image",)))
    ours, theirs = (agent.networks.state_dict() for agent in agents)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_while_all_is_imitation_the_temperature_rests():
    agent = SACAgent((), 6, config=SACConfig(objective="bc"), device="cpu")
    before = agent.update(batch(np.random.default_rng(3), agent, ()))
    assert "temperature/loss" not in before
    agent.agent.imitation_share = 0.5
    assert "temperature/loss" in agent.update(batch(np.random.default_rng(3), agent, ()))
