"""USDT probes of a session: where they are, and where their arguments lie, for the kernel code that reads them.

The kernel side is ``osmia.lang.prelude``: a map from the attach cookie to the places of a location's arguments.
"""

from __future__ import annotations

import os

from osmia.diagnostics import AttachError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from osmia.kernel.load import LoadedCollection
    from osmia.symbols.usdt_args import Argument

MAP = "osmia_usdt"
_MOST = 12
_KINDS = {"constant": 0, "register": 1, "memory": 2}


def locations(loaded: LoadedCollection, options: dict[str, Any]) -> list[tuple[str, int, int, int]]:
    """The places of a USDT hook as ``kernel.attach`` takes them; their arguments are put into the map.

    :param options: ``binary``, ``provider``, ``name``, ``pid`` of the hook.
    :raises SymbolError: no such binary or probe, or an argument that is not understood.
    :raises AttachError: RUN036, a probe with more arguments than programs can read.
    """
    from osmia.symbols.usdt import find_probe

    probe = find_probe(options["binary"], f"{options['provider']}:{options['name']}", pid=options.get("pid") or None)
    table: Any = loaded.maps.get(MAP)
    found = []
    for location in probe.locations:
        cookie = 0
        if table is not None:
            cookie = len(table) + 1
            arguments = location.arguments()
            if len(arguments) > _MOST:
                raise AttachError(
                    "RUN036",
                    f"{probe.provider}:{probe.name} has {len(arguments)} arguments; programs can read {_MOST}",
                    hint="attach without naming parameters",
                )
            rows = [_row(argument, location.address) for argument in arguments]
            rows += [_EMPTY] * (_MOST - len(rows))
            table[cookie] = {"count": len(arguments), "args": rows}
        found.append((probe.path, location.offset, location.semaphore_offset, cookie))
    return found


_EMPTY = {
    "value": 0, "base": -1, "index": -1, "scale": 0, "kind": 0, "bits": 64, "shift": 0, "signed": 0,
    "index_bits": 64, "index_signed": 0,
}  # fmt: skip


def _row(argument: Argument, address: int) -> dict[str, int]:
    from osmia.symbols.usdt_args import AARCH64_REGS, X86_64_REGS

    registers = X86_64_REGS if os.uname().machine == "x86_64" else AARCH64_REGS
    base = argument.register if argument.kind == "register" else argument.base
    bits = 8 * argument.size
    if argument.kind == "register":
        bits = min(bits, argument.width)
    return {
        "value": argument.value if argument.kind == "constant" else argument.displacement,
        "base": -1 if base is None else registers[base],
        "index": -1 if argument.index is None else registers[argument.index],
        "scale": argument.scale,
        "kind": _KINDS[argument.kind],
        "bits": bits,
        "shift": argument.shift,
        "signed": int(argument.signed),
        "index_bits": argument.index_width,
        "index_signed": int(argument.index_signed),
    }
