"""Our losses and updates against recordings of the original; SERL_PARITY_DIR names another folder of recordings.

Excluded, because ours decides differently (DESIGN section 6):
- idle networks: in a critics-only update the original still moves actor, temperature and proprio branch by Adam's
    momentum; ours leaves actor and temperature as they are (asserted), so the moved branch is not compared after such a
    step.
- sac_state_redq_entropy: the entropy back-up, which ours discounts and masks. Its loss and gradient are compared with
    the original's own target put together from our parts; the critic's parameters after the step are not.
- replay_*: see tests/data/test_replay_parity.py. Networks alone: see tests/networks/test_parity.py.
"""

from __future__ import annotations

import pytest
import torch
from parity import NEGLIGIBLE_GRADIENT, PARITY_DIR, AgentRecording, assert_close, recordings

from serl_ray.agents import losses
from serl_ray.agents.transitions import transition_tensors
from serl_ray.networks.flax import agent_state_dict
from serl_ray.networks.inputs import to_tensors

AGENTS = (
    "sac_state.npz",
    "sac_state_redq_entropy.npz",
    "hybrid_single_state.npz",
    "hybrid_dual_state.npz",
    "sac_pixel_small.npz",
    "hybrid_single_pixel_small.npz",
)


def agent_steps() -> list[tuple[str, int]]:
    return [(name, step) for name in recordings(*AGENTS) for step in range(len(AgentRecording(name).meta["steps"]))]


@pytest.fixture(params=agent_steps(), ids=lambda param: f"{param[0].removesuffix('.npz')}-{param[1]}")
def recorded_step(request):
    """(recording, our agent in the state before the step, step, whether actor and temperature rest in it)"""
    name, step = request.param
    recording = AgentRecording(name)
    agent = recording.agent()
    recording.rewind_to(agent, step)
    return recording, agent, step, recording.meta["steps"][step] == "critic"


def test_the_folder_has_recordings():
    assert recordings(*AGENTS), f"no recorded agents in {PARITY_DIR}"


def test_losses_and_gradients(recorded_step):
    recording, agent, step, _ = recorded_step
    batch, noise = recording.batch(step), recording.noise(step)
    transitions = transition_tensors(batch, agent.layout, agent.config, agent.device)
    encoded = agent.encode(
        *(to_tensors(batch[key], agent.spec, agent.device)[0] for key in ("observations", "next_observations"))
    )
    ours, _ = agent.losses(transitions, encoded, noise)
    if agent.config.backup_entropy:
        ours["critic"] = critic_loss_with_the_originals_entropy(agent, transitions, encoded, noise)
    assert {f"out/step{step}/loss/{name}" for name in ours} == {
        n for n in recording.arrays if n.startswith(f"out/step{step}/loss/")
    }
    gradients = agent.gradients(ours)
    for name, loss in ours.items():
        assert_close(loss, recording[f"out/step{step}/loss/{name}"], 1e-5, f"{name} loss")
        for ours_, theirs in zip(gradients[name], recording.gradients(agent, name, step), strict=True):
            assert_close(ours_, theirs, 1e-5, f"{name} gradient")


def critic_loss_with_the_originals_entropy(agent, transitions, encoded, noise):
    with torch.no_grad():
        next_actions, log_prob = agent.policy(encoded.next_embedded, noise.critic.keep).sample(noise.critic.eps)
        value = losses.soft_min_value(
            agent.target.critic(encoded.next_target_latents, next_actions), noise.critic_subset
        )
        target = losses.td_target(transitions["rewards"], transitions["masks"], value, agent.config.discount)
        target = target - agent.networks.temperature() * log_prob
    return losses.critic_loss(
        agent.networks.critic(encoded.latents, agent.layout.continuous(transitions["actions"])), target
    )


def test_each_loss_trains_what_the_originals_gradient_reaches(recorded_step):
    recording, agent, step, _ = recorded_step
    names = {id(p): n for n, p in agent.networks.named_parameters()}
    for loss, parameters in agent.state.parameters.items():
        if f"out/step{step}/grad/{loss}" in recording:
            recorded = agent_state_dict(recording.below(f"out/step{step}/grad/{loss}"), recording.image_keys)
            reached = {name for name, gradient in recorded.items() if gradient.abs().max() > 0}
            assert reached <= {names[id(p)] for p in parameters}, loss


def test_update_moves_parameters_and_targets(recorded_step):
    recording, agent, step, critics_only = recorded_step
    before = {name: p.clone() for name, p in agent.networks.named_parameters()}
    metrics = agent.update(recording.batch(step), critics_only, recording.noise(step))
    excluded = ("actor.", "temperature.", "encoder.proprio.") if critics_only else ()
    if agent.config.backup_entropy:
        excluded += ("critic.",)
    small = negligible(recording, step)
    for ours, kind in ((agent.networks, "params"), (agent.target, "target_params")):
        theirs = agent_state_dict(recording.below(f"out/step{step}/{kind}"), recording.image_keys)
        compared = [name for name in theirs if not name.startswith(excluded)]
        assert compared or (critics_only and agent.config.backup_entropy)
        for name in compared:
            keep = ~small[name]
            assert_close(ours.state_dict()[name][keep], theirs[name][keep], 2e-6, f"{kind} {name}")
    if critics_only:
        assert all(
            torch.equal(p, before[n])
            for n, p in agent.networks.named_parameters()
            if n.startswith(("actor.", "temperature."))
        )
    else:
        assert_close(agent.networks.temperature(), recording[f"out/step{step}/temperature_after"], 1e-6)
        assert_close(metrics["actor/entropy"], recording[f"out/step{step}/info/actor/entropy"], 1e-5)


def negligible(recording, step):
    """By parameter, where a recorded gradient of any loss is too small for its Adam step to be comparable."""
    small = {name: torch.zeros_like(p, dtype=torch.bool) for name, p in parameters_of(recording, step).items()}
    for loss in ("critic", "grasp_critic", "actor", "temperature"):
        if f"out/step{step}/grad/{loss}" in recording:
            gradients = agent_state_dict(recording.below(f"out/step{step}/grad/{loss}"), recording.image_keys)
            for name, gradient in gradients.items():
                small[name] |= (gradient != 0) & (gradient.abs() < NEGLIGIBLE_GRADIENT)
    assert all(mask.float().mean() < 0.5 for mask in small.values())
    return small


def parameters_of(recording, step):
    return agent_state_dict(recording.below(f"out/step{step}/params"), recording.image_keys)


@pytest.mark.parametrize("name", recordings(*AGENTS))
def test_actions(name):
    recording = AgentRecording(name)
    agent = recording.agent()
    if "in/sample" in recording:
        observation = {"state": recording["in/sample/state"]}
        assert_close(
            agent.sample_actions(observation, eps=recording.tensor("in/sample/eps")),
            recording["out/sample/actions"],
            1e-5,
        )
        assert_close(agent.sample_actions(observation, argmax=True), recording["out/sample/actions_argmax"], 1e-5)
    if "in/sample_unbatched" in recording:
        observation = {key: array[0, 0] for key, array in recording.batch(0)["observations"].items()}
        action = agent.sample_actions(observation, eps=recording.tensor("in/sample_unbatched/eps"))
        assert_close(action, recording["out/sample_unbatched/action_for_batch0_obs0"], 1e-5)
