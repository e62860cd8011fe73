"""Classic programs to eBPF.

Three contexts say what the classic program loads from:

``skb``
    a socket filter: r1 is a ``struct __sk_buff *``. Packet loads become legacy packet loads; facts about the packet
    come from ``__sk_buff`` fields and helpers. The result loads as a program of type ``socket_filter`` (Linux 4.1).
``seccomp``
    r1 points at a ``struct seccomp_data`` of 64 bytes, in host byte order.
``buffer``
    r1 points at a packet, r2 is its length in bytes. Every load checks bounds; there are no header areas
    (``SKF_NET_OFF``, ``SKF_LL_OFF``) and no facts, except what the packet itself says.

As on the classic machine, a load out of bounds or a division by zero ends the program with 0. Instructions that no
path reaches are left out, since the kernel's verifier refuses them. The result is cpu v1.
"""

from __future__ import annotations

from osmia.isa.cbpf.check import SECCOMP_DATA_SIZE, check
from osmia.isa.cbpf.program import (
    LINK_OFFSET,
    MEMORY_WORDS,
    Ancillary,
    ClassicInstruction,
    ClassicRow,
    ancillary_of,
)
from osmia.isa.instruction import Instruction, InstructionError, signed32
from osmia.isa.table import BY_NAME

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

A, X, CONTEXT, TEMPORARY, LENGTH, FRAME = 0, 7, 6, 8, 9, 10
"""Where the classic registers live; all but A survive calls and packet loads."""

_HELPER_RANDOM, _HELPER_CPU = 7, 8

_SKB_FIELDS = {
    # name of the fact: offset of the __sk_buff field, whether it is in network byte order
    "type": (4, False),
    "mark": (8, False),
    "queue": (12, False),
    "proto": (16, True),
    "vlan_avail": (20, False),
    "vlan_tci": (24, False),
    "vlan_tpid": (28, True),
    "ifidx": (40, False),
    "rxhash": (68, False),
}
_SKB_HELPERS = {"rand": _HELPER_RANDOM, "cpu": _HELPER_CPU}
_SKB_LENGTH = 0


def translate(program: Sequence[ClassicInstruction], context: str = "skb") -> list[Instruction]:
    """The eBPF program that does what a classic program does.

    :param context: ``skb``, ``seccomp`` or ``buffer``, see above.
    :raises InstructionError: when the program is not acceptable (see ``check``); ISA064 when it loads something that
        the context does not have, by name; ISA065 when it grows beyond the reach of a jump.
    """
    translator = _TRANSLATORS.get(context)
    if translator is None:
        raise ValueError(f"context is one of {', '.join(_TRANSLATORS)}, not {context!r}")
    rows = check(program, seccomp=context == "seccomp")
    return translator(program, rows).run()


def _insn(name: str, dst: int = 0, src: int = 0, off: int = 0, imm: int = 0) -> Instruction:
    """An instruction of a row, with the row's required values filled in."""
    row = BY_NAME[name]
    return Instruction(
        row.opcode,
        dst,
        row.src if isinstance(row.src, int) else src,
        row.off if isinstance(row.off, int) else off,
        signed32(row.imm if isinstance(row.imm, int) else imm),
    )


