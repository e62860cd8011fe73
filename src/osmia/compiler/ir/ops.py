"""The table of operations: what each takes, gives and touches. ``docs/ir.md`` explains them.

Legality, the textual form, the evaluator, the passes and code generation all read these rows.

Operand kinds (a trailing ``?`` makes an operand optional, ``*`` stands for any number of them):

============ ==========================================================================================
``int``      an integer
``same``     the first operand's type
``cmp``      an integer, a bool or a pointer (``eq``/``ne``)
``scalar``   an integer or a bool
``bool``     a bool
``u64``      exactly that type
``index``    a ``u32`` or ``u64``
``wide``     an integer of 32 or 64 bits
``any``      a scalar, a pointer, a map or function reference
``ptr``      a pointer that is not null
``maybe``    a pointer that may be null
``ctx``      the program's context; where it is left out, the function's parameter of that space
``read``     a pointer, not null, to memory that programs read directly
``write``    a pointer, not null, to memory that programs write directly
``kernel``   an address in kernel memory (space ``kernel`` or ``btf``)
``user``     an address in user memory
``probe``    an address in kernel or user memory
``packet``   a packet pointer without a proven bound (``ctx.packet``)
============ ==========================================================================================

Attribute kinds: ``int``, ``size`` (an int from 1), ``offset`` (an int from 0), ``bool``, ``str``, ``bytes``, ``local``,
``map``, ``global``, ``function``, ``label``, ``cases`` (pairs of int and label), ``ktype``, ``steps``; a trailing ``?``
makes one optional.

Result rules: ``void``; ``bool``, ``u64``, ``s64``; ``first`` and ``second`` (that operand's type); ``int``, ``value``
(scalar or pointer), ``ptr``, ``any`` (void too): as declared; ``map``, ``func``; ``pointee`` (what the pointer's type
says); ``local`` (the local's type).
"""

from __future__ import annotations

DIRECT = ("stack", "ctx", "map", "ring", "global", "btf", "packet", "mem")
"""Spaces whose memory a program may load from directly."""
WRITABLE = ("stack", "ctx", "map", "ring", "global", "packet", "mem")
"""Spaces whose memory a program may store to directly."""


class OpRow:
    """One operation.

    :ivar name: as the textual form writes it. :ivar operands: kinds of the operands.
    :ivar attrs: kinds of attributes by name. :ivar result: the rule for the result's type.
    :ivar effects: of ``reads``, ``writes`` (memory), ``calls`` (the kernel or another function), ``keeps`` (never
        removed, even when the result is unused). No operation traps: every one has a defined outcome.
    :ivar labels: names of the attributes that hold labels. :ivar terminator: ends a block.
    :ivar evaluate: the evaluator's function. :ivar lower: the code generator's function.
    """

    __slots__ = ("attrs", "effects", "evaluate", "labels", "lower", "name", "operands", "result", "terminator")

    def __init__(
        self,
        name: str,
        operands: str = "",
        attrs: str = "",
        result: str = "void",
        effects: str = "",
        *,
        terminator: bool = False,
        function: str = "",
    ) -> None:
        self.name = name
        self.operands = tuple(operands.split())
        self.attrs: dict[str, str] = dict(pair.split(":", 1) for pair in attrs.split())
        self.result = result
        self.effects = frozenset(effects.split())
        self.terminator = terminator
        self.labels = tuple(key for key, kind in self.attrs.items() if kind in ("label", "cases"))
        self.evaluate = self.lower = function or name.replace(".", "_")

    @property
    def pure(self) -> bool:
        """Whether the result depends on the operands alone and nothing else happens."""
        return not self.effects and not self.terminator

    def __repr__(self) -> str:
        return f"OpRow({self.name!r})"


