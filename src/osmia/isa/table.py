"""The instruction set as one table.

One :class:`Row` is one instruction: how it is recognised (opcode byte, and required values of the other fields), what
its fields mean, how it is written, which registers it reads and writes, and since when it exists. The assembler, the
disassembler, the checker, the effects and the reference page derive from these rows; so will a VM and a verifier.

Sources: RFC 9669 (opcodes, conformance groups); ``kernel/bpf/verifier.c`` (reserved fields, pseudo sources);
``kernel/bpf/disasm.c`` (the kernel's text form); LLVM's BPF back end (text form, cpu versions). Kernel versions are
those of the first release that accepts the instruction from user space.

Templates
    ``{dst}`` and ``{src}`` are 64-bit registers, ``{dst.w}`` and ``{src.w}`` their 32-bit halves; ``{off}`` is a memory
    displacement with its sign; ``{imm}`` a decimal and ``{imm.x}`` a hexadecimal immediate, ``{high}`` the second
    slot's; ``{wide}`` all 64 bits; ``{target}`` a jump distance or label, ``{target.pc}`` the kernel's form of it;
    ``{callee}`` and ``{callee.d}`` the same for functions; ``{fd}`` a number in the offset's place; ``{helper}``,
    ``{kfunc}`` and ``{map}`` stand for a number or a name. A field named twice must be equal both times.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from osmia.isa.instruction import Instruction

Field = int | str
"""A required value, or the role of an operand."""

# Instruction classes, the low three bits of an opcode.
LD, LDX, ST, STX, ALU, JMP, JMP32, ALU64 = range(8)
# Memory access modes and sizes.
MODE_IMM, MODE_ABS, MODE_IND, MODE_MEM, MODE_MEMSX, MODE_ATOMIC = 0x00, 0x20, 0x40, 0x60, 0x80, 0xC0
SIZE_CODES = {4: 0x00, 2: 0x08, 1: 0x10, 8: 0x18}
SIZE_LETTERS = {1: "b", 2: "h", 4: "w", 8: "dw"}
# Sources of an ALU or jump operand.
K, X = 0x00, 0x08
# Pseudo sources of wide loads and calls (the src field).
PSEUDO_MAP_FD, PSEUDO_MAP_VALUE, PSEUDO_BTF_ID, PSEUDO_FUNC, PSEUDO_MAP_IDX, PSEUDO_MAP_IDX_VALUE = range(1, 7)
PSEUDO_CALL, PSEUDO_KFUNC_CALL = 1, 2
FETCH = 0x01

FRAME_POINTER = 10
LAST_REGISTER = 10
ARGUMENTS = (1, 2, 3, 4, 5)

_ALL_KERNELS = (3, 18)
_V4_KERNEL = (6, 6)


class Row:
    """One instruction of the table.

    :ivar name: unique name. :ivar opcode: the opcode byte.
    :ivar dst: 0 when unused, else ``r``, ``w`` or ``rw``: how the destination register is accessed.
    :ivar src: a required number, or ``r``, ``w``, ``rw``.
    :ivar off: a required number, or a role: ``memory``, ``jump``, ``fd``.
    :ivar imm: a required number, or a role: ``value``, ``jump``, ``helper``, ``call``, ``btf_id``, ``map``, ``index``,
        ``skb``. :ivar high: the same for a wide load's second slot (``value``, ``offset``, ``fd``).
    :ivar text: the canonical text form, llvm-objdump's. :ivar kernel_text: as the kernel's verifier prints it.
    :ivar aliases: further text forms that the assembler takes.
    :ivar mnemonic: the form of the mnemonic dialect. :ivar mnemonic_aliases: its further forms.
    :ivar kind: ``alu``, ``swap``, ``cast``, ``load``, ``store``, ``atomic``, ``packet``, ``wide``, ``jump``
        (conditional), ``goto``, ``call`` or ``exit``.
    :ivar operation: what it computes, compares or does, independent of width and source.
    :ivar width: bits of the computation or comparison, 0 where that means nothing. :ivar size: bytes of memory
        accessed, 0 for none. :ivar signed: whether a load or a move extends the sign.
    :ivar cpu: the first LLVM cpu version with it (v1 to v4). :ivar kernel: the first kernel release that takes it, or
        ``None`` when no released kernel does. :ivar group: the conformance group of RFC 9669, ``""`` outside the RFC.
    :ivar reads: registers read beside ``dst`` and ``src``; for calls those that may carry arguments.
    :ivar writes: registers written beside them. :ivar clobbers: registers whose value is lost.
    """

    __slots__ = (
        "aliases", "clobbers", "cpu", "dst", "group", "high", "imm", "kernel", "kernel_text", "kind", "mnemonic",
        "mnemonic_aliases", "name", "off", "opcode", "operation", "reads", "signed", "size", "src", "text", "width",
        "writes",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        opcode: int,
        kind: str,
        operation: str,
        text: str,
        mnemonic: str,
        *,
        dst: Field = 0,
        src: Field = 0,
        off: Field = 0,
        imm: Field = 0,
        high: Field = 0,
        kernel_text: str = "",
        aliases: tuple[str, ...] = (),
        mnemonic_aliases: tuple[str, ...] = (),
        width: int = 0,
        size: int = 0,
        signed: bool = False,
        cpu: int = 1,
        kernel: tuple[int, int] | None = _ALL_KERNELS,
        group: str = "",
        reads: tuple[int, ...] = (),
        writes: tuple[int, ...] = (),
        clobbers: tuple[int, ...] = (),
    ) -> None:
        self.name = name
        self.opcode = opcode
        self.kind = kind
        self.operation = operation
        self.text = text
        self.mnemonic = mnemonic
        self.dst = dst
        self.src = src
        self.off = off
        self.imm = imm
        self.high = high
        self.kernel_text = kernel_text or text
        self.aliases = aliases
        self.mnemonic_aliases = mnemonic_aliases
        self.width = width
        self.size = size
        self.signed = signed
        self.cpu = cpu
        self.kernel = kernel
        self.group = group
        self.reads = reads
        self.writes = writes
        self.clobbers = clobbers

    def __repr__(self) -> str:
        return f"<Row {self.name} 0x{self.opcode:02x}>"

    def matches(self, insn: Instruction) -> bool:
        """Whether the instruction is this row's: opcode and every required value agree."""
        return insn.opcode == self.opcode and not self.mismatches(insn)

    def mismatches(self, insn: Instruction) -> list[tuple[str, int, int]]:
        """The fields that differ from required values: name, value, required value."""
        return [
            (name, value, required)
            for name, value, required in (
                ("dst", insn.dst, self.dst),
                ("src", insn.src, self.src),
                ("off", insn.off, self.off),
                ("imm", insn.imm, self.imm),
                ("high", insn.high, self.high),
            )
            if isinstance(required, int) and value != required
        ]


