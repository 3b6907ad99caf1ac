"""The kernels: equal to the plain operations that they replace."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from serl_ray.networks.config import EncoderConfig
from serl_ray.networks.encoder import ImageHead
from serl_ray.networks.kernels import INT64, batch_innermost, dropout_mask


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
