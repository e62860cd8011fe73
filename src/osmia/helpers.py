"""Kernel helpers by name: ``from osmia.helpers import bpf_get_prandom_u32``.

Any name may be imported; a call of one is checked against the table of helpers when the program is compiled:
arguments, program type,
licence and kernel version.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    from osmia.lang.builtins import Helper

    return Helper(name)