_ALU_OPERATIONS = (
    # operation, code, text operator
    ("add", 0x00, "+="),
    ("sub", 0x10, "-="),
    ("mul", 0x20, "*="),
    ("div", 0x30, "/="),
    ("or", 0x40, "|="),
    ("and", 0x50, "&="),
    ("lsh", 0x60, "<<="),
    ("rsh", 0x70, ">>="),
    ("mod", 0x90, "%="),
    ("xor", 0xA0, "^="),
    ("mov", 0xB0, "="),
    ("arsh", 0xC0, "s>>="),
)
_SIGNED_OPERATIONS = (("sdiv", 0x30, "s/="), ("smod", 0x90, "s%="))
_CONDITIONS = (
    # operation, code, text operator, cpu version and kernel of the 64-bit form
    ("jeq", 0x10, "==", 1, _ALL_KERNELS),
    ("jgt", 0x20, ">", 1, _ALL_KERNELS),
    ("jge", 0x30, ">=", 1, _ALL_KERNELS),
    ("jset", 0x40, "&", 1, _ALL_KERNELS),
    ("jne", 0x50, "!=", 1, _ALL_KERNELS),
    ("jsgt", 0x60, "s>", 1, _ALL_KERNELS),
    ("jsge", 0x70, "s>=", 1, _ALL_KERNELS),
    ("jlt", 0xA0, "<", 2, (4, 14)),
    ("jle", 0xB0, "<=", 2, (4, 14)),
    ("jslt", 0xC0, "s<", 2, (4, 14)),
    ("jsle", 0xD0, "s<=", 2, (4, 14)),
)
_ATOMIC_OPERATIONS = (("add", 0x00, "+="), ("or", 0x40, "|="), ("and", 0x50, "&="), ("xor", 0xA0, "^="))


