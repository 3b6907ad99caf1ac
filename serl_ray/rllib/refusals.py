"""Refusals of what RLlib offers and a run does not honour: each says what to call or to set in its place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

C = TypeVar("C", bound=type)
ONE_POLICY = "a run has one policy."


class RefusedError(ValueError):
    """A call that would go behind a run's back, or a setting that would have no effect; nothing was done."""


@dataclass(frozen=True)
class Refusal:
    """Answer of a remote worker that refuses a call; its use raises. An exception in the worker itself would end it."""

    text: str
    error: type[Exception] = RefusedError

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):  # pickle and copy ask for these
            raise AttributeError(name)
        raise self.error(self.text)


def refuses(methods: Mapping[str, str]) -> Callable[[C], C]:
    """A class decorator that puts a RefusedError in the place of inherited methods.

    Args:
        methods: why each is refused and what to call instead, by name.
    """

    def refuse(cls: C) -> C:
        for name, text in methods.items():
            setattr(cls, name, _refused(name, text))
        return cls

    return refuse


def refuse_given(call: str, given: Mapping[str, Any]) -> None:
    """Raises RefusedError for the first argument that is given and has no say in the call."""
    for name, value in given.items():
        if value is not None and not (isinstance(value, list | tuple | dict) and not value):
            raise RefusedError(f"{call} acts on the observation alone, and {name} is {value!r:.100}. Leave it out.")


def _refused(name: str, text: str) -> Callable[..., NoReturn]:
    def method(*args: Any, **kwargs: Any) -> NoReturn:
        raise RefusedError(f"{name}() is refused: {text}")

    method.__name__, method.__doc__ = name, f"Refused: {text}"
    return method