def _rows() -> tuple[OpRow, ...]:
    row = OpRow
    binary = ("add", "sub", "mul", "udiv", "sdiv", "umod", "smod", "and", "or", "xor", "shl", "lshr", "ashr")
    order = ("ult", "ule", "ugt", "uge", "slt", "sle", "sgt", "sge")
    return (
        row("const", attrs="value:int", result="value"),
        *(row(name, "scalar same" if name in ("and", "or", "xor") else "int same", "", "first", function="binary")
          for name in binary),
        row("neg", "int", "", "first", function="unary"),
        row("not", "scalar", "", "first", function="unary"),
        *(row(name, "cmp same", "", "bool", function="compare") for name in ("eq", "ne")),
        *(row(name, "int same", "", "bool", function="compare") for name in order),
        row("zext", "scalar", "", "int", function="convert"),
        row("sext", "int", "", "int", function="convert"),
        row("trunc", "int", "", "int", function="convert"),
        row("retype", "int", "", "int", function="convert"),
        row("select", "bool any any", "", "second"),
        row("bswap", "int", "", "first"),
        # Locals
        row("local.get", "", "local:local", "local", "reads"),
        row("local.set", "any", "local:local", "void", "writes"),
        row("local.addr", "", "local:local", "ptr"),
        # Memory
        row("load", "read", "", "pointee", "reads"),
        row("store", "write any", "", "void", "writes"),
        row("field", "ptr", "offset:offset name:str", "ptr"),
        row("element", "ptr index", "", "ptr"),
        row("cast.ptr", "maybe", "", "ptr"),
        row("ptr.add", "maybe u64", "", "ptr"),
        row("int.to.ptr", "u64", "", "ptr"),
        row("ptr.to.int", "maybe", "", "u64"),
        row("null", "", "", "ptr"),
        row("copy", "write read", "size:size", "void", "reads writes"),
        row("zero", "write", "size:size", "void", "writes"),
        row("memeq", "read read", "size:size", "bool", "reads"),
        row("streq", "read read", "size:size", "bool", "reads"),
        row("global.addr", "", "name:global", "ptr"),
        # Scratch memory: made by the scratch pass, not by front ends
        row("scratch.claim", "write", "", "bool", "reads writes keeps"),
        row("scratch.release", "write", "shared:bool?", "void", "writes keeps"),
        row("scratch.addr", "ptr", "offset:offset", "ptr"),
        # Probe reads
        row("read.kernel", "write kernel index?", "size:size", "s64", "reads writes calls keeps", function="read_mem"),
        row("read.user", "write user index?", "size:size", "s64", "reads writes calls keeps", function="read_mem"),
        row("read.kernel_str", "write kernel index?", "size:size", "s64", "reads writes calls keeps",
            function="read_str"),
        row("read.user_str", "write user index?", "size:size", "s64", "reads writes calls keeps", function="read_str"),
        row("read.value", "probe", "", "value", "reads"),
        # CO-RE
        row("core.field", "ptr", "base:ktype steps:steps", "ptr"),
        row("core.bitfield", "ptr", "base:ktype steps:steps", "int", "reads"),
        row("core.field_exists", "", "base:ktype steps:steps", "bool", function="core_info"),
        row("core.field_size", "", "base:ktype steps:steps", "u64", function="core_info"),
        row("core.field_offset", "", "base:ktype steps:steps", "u64", function="core_info"),
        row("core.type_exists", "", "base:ktype", "bool", function="core_info"),
        row("core.type_size", "", "base:ktype", "u64", function="core_info"),
        row("core.enum_value", "", "base:ktype enumerator:str", "int", function="core_info"),
        row("core.enum_exists", "", "base:ktype enumerator:str", "bool", function="core_info"),
        # Maps
        row("map.ref", "", "map:map", "map"),
        row("map.lookup", "read", "map:map", "ptr", "reads calls"),
        row("map.update", "read read", "map:map flags:int?", "s64", "reads writes calls keeps"),
        row("map.delete", "read", "map:map", "s64", "reads writes calls keeps"),
        row("ring.reserve", "", "map:map", "ptr", "calls keeps"),
        row("ring.submit", "write", "flags:int?", "void", "calls writes keeps", function="ring_end"),
        row("ring.discard", "write", "flags:int?", "void", "calls writes keeps", function="ring_end"),
        # Atomics
        *(row(f"atomic.{name}", "write wide", "fetch:bool?", "any", "reads writes keeps", function="atomic")
          for name in ("add", "and", "or", "xor")),
        row("atomic.xchg", "write wide", "", "second", "reads writes keeps", function="atomic"),
        row("atomic.cmpxchg", "write wide wide", "", "second", "reads writes keeps", function="atomic"),
        # Calls
        row("helper", "any*", "name:str", "any", "reads writes calls keeps"),
        row("call", "any*", "function:function", "any", "reads writes calls keeps"),
        row("func.addr", "", "function:function", "func"),
        row("kfunc", "any*", "name:str weak:bool?", "any", "reads writes calls keeps"),
        row("kfunc.exists", "", "name:str", "bool"),
        row("ksym.addr", "", "name:str weak:bool?", "ptr"),
        row("kconfig", "", "name:str", "value", "reads"),
        row("tail_call", "index ctx?", "map:map", "void", "reads writes calls keeps"),
        row("printk", "any*", "format:str", "void", "calls keeps"),
        row("ctx.packet", "ctx?", "offset:offset name:str", "ptr", "reads"),
        # Terminators
        row("br", "", "to:label", terminator=True),
        row("condbr", "bool", "then:label other:label", terminator=True),
        row("switch", "int", "cases:cases default:label", terminator=True),
        row("ret", "any?", "", terminator=True),
        row("unreachable", terminator=True),
        row("br.nonnull", "maybe", "then:label other:label", "ptr", terminator=True),
        row("br.inrange", "index", "count:size then:label other:label", "first", terminator=True),
        row("br.packet", "packet u64 packet", "size:size then:label other:label", "ptr", terminator=True),
    )  # fmt: skip


OPS: dict[str, OpRow] = {row.name: row for row in _rows()}
"""Every operation by name."""


def is_terminator(name: str) -> bool:
    """Whether the operation ends a block; false for names that are no operation."""
    row = OPS.get(name)
    return row is not None and row.terminator