def _alu_rows() -> list[Row]:
    rows: list[Row] = []
    for width, klass, w, suffix in ((64, ALU64, "", ""), (32, ALU, ".w", "32")):
        d, s = "{dst" + w + "}", "{src" + w + "}"
        for signed, operations in ((False, _ALU_OPERATIONS), (True, _SIGNED_OPERATIONS)):
            for operation, code, sign in operations:
                common: dict[str, Any] = {
                    "dst": "w" if operation == "mov" else "rw",
                    "off": 1 if signed else 0,
                    "width": width,
                    "cpu": 4 if signed else 1,
                    "kernel": _V4_KERNEL if signed else _ALL_KERNELS,
                    "group": f"divmul{width}" if operation in _DIVMUL else f"base{width}",
                }
                word = operation + suffix
                rows += (
                    Row(f"{operation}{width}_imm", klass | K | code, "alu", operation, f"{d} {sign} {{imm}}",
                        f"{word} {{dst}}, {{imm}}", imm="value", **common),
                    Row(f"{operation}{width}_reg", klass | X | code, "alu", operation, f"{d} {sign} {s}",
                        f"{word} {{dst}}, {{src}}", src="r", **common),
                )  # fmt: skip
        rows.append(
            Row(f"neg{width}", klass | K | 0x80, "alu", "neg", f"{d} = -{d}", f"neg{suffix} {{dst}}",
                dst="rw", width=width, group=f"base{width}")
        )  # fmt: skip
        for bits in (8, 16, 32)[: 3 if width == 64 else 2]:
            rows.append(
                Row(f"movsx{bits}_{width}", klass | X | 0xB0, "alu", "movsx", f"{d} = (s{bits}){s}",
                    f"movsx{bits}{width} {{dst}}, {{src}}", dst="w", src="r", off=bits, width=width, size=0,
                    signed=True, cpu=4, kernel=_V4_KERNEL, group=f"base{width}")
            )  # fmt: skip
    return rows


_DIVMUL = frozenset({"mul", "div", "mod", "sdiv", "smod"})


def _swap_and_cast_rows() -> list[Row]:
    rows: list[Row] = []
    for operation, opcode, cpu, kernel, others in (
        ("le", 0xD4, 1, _ALL_KERNELS, ()),
        ("be", 0xDC, 1, _ALL_KERNELS, ()),
        ("bswap", 0xD7, 4, _V4_KERNEL, ("swap",)),
    ):
        for bits in (16, 32, 64):
            rows.append(
                Row(f"{operation}{bits}", opcode, "swap", operation, f"{{dst}} = {operation}{bits} {{dst}}",
                    f"{operation}{bits} {{dst}}", mnemonic_aliases=tuple(f"{o}{bits} {{dst}}" for o in others),
                    dst="rw", imm=bits, width=bits, cpu=cpu, kernel=kernel,
                    group="base64" if bits == 64 else "base32")
            )  # fmt: skip
    for name, to, of in (("cast_kernel", 0, 1), ("cast_user", 1, 0)):
        rows.append(
            Row(name, ALU64 | X | 0xB0, "cast", "addr_space_cast",
                f"{{dst}} = addr_space_cast({{src}}, {to}, {of})", f"addr_space_cast {{dst}}, {{src}}, {to}, {of}",
                dst="w", src="r", off=1, imm=to << 16 | of, width=64, cpu=1, kernel=(6, 9))
        )  # fmt: skip
    return rows


