"""BTF: the kernel's type information, read lazily and written.

The usual names are importable from here; each is loaded when first asked for.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from osmia.btf.ext import BtfExt, BtfExtBuilder, CoreRelo, FuncInfo, LineInfo
    from osmia.btf.kernel import build_id, kernel_btf, module_btf, module_names
    from osmia.btf.layout import FlatMember, MemberPlace
    from osmia.btf.reader import Btf, essential_name
    from osmia.btf.writer import BtfBuilder, subset

_HOMES = {
    "Btf": "reader",
    "BtfBuilder": "writer",
    "BtfExt": "ext",
    "BtfExtBuilder": "ext",
    "CoreRelo": "ext",
    "FlatMember": "layout",
    "FuncInfo": "ext",
    "LineInfo": "ext",
    "MemberPlace": "layout",
    "build_id": "kernel",
    "essential_name": "reader",
    "kernel_btf": "kernel",
    "module_btf": "kernel",
    "module_names": "kernel",
    "subset": "writer",
}

__all__ = [
    "Btf",
    "BtfBuilder",
    "BtfExt",
    "BtfExtBuilder",
    "CoreRelo",
    "FlatMember",
    "FuncInfo",
    "LineInfo",
    "MemberPlace",
    "build_id",
    "essential_name",
    "kernel_btf",
    "module_btf",
    "module_names",
    "subset",
]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    found: object = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = found
    return found
