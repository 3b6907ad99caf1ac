"""The kernels: equal to the plain operations that they replace."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from serl_ray.networks.config import EncoderConfig
from serl_ray.networks.encoder import ImageHead
from serl_ray.networks.kernels import (
    INT64,
    Adam,
    Tanh,
    batch_innermost,
    channels_last_,
    dropout_mask,
    embed_maps,
    lerp_,
    masked,
    pack_,
)
from serl_ray.networks.pretrained import fingerprint, trunk_without_weights
from serl_ray.networks.resnet import ResNet10


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (5, 2, 3, 7), (16, 4, 4, 32)])
def test_batch_innermost_changes_the_layout_alone(shape, dtype):
    maps = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    result = batch_innermost(maps)
    assert torch.equal(result, maps.float())
    assert result.permute(3, 1, 2, 0).is_contiguous()


def test_embeddings_and_gradients_do_not_depend_on_the_layout():
    generator = torch.Generator().manual_seed(1)
    head = ImageHead((4, 4, 32), EncoderConfig())
    maps = torch.randn((16, 4, 4, 32), generator=generator)
    plain, fast = (layout.clone(memory_format=torch.preserve_format).requires_grad_() for layout in (maps, maps))
    embedded = [head.embed(plain), head.embed(batch_innermost(fast))]
    torch.testing.assert_close(embedded[0], embedded[1])
    weights = torch.randn(embedded[0].shape, generator=generator)
    for result in embedded:
        (result * weights).sum().backward()
    torch.testing.assert_close(plain.grad, fast.grad)


@pytest.mark.parametrize(("batch_size", "dim", "dropout"), [(1, 1, 0.5), (6, 7, 0.1), (256, 64, 0.25)])
def test_a_dropout_mask_compares_16_random_bits_per_entry(batch_size, dim, dropout):
    mask = dropout_mask(batch_size, dim, dropout, torch.Generator().manual_seed(2))
    draws = torch.randint(*INT64, (-(-batch_size * dim // 4),), generator=torch.Generator().manual_seed(2)).numpy()
    numbers = np.array([(int(draw) >> shift) & 0xFFFF for draw in draws for shift in (0, 16, 32, 48)], np.uint16)
    uniform = (numbers.view(np.int16).astype(float) + 2**15)[: batch_size * dim] / 2**16  # in [0, 1)
    expected = (uniform >= round(dropout * 2**16) / 2**16).reshape(dim, batch_size).T
    np.testing.assert_array_equal(mask.numpy(), expected)
    assert mask.stride(0) == 1


def test_dropout_masks_keep_the_right_share_and_differ():
    generator = torch.Generator().manual_seed(3)
    first, second = (dropout_mask(256, 1024, 0.1, generator) for _ in range(2))
    assert first.float().mean().item() == pytest.approx(0.9, abs=5 * (0.09 / first.numel()) ** 0.5)
    agreement = (first == second).float().mean().item()
    assert agreement == pytest.approx(0.9**2 + 0.1**2, abs=0.01)
    assert dropout_mask(8, 8, 0.0, generator).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_masked_numbers_are_those_of_a_product(dtype):
    generator = torch.Generator().manual_seed(8)
    x, keep = torch.randn((7, 5), generator=generator).to(dtype).t(), dropout_mask(5, 7, 0.5, generator)
    assert torch.equal(masked(x, keep), x * keep)


def test_dropout_of_a_head_is_the_same_with_and_without_gradients():
    generator = torch.Generator().manual_seed(9)
    head = ImageHead((1, 2, 8), EncoderConfig())
    embedded, keep = torch.randn((6, 64), generator=generator), dropout_mask(6, 64, 0.1, generator)
    with torch.no_grad():
        fast = head.latent(embedded, keep)
    plain = torch.tanh(head.norm(head.dense(embedded * keep / head.keep_probability)))
    torch.testing.assert_close([head.latent(embedded, keep), fast], [plain, plain.detach()])


def test_maps_have_the_type_of_products():
    maps = torch.randn((3, 1, 2, 4), generator=torch.Generator().manual_seed(10)).half()
    with torch.autocast("cpu", torch.bfloat16):
        result = batch_innermost(maps)
    assert torch.equal(result, maps.float().bfloat16()) and result.permute(3, 1, 2, 0).is_contiguous()


def test_embedded_maps_are_sums_over_the_cells():
    generator = torch.Generator().manual_seed(4)
    maps, embedding = (torch.randn(shape, generator=generator) for shape in ((5, 2, 3, 7), (2, 3, 7, 4)))
    expected = torch.einsum("bhwc,hwcf->bcf", maps, embedding).flatten(1)
    torch.testing.assert_close(embed_maps(maps, embedding), expected)


def test_adam_is_torch_s_and_has_its_moments_before_the_first_step():
    generator = torch.Generator().manual_seed(5)
    start = [torch.randn(shape, generator=generator) for shape in ((3, 4), (4,), ())]
    ours, theirs = ([torch.nn.Parameter(tensor.clone()) for tensor in start] for _ in range(2))
    our_adam, their_adam = Adam(ours, lr=0.1), torch.optim.Adam(theirs, lr=0.1, foreach=False)
    before = [{name: tensor.shape for name, tensor in state.items()} for state in our_adam.state]
    for step in range(4):
        gradients = [torch.randn(tensor.shape, generator=generator) for tensor in start]
        if step == 1:
            gradients[1] = None
        our_adam.step(gradients)
        for parameter, gradient in zip(theirs, gradients, strict=True):
            parameter.grad = gradient
        their_adam.step()
    torch.testing.assert_close(ours, theirs)
    assert before == [{name: tensor.shape for name, tensor in state.items()} for state in their_adam.state.values()]
    for own, their in zip(our_adam.state, their_adam.state.values(), strict=True):
        torch.testing.assert_close(own, their)


def test_targets_move_by_their_share():
    generator = torch.Generator().manual_seed(6)
    targets, sources = ([torch.randn(shape, generator=generator) for shape in ((3, 4), (2,))] for _ in range(2))
    expected = [0.25 * source + 0.75 * target for target, source in zip(targets, sources, strict=True)]
    lerp_(targets, sources, 0.25)
    torch.testing.assert_close(targets, expected)


def test_the_layout_of_a_trunk_does_not_change_its_maps():
    images = torch.randint(0, 256, (2, 64, 64, 3), generator=torch.Generator().manual_seed(7), dtype=torch.uint8)
    trunk = ResNet10(width=8).requires_grad_(False)
    before = trunk(images)
    channels_last_(trunk)
    assert trunk.layer2[0].conv2.weight.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(trunk(images), before, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("source", ["random", "imagenet", "efficientnet"])
@torch.inference_mode()
def test_packed_weights_do_not_change_maps_whatever_the_batch(source):
    images = torch.randint(0, 256, (5, 64, 64, 3), generator=torch.Generator().manual_seed(11), dtype=torch.uint8)
    plain, packed = (trunk_without_weights(source, width=8).eval() for _ in range(2))
    packed.load_state_dict(plain.state_dict())
    channels_last_(packed)
    pack_(packed)
    assert fingerprint(packed) == fingerprint(plain)
    expected = plain(images)
    for batch in (images[:2], images, images[:1]):
        tolerance = {"rtol": 2**-11, "atol": 1e-4 * float(expected.abs().max())}  # float16's
        torch.testing.assert_close(packed(batch), expected[: len(batch)], **tolerance)


def test_tanh_and_its_gradient_are_torch_s():
    x = torch.cat([torch.linspace(-20.0, 20.0, 4001), torch.tensor([0.0, 1e-4, -1e-4, 200.0, -200.0])])
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    results = Tanh()(ours), torch.tanh(theirs)
    torch.testing.assert_close(*results, rtol=0.0, atol=2e-7)
    for result in results:
        result.square().sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=0.0, atol=1e-6)
    with torch.no_grad():
        assert torch.equal(Tanh()(x), results[0])