def _memory_rows() -> list[Row]:
    rows: list[Row] = []
    for size in (1, 2, 4, 8):
        letter, code, bits = SIZE_LETTERS[size], SIZE_CODES[size], size * 8
        narrow = size < 8
        group = "base32" if narrow else "base64"
        rows += (
            Row(f"load{bits}", LDX | MODE_MEM | code, "load", "load", f"{{dst}} = *(u{bits} *)({{src}}{{off}})",
                f"ldx{letter} {{dst}}, [{{src}}{{off}}]", dst="w", src="r", off="memory", size=size, group=group,
                aliases=(f"{{dst.w}} = *(u{bits} *)({{src}}{{off}})",) if narrow else ()),
            Row(f"store{bits}_imm", ST | MODE_MEM | code, "store", "store",
                f"*(u{bits} *)({{dst}}{{off}}) = {{imm}}", f"st{letter} [{{dst}}{{off}}], {{imm}}", dst="r",
                off="memory", imm="value", size=size, group=group),
            Row(f"store{bits}_reg", STX | MODE_MEM | code, "store", "store",
                f"*(u{bits} *)({{dst}}{{off}}) = {{src}}", f"stx{letter} [{{dst}}{{off}}], {{src}}", dst="r",
                src="r", off="memory", size=size, group=group,
                aliases=(f"*(u{bits} *)({{dst}}{{off}}) = {{src.w}}",) if narrow else ()),
        )  # fmt: skip
        if narrow:
            rows.append(
                Row(f"load_signed{bits}", LDX | MODE_MEMSX | code, "load", "load",
                    f"{{dst}} = *(s{bits} *)({{src}}{{off}})", f"ldxs{letter} {{dst}}, [{{src}}{{off}}]", dst="w",
                    src="r", off="memory", size=size, signed=True, cpu=4, kernel=_V4_KERNEL, group="base64")
            )  # fmt: skip
        reg, other = ("", "") if size == 8 else (".w", "")
        rows += (
            Row(f"load_acquire{bits}", STX | MODE_ATOMIC | code, "atomic", "load_acquire",
                f"{{dst{reg}}} = load_acquire((u{bits} *)({{src}}{{off}}))",
                f"ldacq{letter} {{dst}}, [{{src}}{{off}}]", dst="w", src="r", off="memory", imm=0x100, size=size,
                cpu=4, kernel=(6, 15), kernel_text=f"{{dst}} = load_acquire((u{bits} *)({{src}}{{off}}))",
                aliases=(f"{{dst{other}}} = load_acquire((u{bits} *)({{src}}{{off}}))",) if narrow else ()),
            Row(f"store_release{bits}", STX | MODE_ATOMIC | code, "atomic", "store_release",
                f"store_release((u{bits} *)({{dst}}{{off}}), {{src{reg}}})",
                f"strel{letter} [{{dst}}{{off}}], {{src}}", dst="r", src="r", off="memory", imm=0x110, size=size,
                cpu=4, kernel=(6, 15), kernel_text=f"store_release((u{bits} *)({{dst}}{{off}}), {{src}})",
                aliases=(f"store_release((u{bits} *)({{dst}}{{off}}), {{src{other}}})",) if narrow else ()),
        )  # fmt: skip
    return rows


def _atomic_rows() -> list[Row]:
    rows: list[Row] = []
    for size, reg, suffix, kernel_suffix in ((8, "", "", "64"), (4, ".w", "32", "")):
        bits = size * 8
        opcode = STX | MODE_ATOMIC | SIZE_CODES[size]
        place = f"(u{bits} *)({{dst}}{{off}})"
        s = f"{{src{reg}}}"

        def both(form: str, narrow: bool = size == 4, own: str = s) -> tuple[str, ...]:
            """The form with the 64-bit register names, for instructions whose canonical form has the 32-bit ones."""
            return (form.replace(own, "{src}"),) if narrow else ()

        for operation, code, sign in _ATOMIC_OPERATIONS:
            common: dict[str, Any] = {
                "dst": "r",
                "off": "memory",
                "size": size,
                "group": f"atomic{bits}",
                "width": bits,
            }
            plain = f"lock *{place} {sign} {s}"
            fetch = f"{s} = atomic_fetch_{operation}({place}, {s})"
            old = operation == "add"
            rows += (
                Row(f"atomic_{operation}{bits}", opcode, "atomic", operation, plain,
                    f"lock {operation}{suffix} [{{dst}}{{off}}], {{src}}", src="r", imm=code,
                    kernel_text=plain.replace(s, "{src}"), aliases=both(plain), cpu=1 if old else 3,
                    kernel=_ALL_KERNELS if old else (5, 12), **common),
                Row(f"atomic_fetch_{operation}{bits}", opcode, "atomic", f"fetch_{operation}", fetch,
                    f"lock fetch {operation}{suffix} [{{dst}}{{off}}], {{src}}", src="rw", imm=code | FETCH,
                    kernel_text=f"{{src}} = atomic{kernel_suffix}_fetch_{operation}({place}, {{src}})",
                    aliases=both(fetch), cpu=3, kernel=(5, 12), **common),
            )  # fmt: skip
        llvm = "xchg_64" if size == 8 else "xchg32_32"
        acc = "r0" if size == 8 else "w0"
        common = {"dst": "r", "off": "memory", "size": size, "group": f"atomic{bits}", "width": bits, "cpu": 3}
        rows += (
            Row(f"atomic_xchg{bits}", opcode, "atomic", "xchg", f"{s} = {llvm}({{dst}}{{off}}, {s})",
                f"lock xchg{suffix} [{{dst}}{{off}}], {{src}}", src="rw", imm=0xE1,
                kernel_text=f"{{src}} = atomic{kernel_suffix}_xchg({place}, {{src}})", kernel=(5, 12), **common),
            Row(f"atomic_cmpxchg{bits}", opcode, "atomic", "cmpxchg",
                f"{acc} = cmp{llvm}({{dst}}{{off}}, {acc}, {s})",
                f"lock cmpxchg{suffix} [{{dst}}{{off}}], {{src}}", src="r", imm=0xF1, reads=(0,), writes=(0,),
                kernel_text=f"r0 = atomic{kernel_suffix}_cmpxchg({place}, r0, {{src}})", kernel=(5, 12), **common),
        )  # fmt: skip
    return rows


