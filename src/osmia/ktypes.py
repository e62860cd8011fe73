"""Kernel types by name: ``from osmia.ktypes import task_struct``.

Any name may be imported. It is looked up in the target kernel's BTF when a program that uses it is compiled; a name
that is not
there is an error with the nearest ones. Type checkers see ``Any``.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    from osmia.lang.types import KernelType

    return KernelType(name)
