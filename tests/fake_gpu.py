"""A device that computes on the CPU and refuses what a GPU refuses.

Refused are tensors of two devices in one operation, a generator of another device than its numbers, a numpy array
without a copy to the CPU and, as on mps, float64.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_map
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend

NAME = "fakegpu"
ATEN = torch.ops.aten
TAKES_BOTH = {
    ATEN.copy_.default,
    ATEN.index.Tensor,
    ATEN.index_put_.default,
    ATEN.index_put.default,
    ATEN._index_put_impl_.default,
}
"""Operations that take a CPU tensor beside one of a GPU: copies, and indices that lie on the CPU."""
STATE_BYTES = 16
"""Length of a CUDA generator's state: its seed and its offset, 8 bytes each."""


class FakeGpuTensor(torch.Tensor):
    """A tensor of the fake device; `raw` has its values."""

    @staticmethod
    def __new__(cls, raw: torch.Tensor) -> FakeGpuTensor:
        if raw.dtype == torch.float64:
            raise TypeError(f"{NAME} does not support float64.")
        sizes = {"strides": raw.stride(), "storage_offset": raw.storage_offset()}
        return torch.Tensor._make_wrapper_subclass(cls, raw.size(), **sizes, dtype=raw.dtype, device=f"{NAME}:0")

    def __init__(self, raw: torch.Tensor) -> None:
        self.raw = raw

    def tolist(self) -> Any:
        return self.raw.tolist()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        check(func, args, kwargs)
        stays = torch.device(kwargs.get("device") or NAME).type == NAME
        result = func(*tree_map(unwrap, args), **tree_map(unwrap, kwargs))
        if func._schema.is_mutable:
            return kwargs.get("out", args[0]) if func._schema.returns else None
        return tree_map(wrap, result) if stays else result


class FakeGpuGenerator(torch.Generator):
    """A generator of the fake device, whose state is as short as CUDA's."""

    def __new__(cls, device: Any = "cpu") -> torch.Generator:
        is_fake = torch.device(device).type == NAME
        return super().__new__(cls) if is_fake else REAL_GENERATOR(device)

    def __init__(self, device: Any = "cpu") -> None:
        self._seed = 0

    @property
    def device(self) -> torch.device:
        return torch.device(NAME, 0)

    def manual_seed(self, seed: int) -> FakeGpuGenerator:
        self._seed = seed
        super().manual_seed(seed)
        return self

    def get_state(self) -> torch.Tensor:
        return torch.tensor([self._seed, 0]).view(torch.uint8)

    def set_state(self, state: torch.Tensor) -> None:
        if state.shape != (STATE_BYTES,):
            raise RuntimeError("RNG state is wrong size")
        self.manual_seed(int(state.view(torch.int64)[0]))


REAL_GENERATOR = torch.Generator


class GeneratorsMatch(TorchFunctionMode):
    """Refuses random numbers of one device from a generator of another."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        generator = (kwargs or {}).get("generator")
        if generator is not None and isinstance(result, torch.Tensor) and generator.device.type != result.device.type:
            raise RuntimeError(f"Expected a {result.device.type!r} generator but found {generator.device.type!r}.")
        return result


class BackendModule(_DummyBackendModule):
    """What torch asks of `torch.fakegpu`."""

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16]


def check(func: Any, args: Any, kwargs: Any) -> None:
    """Raises what a GPU would raise."""
    tensors = [value for value in tree_flatten((args, kwargs))[0] if isinstance(value, torch.Tensor)]
    strangers = [tensor for tensor in tensors if not isinstance(tensor, FakeGpuTensor)]
    if func not in TAKES_BOTH and any(stranger.ndim for stranger in strangers):
        raise RuntimeError(f"{func}: expected all tensors to be on the same device, found {NAME} and cpu.")
    if func is ATEN.copy_.default and any(tensor.dtype == torch.float64 for tensor in tensors):
        raise TypeError(f"{NAME} does not support float64, nor does it convert what is copied to it.")


def unwrap(value: Any) -> Any:
    if isinstance(value, FakeGpuTensor):
        return value.raw
    return torch.device("cpu") if isinstance(value, torch.device) and value.type == NAME else value


def wrap(value: Any) -> Any:
    return FakeGpuTensor(value) if isinstance(value, torch.Tensor) and not isinstance(value, FakeGpuTensor) else value


def factory(name: str) -> Any:
    """An operation that makes tensors of the fake device from none."""
    operation = getattr(ATEN, name.split(".")[0])
    overload = getattr(operation, name.split(".")[1])

    def make(*args: Any, **kwargs: Any) -> torch.Tensor:
        return wrap(overload(*args, **{**kwargs, "device": "cpu", "pin_memory": False}))

    return make


def copy_from(source: torch.Tensor, target: torch.Tensor, non_blocking: bool = False) -> torch.Tensor:
    """The copy that torch makes of indices, past `__torch_dispatch__`."""
    check(ATEN.copy_.default, (target, source), {})
    unwrap(target).copy_(unwrap(source))
    return target


def register() -> torch.library.Library:
    """Tells torch of the device, once in a process; it cannot be taken back."""
    _setup_privateuseone_for_python_backend(NAME, backend_module=BackendModule())
    library = torch.library.Library("aten", "IMPL")
    for name in ("empty.memory_format", "empty_strided.default", "arange.default", "arange.start", "arange.start_step"):
        library.impl(name.removesuffix(".default"), factory(name), "PrivateUse1")
    library.impl("_copy_from", copy_from, "PrivateUse1")
    return library


LIBRARY = register()


@contextmanager
def fake_gpu() -> Iterator[str]:
    """The name of the device, with generators of it, for the block."""
    with pytest.MonkeyPatch.context() as patch, GeneratorsMatch():
        patch.setattr(torch, "Generator", FakeGpuGenerator)
        yield NAME