class _Translator:
    """What the contexts have in common: registers, scratch memory, arithmetic, jumps."""

    context = ""

    def __init__(self, program: Sequence[ClassicInstruction], rows: Sequence[ClassicRow]) -> None:
        self.program = program
        self.rows = rows
        self.index = 0
        self.out: list[Instruction] = []
        self.starts: list[int] = []
        self.jumps: list[tuple[int, int]] = []

    def run(self) -> list[Instruction]:
        self.emit("mov64_reg", CONTEXT, 1)
        self.prologue()
        self.emit("mov32_imm", A)
        self.emit("mov32_imm", X)
        reached = self.reached()
        for index, (insn, row) in enumerate(zip(self.program, self.rows, strict=True)):
            self.index = index
            self.starts.append(len(self.out))
            if reached[index]:
                self.statement(insn, row)
        for at, target in self.jumps:
            distance = self.starts[target] - at - 1
            if distance > 0x7FFF:
                raise InstructionError(
                    "ISA065",
                    f"the translated program needs a jump over {distance} instructions, and a jump reaches 32767",
                    hint="split the filter, or write it for eBPF",
                )
            self.out[at].off = distance
        return self.out

    def reached(self) -> list[bool]:
        """Which classic instructions some path reaches. Jumps go forward, so that one pass finds out."""
        reached = [False] * len(self.program)
        reached[0] = True
        for index, (insn, row) in enumerate(zip(self.program, self.rows, strict=True)):
            if not reached[index] or self.ends(insn, row):
                continue
            distances = {"goto": (insn.k,), "jump": (insn.jt, insn.jf)}.get(row.kind, (0,))
            for distance in distances:
                reached[index + 1 + distance] = True
        return reached

    def ends(self, insn: ClassicInstruction, row: ClassicRow) -> bool:
        """Whether the program always ends with this instruction: a return, or a load that cannot succeed."""
        return row.kind == "ret"

    def emit(self, name: str, dst: int = 0, src: int = 0, off: int = 0, imm: int = 0) -> None:
        self.out.append(_insn(name, dst, src, off, imm))

    def jump(self, name: str, target: int, dst: int = 0, src: int = 0, imm: int = 0) -> None:
        """A jump to a classic instruction."""
        self.jumps.append((len(self.out), target))
        self.emit(name, dst, src, 0, imm)

    def fail_unless(self, name: str, dst: int, src: int = 0, imm: int = 0) -> None:
        """End the program with 0 unless a condition holds."""
        self.emit(name, dst, src, 2, imm)
        self.emit("mov32_imm", A)
        self.emit("exit")

    def refuse(self, what: str, hint: str | None = None) -> InstructionError:
        return InstructionError(
            "ISA064", f"instruction {self.index}: {what} in the context {self.context}", index=self.index, hint=hint
        )

    def statement(self, insn: ClassicInstruction, row: ClassicRow) -> None:
        if row.kind == "ret":
            if row.operand == "imm":
                self.emit("mov32_imm", A, imm=insn.k)
            self.emit("exit")
        elif row.kind in ("load", "loadx"):
            self.load(insn, row, A if row.kind == "load" else X)
        elif row.kind == "store":
            self.emit("store32_reg", FRAME, A if row.mnemonic == "st" else X, _scratch(insn.k))
        elif row.kind == "alu":
            self.compute(insn, row)
        elif row.kind == "goto":
            self.jump("goto", self.index + 1 + insn.k)
        elif row.kind == "jump":
            self.branch(insn, row)
        elif row.mnemonic == "tax":
            self.emit("mov32_reg", X, A)
        else:
            self.emit("mov32_reg", A, X)

    def compute(self, insn: ClassicInstruction, row: ClassicRow) -> None:
        if row.mnemonic == "neg":
            self.emit("neg32", A)
            return
        if row.operand == "imm":
            self.emit(f"{row.mnemonic}32_imm", A, imm=insn.k)
            return
        if row.mnemonic in ("div", "mod"):
            self.fail_unless("jne64_imm", X)
        self.emit(f"{row.mnemonic}32_reg", A, X)

    def branch(self, insn: ClassicInstruction, row: ClassicRow) -> None:
        yes, no = self.index + 1 + insn.jt, self.index + 1 + insn.jf
        if yes == no:
            if insn.jt:
                self.jump("goto", yes)
            return
        name, operand = row.mnemonic, {"src": X}
        kind = "reg"
        if row.operand == "imm" and insn.k >> 31:
            # A 64-bit comparison would extend the sign of the immediate.
            self.emit("mov32_imm", TEMPORARY, imm=insn.k)
            operand = {"src": TEMPORARY}
        elif row.operand == "imm":
            kind, operand = "imm", {"imm": insn.k}
        if not insn.jt and name == "jeq":
            self.jump(f"jne64_{kind}", no, A, **operand)
            return
        self.jump(f"{name}64_{kind}", yes, A, **operand)
        if insn.jf:
            self.jump("goto", no)

    def load(self, insn: ClassicInstruction, row: ClassicRow, into: int) -> None:
        if self.ends(insn, row):
            self.emit("mov32_imm", A)
            self.emit("exit")
        elif row.operand == "imm":
            self.emit("mov32_imm", into, imm=insn.k)
        elif row.operand == "mem":
            self.emit("load32", into, FRAME, _scratch(insn.k))
        elif row.operand == "len":
            self.load_length(into)
        elif row.operand == "msh":
            self.load_header_length(insn.k)
        elif row.operand == "ind":
            self.load_indirect(insn.k, row.size)
        else:
            ancillary = ancillary_of(insn)
            if ancillary is None:
                self.load_absolute(insn.k, row.size)
            elif ancillary.name == "xor_x":
                self.emit("xor32_reg", A, X)
            else:
                self.load_fact(ancillary)

    def load_header_length(self, offset: int) -> None:
        """``X = 4 * (packet[offset] & 0xf)``, leaving A alone."""
        self.emit("mov64_reg", TEMPORARY, A)
        self.load_absolute(offset, 1)
        self.emit("and32_imm", A, imm=0xF)
        self.emit("lsh32_imm", A, imm=2)
        self.emit("mov32_reg", X, A)
        self.emit("mov64_reg", A, TEMPORARY)

    def prologue(self) -> None:
        """Save what else the context passes."""

    def load_length(self, into: int) -> None:
        raise self.refuse("the packet length is not known")

    def load_absolute(self, offset: int, size: int) -> None:
        raise self.refuse("absolute loads are not possible")

    def load_indirect(self, offset: int, size: int) -> None:
        raise self.refuse("indexed loads are not possible")

    def load_fact(self, ancillary: Ancillary) -> None:
        raise self.refuse(f"{ancillary.constant} ({ancillary.meaning}) is not available")


