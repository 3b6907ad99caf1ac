"""Our networks against recordings of the original: heads, trunk, crops, classifier, behaviour cloning.

Excluded, because the original itself never uses it:
- networks_state: `softplus` and `uniform` standard deviations and a policy temperature, which its launchers never
    select.
- bc_small: its gradient step, in which the image heads never learn (REFERENCE section 10.10). Forward and loss are
    compared.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from parity import NEGLIGIBLE_GRADIENT, PARITY_DIR, Recording, assert_close, recordings

from serl_ray.files.pickles import load_pickle
from serl_ray.networks.actor_critic import Actor, Critic, GraspCritic, NetworkConfig, Temperature
from serl_ray.networks.augment import crop
from serl_ray.networks.classifier import RewardClassifier
from serl_ray.networks.encoder import Encoder, EncoderConfig, ImageHead
from serl_ray.networks.flax import agent_state_dict, classifier_state_dict, resnet_state_dict
from serl_ray.networks.inputs import ObservationSpec
from serl_ray.networks.original import load_flax_classifier
from serl_ray.networks.pretrained import load_trunk
from serl_ray.networks.resnet import ResNet10, normalise, resize


@pytest.mark.parametrize("name", recordings("networks_state.npz"))
def test_heads_alone(name):
    recording = Recording(name)
    config = NetworkConfig(hidden_dims=tuple(recording.config["hidden_dims"]))
    state = recording.tensor("in/state")
    for size, action_dim in ((2, 6), (10, 12)):
        critic = Critic(10, action_dim, NetworkConfig(hidden_dims=config.hidden_dims, critic_ensemble_size=size))
        case = f"critic_E{size}_A{action_dim}"
        load(critic, recording, case, "modules_critic", "critic.")
        assert_close(critic(state, recording.tensor(f"in/{case}/actions")), recording[f"out/{case}/q"], 1e-5)
        assert_close(
            critic(state, recording.tensor(f"in/{case}/actions_multi")), recording[f"out/{case}/q_multi"], 1e-5
        )
    for choices in (3, 9):
        grasp_critic = GraspCritic(10, choices, config)
        load(grasp_critic, recording, f"grasp_{choices}", "modules_grasp_critic", "grasp_critic.")
        assert_close(grasp_critic(state), recording[f"out/grasp_{choices}/q"], 1e-5)
    temperature = Temperature(0.01)
    assert_close(temperature.lagrange, recording["out/temperature/raw_init"], 1e-6)
    assert_close(temperature(), recording["out/temperature/value"], 1e-7)


@pytest.mark.parametrize("name", recordings("networks_state.npz"))
def test_policy_and_its_gradient(name):
    recording = Recording(name)
    actor = Actor(10, 6, NetworkConfig(hidden_dims=tuple(recording.config["hidden_dims"])))
    load(actor, recording, "policy_exp", "modules_actor", "actor.")
    policy = actor(recording.tensor("in/state"))
    action, log_prob = policy.sample(recording.tensor("in/policy_exp/eps"))
    for what, ours in {
        "mean": policy.mean,
        "std": policy.std,
        "action": action,
        "log_prob": log_prob,
        "mode": policy.mode,
    }.items():
        assert_close(ours, recording[f"out/policy_exp/{what}"], 1e-5, what)
    objective = (action * recording.tensor("in/policy_exp/grad_weight")).sum() + 0.3 * log_prob.sum()
    theirs = agent_state_dict({f"modules_actor/{k}": v for k, v in recording.below("grad/policy_exp").items()}, ())
    for parameter, gradient in zip(
        actor.named_parameters(), torch.autograd.grad(objective, list(actor.parameters())), strict=True
    ):
        assert_close(gradient, theirs[f"actor.{parameter[0]}"], 1e-5, parameter[0])


def load(module, recording, case, flax_name, our_prefix):
    tree = {f"{flax_name}/{path}": array for path, array in recording.below(f"params/{case}").items()}
    module.load_state_dict(
        {name.removeprefix(our_prefix): tensor for name, tensor in agent_state_dict(tree, ()).items()}
    )


def resnet(recording, prefix, width):
    trunk = ResNet10(width)
    trunk.load_state_dict(resnet_state_dict(recording.below(prefix)))
    return trunk.requires_grad_(False)


@pytest.mark.parametrize("name", recordings("encoder128.npz"))
def test_trunk_and_image_head(name):
    recording = Recording(name)
    trunk = resnet(recording, "params/pretrained_encoder", recording.config["num_filters"])
    feature_map = trunk(recording.tensor("in/image"))
    assert_close(feature_map, recording["out/backbone"], 1e-5)
    head = ImageHead(tuple(feature_map.shape[1:]), EncoderConfig(image_latent_dim=recording.config["bottleneck_dim"]))
    tree = {f"x/encoder_c/{path}": a for path, a in recording.below("params").items() if "pretrained" not in path}
    tree = {path.replace("x/", "modules_actor/encoder/"): array for path, array in tree.items()}
    state = agent_state_dict(tree, ("c",))
    head.load_state_dict({key.removeprefix("encoder.heads.0."): tensor for key, tensor in state.items()})
    assert_close(head(feature_map), recording["out/encoded_eval"], 1e-5)
    assert_close(head(recording.tensor("out/backbone")), recording["out/encoded_from_cached_features"], 1e-5)
    keep = torch.from_numpy(recording["in/dropout_keep_mask"])
    assert_close(head(feature_map, keep), recording["out/encoded_train"], 1e-5)


@pytest.mark.parametrize("name", recordings("encoder64_stages.npz"))
def test_trunk_stage_by_stage(name):
    recording = Recording(name)
    trunk = resnet(Recording("encoder128.npz"), "params/pretrained_encoder", 64)
    image = recording.tensor("in/image")
    stages = {"normalized": normalise(image)}
    stages["conv_init"] = trunk.conv1(stages["normalized"])
    stages["norm_init"] = trunk.bn1(stages["conv_init"])
    stages["maxpool"] = trunk.maxpool(torch.relu(stages["norm_init"]))
    for stage, ours in stages.items():
        assert_close(ours.permute(0, 2, 3, 1), recording[f"out/{stage}"], 1e-5, stage)
    assert_close(trunk(image), recording["out/backbone"], 1e-5)


@pytest.mark.parametrize("name", recordings("encoder_small_odd.npz"))
def test_trunk_on_odd_sizes_and_resizing(name):
    recording = Recording(name)
    trunk = resnet(recording, "params", recording.config["num_filters"])
    assert_close(trunk(recording.tensor("in/image_33x47")), recording["out/backbone_33x47"], 1e-5)
    for case in ("20x24", "48x40", "64x64"):
        resized = resize(recording.tensor(f"in/resize_{case}"), (32, 36))
        assert_close(resized, recording[f"out/resize_{case}_to_32x36"], 1e-5, case)


@pytest.mark.parametrize("name", recordings("resnet10_params_random.pkl"))
def test_the_originals_pickled_trunk(name):
    expected = np.load(PARITY_DIR / "resnet10_params_random.expected.npz")
    trunk = ResNet10()
    load_trunk(trunk, PARITY_DIR / name)
    assert_close(trunk.requires_grad_(False)(torch.from_numpy(expected["image"])), expected["backbone"], 1e-5)


@pytest.mark.parametrize("name", recordings("resnet10_small_jaxarrays.pkl", "resnet10_small_jaxarrays_frozendict.pkl"))
def test_pickled_trunks_of_jax_arrays(name):
    expected = np.load(PARITY_DIR / "resnet10_small_jaxarrays.expected.npz")
    leaves = {path: expected[path] for path in expected.files if path.split("/")[0] != "meta"}
    theirs = resnet_state_dict({path: leaf for path, leaf in leaves.items()})
    ours = resnet_state_dict(load_pickle(PARITY_DIR / name))
    assert ours.keys() == theirs.keys() and len(ours) == 36
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    load_trunk(ResNet10(width=8), PARITY_DIR / name)


@pytest.mark.parametrize("name", recordings("augment.npz"))
def test_crops(name):
    recording = Recording(name)
    images, offsets = recording.tensor("in/image"), recording.tensor("in/offsets_yx")
    assert torch.equal(crop(images, offsets), recording.tensor("out/cropped"))
    corners = recording.tensor("in/corner_offsets_yx")
    corner_images = images[0, 0].expand(len(corners), *images.shape[2:])
    assert torch.equal(crop(corner_images, corners), recording.tensor("out/corner_cropped"))
    for group in ("observations", "next_observations"):
        offsets = recording.tensor(f"in/batch/{group}/offsets_yx")[:, None]
        for camera in ("front", "wrist"):
            path = f"batch/{group}/{camera}"
            assert torch.equal(crop(recording.tensor(f"in/{path}"), offsets), recording.tensor(f"out/{path}"))


def classifier_of(recording, case, num_classes):
    c = recording.config
    encoder = EncoderConfig(
        image_size=tuple(c["image_size"]),
        trunk_width=c["resnet_num_filters"],
        spatial_features=c["num_spatial_blocks"],
        image_latent_dim=c["bottleneck_dim"],
    )
    cameras = [path.removeprefix("in/obs/") for path in recording.arrays if path.startswith("in/obs/")]
    classifier = RewardClassifier(
        cameras, num_classes=num_classes, hidden_dim=c["hidden_dim"], encoder=encoder, device="cpu"
    )
    load_flax_classifier(classifier, recording.below(f"params/{case}"))
    return classifier


@pytest.mark.parametrize("name", recordings("classifier_small.npz"))
def test_classifier_forward(name):
    recording = Recording(name)
    observations = recording.below("in/obs")
    single = {key: frames[0, 0] for key, frames in observations.items()}
    for case, num_classes in (("binary", 2), ("nway3", 3)):
        classifier = classifier_of(recording, case, num_classes)
        assert_close(classifier.logits(observations), recording[f"out/{case}/logits_eval"], 1e-5)
        assert_close(classifier.logits(single), recording[f"out/{case}/logits_unbatched0"], 1e-5)
    probability, verdict = classifier_of(recording, "binary", 2).predict_success(observations)
    theirs = 1 / (1 + np.exp(-recording["out/binary/logits_eval"][:, 0]))
    assert_close(probability, theirs, 1e-5)
    labels = recording["in/labels"][:, 0].astype(bool)
    assert_close((verdict == labels).mean(dtype=np.float32), recording["out/binary/accuracy_eval"], 1e-6)


@pytest.mark.parametrize("name", recordings("classifier_small.npz"))
def test_classifier_training_step(name):
    recording = Recording(name)
    classifier = classifier_of(recording, "binary", 2)
    network, keep = classifier.network, recording.below("in/binary/dropout_keep")
    frames = {key: torch.from_numpy(array) for key, array in recording.below("in/obs").items()}
    logits = network(network.encoder.features(frames), [torch.from_numpy(keep[str(i)]) for i in range(len(keep))])
    assert_close(logits, recording["out/binary/logits_train"], 1e-5)
    loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, recording.tensor("in/labels").float())
    assert_close(loss, recording["out/binary/loss_train"], 1e-5)
    trained = {name: p for name, p in network.named_parameters() if p.requires_grad}
    gradients = classifier_state_dict(recording.below("out/binary/grad"), classifier.image_keys)
    after = classifier_state_dict(recording.below("out/binary/params_after_adam"), classifier.image_keys)
    optimiser = torch.optim.Adam(trained.values(), lr=recording.config["adam_lr"])
    loss.backward()
    optimiser.step()
    for key, parameter in trained.items():
        assert_close(parameter.grad, gradients[key], 1e-5, key)
        steady = (gradients[key] == 0) | (gradients[key].abs() > NEGLIGIBLE_GRADIENT)
        assert_close(parameter[steady], after[key][steady], 2e-6, key)


@pytest.mark.parametrize("name", recordings("bc_small.npz"))
def test_behaviour_cloning_forward_and_loss(name):
    recording = Recording(name)
    c = recording.config
    encoder_config = EncoderConfig(
        image_size=tuple(c["image_size"]),
        trunk_width=c["resnet_num_filters"],
        image_latent_dim=c["bottleneck_dim"],
        proprio_latent_dim=c["proprio_latent_dim"],
    )
    encoder = Encoder(encoder_config, ObservationSpec(("front",), state_dim=7), ResNet10(c["resnet_num_filters"]))
    actor = Actor(encoder.latent_dim, 6, NetworkConfig(encoder=encoder_config, hidden_dims=tuple(c["hidden_dims"])))
    state = agent_state_dict(recording.below("in/params" if "in/params" in recording else "params"), ("front",))
    for module, prefix in ((encoder, "encoder."), (actor, "actor.")):
        module.load_state_dict({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})
    observations = {key: torch.from_numpy(a) for key, a in recording.below("in/batch/observations").items()}
    features, actions = encoder.features(observations), recording.tensor("in/batch/actions")
    policy = actor(encoder(features))
    assert_close(policy.mean, recording["out/mode_eval"], 1e-5)
    assert_close(policy.std, recording["out/std_eval"], 1e-5)
    assert_close(
        torch.distributions.Normal(policy.mean, policy.std).log_prob(actions).sum(-1),
        recording["out/log_prob_eval"],
        1e-5,
    )
    keep = [torch.from_numpy(recording[f"in/dropout_keep/{i}"]) for i in range(4)]
    hidden = encoder(features, keep[:1])
    for block in range(3):
        dense, norm, activation = (actor.mlp[3 * block + i] for i in range(3))
        hidden = activation(norm(dense(hidden) * keep[1 + block] / (1 - c["dropout_rate"])))
    noisy = torch.distributions.Normal(actor.mean(hidden), actor.log_std(hidden).exp().clamp(*actor.std_bounds))
    assert_close(-noisy.log_prob(actions).sum(-1).mean(), recording["out/info/actor_loss"], 1e-5)
