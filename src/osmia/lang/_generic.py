"""Run-time stand-ins for ``typing``'s generic machinery, so that program files start without importing it.

Modules write ``if TYPE_CHECKING: from typing import Generic, TypeVar`` and take these otherwise.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class TypeVar:
    """A type variable that means nothing at run time."""

    __slots__ = ("name",)

    def __init__(self, name: str, **_rest: Any) -> None:
        self.name = name


class Generic:
    """A base class that may be subscripted; ``Generic[K]`` is the class itself."""

    def __class_getitem__(cls, item: Any) -> Any:
        return cls


def overload(function: Any) -> Any:
    """An overload is nothing at run time."""
    return function


def dataclass_transform() -> Any:
    """A transform is nothing at run time."""
    return lambda function: function
