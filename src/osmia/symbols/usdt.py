"""Static probes of user programs (USDT): the notes that SystemTap's ``sys/sdt.h`` leaves in a binary.

A probe is a ``nop`` at a known address and a note in ``.note.stapsdt`` with its provider, its name and a
text that says where the arguments are. Format: SystemTap wiki, "UserSpaceProbeImplementation". The
arguments' operands are read in :mod:`osmia.symbols.usdt_args`.
"""

from __future__ import annotations

import re

from osmia.diagnostics.errors import SymbolError
from osmia.diagnostics.text import suggest
from osmia.symbols.elf import ElfSymbols, open_target
from osmia.symbols.usdt_args import Argument, parse_arguments

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

NT_STAPSDT = 3


class UsdtLocation:
    """One place of a probe; a compiler that inlines or unrolls makes several of one.

    :ivar address: of the probe's instruction in the file's own layout; ``offset`` is its place in the file.
    :ivar semaphore: address of the 16-bit counter that makes the program prepare its arguments; 0 if none.
        A tracer must hold it above zero: the kernel does so for a uprobe with ``ref_ctr_offset``, to which
        ``semaphore_offset`` belongs.
    :ivar arguments_text: the arguments as the note has them.
    """

    __slots__ = (
        "_symbols",
        "address",
        "arguments_text",
        "offset",
        "semaphore",
        "semaphore_offset",
        "where",
    )

    def __init__(self, symbols: ElfSymbols, where: str, *, address: int, semaphore: int, arguments_text: str) -> None:
        self._symbols = symbols
        self.where = where
        self.address = address
        self.semaphore = semaphore
        self.arguments_text = arguments_text
        self.offset = _file_offset(symbols, where, address, "instruction")
        self.semaphore_offset = _file_offset(symbols, where, semaphore, "semaphore") if semaphore else 0

    def __repr__(self) -> str:
        return f"UsdtLocation({self.where}, offset={self.offset:#x}, {self.arguments_text!r})"

    def arguments(self) -> list[Argument]:
        """Where each argument is when the probe is hit.

        :raises SymbolError: SYM014, an operand that this machine or this reader does not have.
        """
        return parse_arguments(
            self.arguments_text,
            machine=self._symbols.image.machine,
            where=self.where,
            address=self.address,
            symbols=self._symbols,
        )


class UsdtProbe:
    """A probe: provider, name and all its places in one file.

    :ivar path: the binary, as a path this process can open.
    """

    __slots__ = ("locations", "name", "path", "provider")

    def __init__(self, provider: str, name: str, path: str) -> None:
        self.provider = provider
        self.name = name
        self.path = path
        self.locations: list[UsdtLocation] = []

    def __repr__(self) -> str:
        return f"UsdtProbe({self.provider}:{self.name}, {len(self.locations)} places in {self.path!r})"


def read_probes(symbols: ElfSymbols) -> list[UsdtProbe]:
    """All probes of a binary, in the order of their notes.

    :raises SymbolError: SYM013, the notes are damaged; SYM003, the file is.
    """
    image = symbols.image
    section = image.section(".note.stapsdt")
    if section is None:
        return []
    data = image.contents(section)
    base = image.section(".stapsdt.base")
    probes: dict[tuple[str, str], UsdtProbe] = {}
    for owner, kind, body in image.split_notes(data, strict=True):
        if owner != "stapsdt" or kind != NT_STAPSDT:
            continue
        _add_note(symbols, probes, body, base.address if base is not None else 0)
    return list(probes.values())


def _add_note(symbols: ElfSymbols, probes: dict[tuple[str, str], UsdtProbe], body: bytes, base: int) -> None:
    form, size = ("QQQ", 24) if symbols.image.bits == 64 else ("III", 12)
    parts = body[size:].split(b"\0")
    if len(body) < size or len(parts) < 4:
        raise _damaged(symbols, "a note is cut off")
    provider, name, arguments = (part.decode("utf-8", "backslashreplace") for part in parts[:3])
    address, link_base, semaphore = symbols.image.unpack(form, body)
    # Prelinking moves sections but does not correct notes: .stapsdt.base is there to tell by how much.
    moved = base - link_base if base and link_base else 0
    probe = probes.setdefault((provider, name), UsdtProbe(provider, name, symbols.path))
    probe.locations.append(
        UsdtLocation(
            symbols,
            f"{provider}:{name}",
            address=address + moved,
            semaphore=semaphore + moved if semaphore else 0,
            arguments_text=arguments,
        )
    )


def _damaged(symbols: ElfSymbols, what: str) -> SymbolError:
    return SymbolError(
        "SYM013",
        f"the USDT notes of '{symbols.shown}' are damaged: {what}",
        hint="compare the file with a fresh copy of the package it came from",
    )


def _file_offset(symbols: ElfSymbols, where: str, address: int, what: str) -> int:
    offset = symbols.image.offset_of(address)
    if offset is None:
        raise _damaged(symbols, f"the {what} of {where} is at {address:#x}, outside of the loaded file")
    return offset


def list_probes(target: str, pattern: str = "*:*", *, pid: int | None = None) -> list[UsdtProbe]:
    """The probes of a program or library whose ``provider:name`` matches a shell pattern.

    A pattern without a colon is one for the name alone; an empty part matches everything.

    :raises SymbolError: SYM007 and the errors of :meth:`ElfSymbols.open`; SYM013.
    """
    from fnmatch import translate

    provider, colon, name = pattern.partition(":")
    if not colon:
        provider, name = "*", pattern
    wanted = [re.compile(translate(part or "*")) for part in (provider, name)]
    return [
        probe
        for probe in read_probes(open_target(target, pid=pid))
        if wanted[0].match(probe.provider) and wanted[1].match(probe.name)
    ]


def find_probe(target: str, name: str, *, pid: int | None = None) -> UsdtProbe:
    """The probe ``provider:name``, or ``name`` where one provider only has it.

    :raises SymbolError: SYM012 (no such probe, with near names), SYM005 (several providers have it), and
        the errors of :func:`list_probes`.
    """
    provider, colon, short = name.rpartition(":")
    probes = read_probes(open_target(target, pid=pid))
    found = [item for item in probes if item.name == short and (not colon or provider in ("", item.provider))]
    if not found:
        raise _no_probe(target, name, probes)
    if len(found) > 1:
        listed = ", ".join(f"{item.provider}:{item.name}" for item in found)
        raise SymbolError("SYM005", f"'{target}' has {len(found)} probes named '{name}'", hint=f"name one: {listed}")
    return found[0]


def _no_probe(target: str, name: str, probes: Iterable[UsdtProbe]) -> SymbolError:
    full = [f"{item.provider}:{item.name}" for item in probes]
    if not full:
        return SymbolError(
            "SYM012",
            f"'{target}' has no USDT probes",
            hint="programs have them only if they were built so (--enable-dtrace, --with-dtrace, sys/sdt.h)",
        )
    near = suggest(name, full)
    if not near:
        short = {item.partition(":")[2]: item for item in full}
        near = [short[item] for item in suggest(name.rpartition(":")[2], short)]
    listed = ", ".join(near or sorted(full)[:8])
    more = "" if near or len(full) <= 8 else f" and {len(full) - 8} more"
    hint = f"did you mean {listed}?" if near else f"it has {listed}{more}"
    return SymbolError("SYM012", f"'{target}' has no USDT probe '{name}'", hint=hint)
