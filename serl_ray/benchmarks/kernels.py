"""Time of each fast form in `networks.kernels`, compared with its plain form."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import torch
from annotated_types import Ge
from torch import nn

from serl_ray.benchmarks.timing import Row, medians, print_report
from serl_ray.networks.kernels import (
    Adam,
    Tanh,
    batch_innermost,
    channels_last_,
    dropout_mask,
    embed_maps,
    lerp_,
    pack_,
)
from serl_ray.networks.resnet import ResNet10
from serl_ray.utils.options import Options

TRUNK_CHANNELS, EMBEDDINGS, DROPOUT = 512, 8, 0.1
SIZES = (*((512, 64),) * 40, *((4096, 256),) * 2)
"""Shapes of parameters like those of an agent with two cameras: 3.4 million numbers, most of them in two matrices."""

Pair = tuple[Callable[[], object], Callable[[], object]]
"""The fast form and the plain form of an operation."""


class Kernels(Options):
    """Times fast and plain forms of operations on the CPU."""

    save_dir: Path = Path("runs/benchmark")
    """Folder for kernels.json."""
    batch_size: Annotated[int, Ge(1)] = 256
    """Transitions per update."""
    repeats: Annotated[int, Ge(1)] = 25
    """Number of measurements; the median counts."""

    def run(self) -> None:
        """Times the forms in turn, and reports."""
        pairs = {
            "dropout mask": self._masks(),
            "spatial embedding with gradient": self._embeddings(),
            "tanh of hidden layers": self._tanhs(),
            "Adam step": _adam_steps(),
            "target update": _target_updates(),
            "trunk pass of one image": _trunk_passes(1),
            "trunk pass of 16 images": _trunk_passes(16),
            "packed trunk pass of one image": _trunk_passes(1, packs=True),
            "packed trunk pass of 4 images": _trunk_passes(4, packs=True),
        }
        names = {f"{name}, {form}": pair[i] for name, pair in pairs.items() for i, form in enumerate(("fast", "plain"))}
        seconds = medians(names, self.repeats)
        rows = [Row(name, 1e3 * value, "ms") for name, value in seconds.items()]
        ratios = [
            Row(f"{name}, plain / fast", seconds[f"{name}, plain"] / seconds[f"{name}, fast"], "", "> 1")
            for name in pairs
        ]
        print_report("kernels", self.flat(), rows + ratios, self.save_dir)

    def _masks(self) -> Pair:
        size, generator = (self.batch_size, TRUNK_CHANNELS * EMBEDDINGS), torch.Generator()
        return lambda: dropout_mask(*size, DROPOUT, generator), lambda: torch.rand(size, generator=generator) >= DROPOUT

    def _tanhs(self) -> Pair:
        hidden, fast = torch.randn(2, self.batch_size, 256), Tanh()
        return lambda: fast(hidden), lambda: torch.tanh(hidden)

    def _embeddings(self) -> Pair:
        maps = torch.randn(self.batch_size, 4, 4, TRUNK_CHANNELS).half()
        embedding = torch.randn(4, 4, TRUNK_CHANNELS, EMBEDDINGS, requires_grad=True)

        def fast() -> None:
            embed_maps(batch_innermost(maps), embedding).sum().backward()

        def plain() -> None:
            torch.einsum("bhwc,hwcf->bcf", maps.float(), embedding).flatten(1).sum().backward()

        return fast, plain


def _parameters() -> list[nn.Parameter]:
    parameters = [nn.Parameter(torch.randn(size)) for size in SIZES]
    for parameter in parameters:
        parameter.grad = torch.randn_like(parameter)
    return parameters


def _adam_steps() -> Pair:
    parameters = _parameters()
    ours, gradients = Adam(parameters, 3e-4), [parameter.grad for parameter in parameters]
    return lambda: ours.step(gradients), torch.optim.Adam(_parameters(), 3e-4).step


def _target_updates() -> Pair:
    targets, sources = ([parameter.detach() for parameter in _parameters()] for _ in range(2))

    def plain() -> None:
        for target, source in zip(targets, sources, strict=True):
            target.mul_(0.995).add_(source, alpha=0.005)

    return lambda: lerp_(targets, sources, 0.005), plain


def _trunk_passes(number: int, packs: bool = False) -> Pair:
    fast, plain, images = ResNet10(), ResNet10(), torch.randint(0, 256, (number, 128, 128, 3), dtype=torch.uint8)
    channels_last_(fast)
    if packs:
        pack_(fast)

    def of(trunk: ResNet10) -> Callable[[], object]:
        return lambda: torch.no_grad()(trunk)(images)

    return of(fast), of(plain)
