"""The mnemonic dialect of BPF assembly, which conformance suites and user-space virtual machines use.

    mov32 r0, 5
    ldxw r1, [r10-4]
    jeq r0, r1, done
    lock fetch add [r10-8], r1
    done:
    exit

Registers may carry a ``%``. The first ``exit`` is also the label ``exit`` unless the text defines that label itself.
"""

from __future__ import annotations

from osmia.isa.assembler import Dialect
from osmia.isa.assembler import assemble as _assemble
from osmia.isa.disassembler import disassemble as _disassemble
from osmia.isa.table import TABLE, Row

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from osmia.isa.instruction import Instruction


def _forms() -> Iterator[tuple[Row, str]]:
    for row in TABLE:
        yield row, row.mnemonic
        for template in row.mnemonic_aliases:
            yield row, template


MNEMONICS = Dialect("mnemonics", _forms, implicit_exit=True)


def assemble(
    text: str,
    *,
    file: str = "<assembly>",
    helpers: Mapping[str, int] | None = None,
    kfuncs: Mapping[str, int] | None = None,
    maps: Mapping[str, int] | None = None,
    check: bool = True,
) -> list[Instruction]:
    """The instructions of a text; parameters and errors are those of ``osmia.isa.assembler.assemble``."""
    return _assemble(text, file=file, helpers=helpers, kfuncs=kfuncs, maps=maps, check=check, dialect=MNEMONICS)


def disassemble(
    program: Sequence[Instruction], *, helpers: Mapping[int, str] | None = None, labels: bool = False
) -> str:
    """The text of a program in this dialect; see ``osmia.isa.disassembler.disassemble``."""
    return _disassemble(program, style="mnemonic", helpers=helpers, labels=labels)