def _scratch(slot: int) -> int:
    return -4 * (MEMORY_WORDS - slot)


class _SkbTranslator(_Translator):
    context = "skb"

    def load_length(self, into: int) -> None:
        self.emit("load32", into, CONTEXT, _SKB_LENGTH)

    def load_absolute(self, offset: int, size: int) -> None:
        self.emit(f"load_abs{size * 8}", imm=offset)

    def load_indirect(self, offset: int, size: int) -> None:
        self.emit(f"load_ind{size * 8}", src=X, imm=offset)

    def load_fact(self, ancillary: Ancillary) -> None:
        helper = _SKB_HELPERS.get(ancillary.name)
        if helper is not None:
            self.emit("call_helper", imm=helper)
            # A is 32 bits wide whatever the helper returns.
            self.emit("mov32_reg", A, A)
            return
        field = _SKB_FIELDS.get(ancillary.name)
        if field is None:
            raise self.refuse(
                f"{ancillary.constant} ({ancillary.meaning}) is not available",
                hint="struct __sk_buff has no such field; load the packet's bytes, or attach the classic filter",
            )
        offset, network_order = field
        self.emit("load32", A, CONTEXT, offset)
        if network_order:
            self.emit("be16", A)


class _SeccompTranslator(_Translator):
    context = "seccomp"

    def load_length(self, into: int) -> None:
        self.emit("mov32_imm", into, imm=SECCOMP_DATA_SIZE)

    def load_absolute(self, offset: int, size: int) -> None:
        self.emit("load32", A, CONTEXT, offset)


class _BufferTranslator(_Translator):
    context = "buffer"

    def prologue(self) -> None:
        self.emit("mov64_reg", LENGTH, 2)

    def ends(self, insn: ClassicInstruction, row: ClassicRow) -> bool:
        # Offsets with the top bit are negative; below the link-layer area there is nothing.
        return row.kind == "ret" or (row.operand in ("abs", "msh") and 1 << 31 <= insn.k < LINK_OFFSET)

    def load_length(self, into: int) -> None:
        self.emit("mov32_reg", into, LENGTH)

    def load_absolute(self, offset: int, size: int) -> None:
        if offset >= LINK_OFFSET:
            raise self.refuse("loads relative to a packet header (SKF_LL_OFF, SKF_NET_OFF) are not possible")
        if offset + size > 0x7FFFFFFF:
            self.emit("mov32_imm", 1, imm=0x7FFFFFFF)
            self.emit("add64_imm", 1, imm=offset + size - 0x7FFFFFFF)
            self.fail_unless("jge64_reg", LENGTH, 1)
        else:
            self.fail_unless("jge64_imm", LENGTH, imm=offset + size)
        if offset <= 0x7FFF:
            self.emit(f"load{size * 8}", A, CONTEXT, offset)
        else:
            self.emit("mov64_reg", 1, CONTEXT)
            self.emit("add64_imm", 1, imm=offset)
            self.emit(f"load{size * 8}", A, 1)
        self.to_host(size)

    def load_indirect(self, offset: int, size: int) -> None:
        self.emit("mov32_reg", 1, X)
        self.emit("add32_imm", 1, imm=offset)
        # The index is a signed 32-bit number; negative ones reach nothing here.
        self.emit("mov64_reg", 2, 1)
        self.emit("rsh64_imm", 2, imm=31)
        self.fail_unless("jeq64_imm", 2)
        self.emit("mov64_reg", 2, 1)
        self.emit("add64_imm", 2, imm=size)
        self.fail_unless("jge64_reg", LENGTH, 2)
        self.emit("add64_reg", 1, CONTEXT)
        self.emit(f"load{size * 8}", A, 1)
        self.to_host(size)

    def to_host(self, size: int) -> None:
        if size > 1:
            self.emit(f"be{size * 8}", A)


_TRANSLATORS: dict[str, type[_Translator]] = {
    translator.context: translator for translator in (_SkbTranslator, _SeccompTranslator, _BufferTranslator)
}
