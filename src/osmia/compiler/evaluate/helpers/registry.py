"""The registry of built-in helpers."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

HELPERS: dict[str, tuple[Callable[..., Any], tuple[str, ...], int]] = {}


def helper(*names: str, args: str = "", optional: int = 0) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Registers a function as helpers of these names.

    :param args: kinds of the arguments: ``map``, ``func``, ``ptr``, ``u64``, ``u32`` (the low half of the argument).
    :param optional: how many of the last arguments may be left out.
    """
    kinds = tuple(args.split())

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        for name in names:
            HELPERS[name] = (function, kinds, len(kinds) - optional)
        return function

    return register