def _wide_rows() -> list[Row]:
    def row(
        name: str,
        src: int,
        operation: str,
        value: str,
        kernel: tuple[int, int],
        *,
        imm: str,
        high: Field = 0,
        alias: str = "",
    ) -> Row:
        names = (f"{{dst}} = {alias}",) if alias else ()
        return Row(
            name, LD | MODE_IMM | 0x18, "wide", operation, f"{{dst}} = {value} ll", f"lddw {{dst}}, {value}",
            dst="w", src=src, imm=imm, high=high, width=64, kernel=kernel, group="base64",
            kernel_text=f"{{dst}} = {value}", aliases=tuple(f"{form} ll" for form in names) + names,
            mnemonic_aliases=tuple(form.replace("{dst} =", "lddw {dst},") for form in names),
        )  # fmt: skip

    return [
        Row(
            "load_imm64", LD | MODE_IMM | 0x18, "wide", "imm64", "{dst} = {wide} ll", "lddw {dst}, {wide}",
            dst="w", imm="value", high="value", width=64, group="base64", kernel_text="{dst} = {wide}",
        ),
        row("load_map_fd", PSEUDO_MAP_FD, "map", "map[fd:{imm}]", _ALL_KERNELS, imm="map", alias="map[{map}]"),
        row("load_map_value", PSEUDO_MAP_VALUE, "map_value", "map[fd:{imm}][0]+{high}", (5, 2), imm="map",
            high="offset", alias="map[{map}][0]+{high}"),
        row("load_btf_id", PSEUDO_BTF_ID, "btf_id", "btf[id:{imm}]", (5, 10), imm="btf_id"),
        row("load_module_btf_id", PSEUDO_BTF_ID, "btf_id", "btf[id:{imm}, fd:{high}]", (5, 11), imm="btf_id",
            high="fd"),
        row("load_func", PSEUDO_FUNC, "func", "subprog[{callee.d}]", (5, 13), imm="call"),
        row("load_map_index", PSEUDO_MAP_IDX, "map", "map[idx:{imm}]", (5, 14), imm="index"),
        row("load_map_index_value", PSEUDO_MAP_IDX_VALUE, "map_value", "map[idx:{imm}][0]+{high}", (5, 14),
            imm="index", high="offset"),
    ]  # fmt: skip


def _packet_rows() -> list[Row]:
    rows: list[Row] = []
    for size in (4, 2, 1):
        bits = size * 8
        common: dict[str, Any] = {
            "imm": "skb", "size": size, "group": "packet", "kernel": (3, 19),
            "reads": (6,), "writes": (0,), "clobbers": ARGUMENTS,
        }  # fmt: skip
        letter, code = SIZE_LETTERS[size], SIZE_CODES[size]
        rows += (
            Row(f"load_abs{bits}", LD | MODE_ABS | code, "packet", "load_abs", f"r0 = *(u{bits} *)skb[{{imm}}]",
                f"ldabs{letter} {{imm}}", **common),
            Row(f"load_ind{bits}", LD | MODE_IND | code, "packet", "load_ind",
                f"r0 = *(u{bits} *)skb[{{src}} + {{imm}}]", f"ldind{letter} {{src}}, {{imm}}", src="r",
                aliases=(f"r0 = *(u{bits} *)skb[{{src}}]",), **common),
        )  # fmt: skip
    return rows


def _jump_rows() -> list[Row]:
    rows: list[Row] = []
    for operation, code, sign, cpu, kernel in _CONDITIONS:
        for width, klass, w, suffix in ((64, JMP, "", ""), (32, JMP32, ".w", "32")):
            d, s = f"{{dst{w}}}", f"{{src{w}}}"
            common: dict[str, Any] = {
                "dst": "r", "off": "jump", "width": width, "group": f"base{width}",
                "cpu": cpu if width == 64 else 3, "kernel": kernel if width == 64 else (5, 1),
            }  # fmt: skip
            word = operation + suffix
            rows += (
                Row(f"{operation}{width}_imm", klass | K | code, "jump", operation,
                    f"if {d} {sign} {{imm}} goto {{target}}", f"{word} {{dst}}, {{imm}}, {{target}}", imm="value",
                    kernel_text=f"if {d} {sign} {{imm.x}} goto {{target.pc}}", **common),
                Row(f"{operation}{width}_reg", klass | X | code, "jump", operation,
                    f"if {d} {sign} {s} goto {{target}}", f"{word} {{dst}}, {{src}}, {{target}}", src="r",
                    kernel_text=f"if {d} {sign} {s} goto {{target.pc}}", **common),
            )  # fmt: skip
    return rows


def _control_rows() -> list[Row]:
    call: dict[str, Any] = {"reads": ARGUMENTS, "writes": (0,), "clobbers": ARGUMENTS, "group": "base32"}
    return [
        Row("goto", JMP, "goto", "goto", "goto {target}", "ja {target}", off="jump", group="base32",
            kernel_text="goto {target.pc}"),
        Row("gotol", JMP32, "goto", "goto", "gotol {target}", "ja32 {target}", imm="jump", cpu=4,
            kernel=_V4_KERNEL, group="base32", kernel_text="gotol {target.pc}"),
        Row("gotox", JMP | X, "goto", "goto_register", "gotox {dst}", "gotox {dst}", dst="r", cpu=4,
            kernel=(6, 19)),
        Row("may_goto", JMP | 0xE0, "jump", "may_goto", "may_goto {target}", "may_goto {target}", off="jump",
            kernel=(6, 9), kernel_text="may_goto {target.pc}"),
        Row("call_helper", JMP | 0x80, "call", "helper", "call {helper}", "call {helper}", imm="helper",
            kernel_text="call {helper.k}",
            **call),
        Row("call_local", JMP | 0x80, "call", "local", "call {callee}", "call local {callee.d}", src=PSEUDO_CALL,
            imm="call", cpu=3, kernel=(4, 16), **call),
        Row("call_kfunc", JMP | 0x80, "call", "kfunc", "call kfunc[id:{imm}]", "call kfunc[id:{imm}]",
            src=PSEUDO_KFUNC_CALL, imm="btf_id", kernel=(5, 13), aliases=("call kfunc[{kfunc}]",),
            mnemonic_aliases=("call kfunc[{kfunc}]",), **call),
        Row("call_module_kfunc", JMP | 0x80, "call", "kfunc", "call kfunc[id:{imm}, fd:{fd}]",
            "call kfunc[id:{imm}, fd:{fd}]", src=PSEUDO_KFUNC_CALL, off="fd", imm="btf_id", kernel=(5, 16),
            **call),
        Row("callx", JMP | X | 0x80, "call", "register", "callx {dst}", "call {dst}", dst="r", kernel=None,
            mnemonic_aliases=("callx {dst}",), **{**call, "group": "callx"}),
        Row("exit", JMP | 0x90, "exit", "exit", "exit", "exit", reads=(0,), group="base32"),
    ]  # fmt: skip


TABLE: tuple[Row, ...] = (
    *_alu_rows(),
    *_swap_and_cast_rows(),
    *_memory_rows(),
    *_atomic_rows(),
    *_wide_rows(),
    *_packet_rows(),
    *_jump_rows(),
    *_control_rows(),
)
"""Every instruction. Of rows with the same opcode, those with more required values come first."""

BY_NAME: dict[str, Row] = {row.name: row for row in TABLE}


def _by_opcode() -> dict[int, tuple[Row, ...]]:
    found: dict[int, list[Row]] = {}
    for row in TABLE:
        found.setdefault(row.opcode, []).append(row)

    def freedom(row: Row) -> int:
        return sum(isinstance(field, str) for field in (row.dst, row.src, row.off, row.imm, row.high))

    return {opcode: tuple(sorted(rows, key=freedom)) for opcode, rows in found.items()}


BY_OPCODE: dict[int, tuple[Row, ...]] = _by_opcode()


def find_row(insn: Instruction) -> Row | None:
    """The row of an instruction, or ``None`` when the table has none (unknown opcode, reserved field not zero)."""
    for row in BY_OPCODE.get(insn.opcode, ()):
        required = row.src
        if isinstance(required, int) and insn.src != required:
            continue
        if not row.mismatches(insn):
            return row
    return None


def version_text(version: tuple[int, int] | None) -> str:
    """A kernel release as people write it."""
    return "none" if version is None else f"{version[0]}.{version[1]}"
