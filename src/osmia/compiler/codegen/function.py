"""Lowers one function of the IR to LLVM's textual IR."""

from __future__ import annotations

from osmia.compiler.codegen.address import Address
from osmia.compiler.codegen.lower import LOWER
from osmia.compiler.codegen.lower.control import returns
from osmia.compiler.codegen.lower.memory import scalar_type, zero
from osmia.compiler.ir import Ptr, Space, Value
from osmia.compiler.ir.flow import Flow, memory_locals, zeroing
from osmia.compiler.ir.lives import Lives
from osmia.compiler.ir.ops import OPS
from osmia.object.layout import Array, Bool, Bytes, Char, Enum, Int, Layout, Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from osmia.compiler.codegen.module import ModuleLowering
    from osmia.compiler.codegen.target import Target
    from osmia.compiler.ir import Function, Op, ValueType

PURE_HELPERS = frozenset(
    {
        "get_current_pid_tgid", "get_current_uid_gid", "get_current_task", "get_current_task_btf",
        "get_smp_processor_id", "get_numa_node_id", "get_attach_cookie", "get_func_ip",
    }
)  # fmt: skip
"""Helpers without arguments, or with the context alone, that answer the same all through one run of a program."""


class LocalPlace:
    """Where a local lives.

    :ivar name: the alloca. :ivar llvm: type of a scalar. :ivar byte_bool: a bool kept as a byte, because its address is
        taken.
    """

    __slots__ = ("align", "byte_bool", "llvm", "name")

    def __init__(self, name: str, llvm: str, align: int, byte_bool: bool = False) -> None:
        self.name = name
        self.llvm = llvm
        self.align = align
        self.byte_bool = byte_bool


def llvm_type(type_: object) -> str:
    """The LLVM type of a value."""
    if isinstance(type_, Int):
        return f"i{type_.bits}"
    return "i1" if isinstance(type_, Bool) else "ptr"


class FunctionLowering:
    """The state while a function is lowered; operations' functions work through its methods."""

    def __init__(self, module: ModuleLowering, function: Function) -> None:
        self.module = module
        self.function = function
        self.target: Target = module.target
        self.return_type = returns(function.kind, function.result)
        self.lines: list[str] = []
        self.locals: dict[str, LocalPlace] = {}
        self.wide: dict[str, str] = {}
        self._head: list[str] = []
        self._values: dict[str, str] = {}
        self._addresses: dict[str, Address] = {}
        self._labels: dict[str, str] = {}
        self._count = 0
        self._debug = ""
        self._temp = ""

    # Text

    def emit(self, text: str) -> None:
        """An instruction without a result."""
        self.lines.append(f"  {text}{self._debug}")

    def fresh(self) -> str:
        """A name for a result."""
        self._count += 1
        return f"%t{self._count}"

    def assign(self, text: str, note: str = "") -> str:
        """An instruction with a result; returns its name."""
        name = self.fresh()
        self.lines.append(f"  {name} = {text}{self._debug}{note}")
        return name

    def new_label(self) -> str:
        """A label of this lowering's own."""
        self._count += 1
        return f"x{self._count}"

    def place(self, label: str) -> None:
        """Starts a basic block."""
        self.lines.append(f"{label}:")

    def label(self, name: str) -> str:
        """The LLVM label of a block of the IR."""
        return self._labels[name]

    def leave(self, label: str) -> None:
        """Branches to a block of the IR."""
        self.emit(f"br label %{self._labels[label]}")

    def patch(self, mark: str, text: str) -> None:
        """Replaces the last occurrence of a mark."""
        for index in range(len(self.lines) - 1, -1, -1):
            if mark in self.lines[index]:
                self.lines[index] = self.lines[index].replace(mark, text)
                return

    def need(self, declaration: str) -> None:
        """Makes sure that the module has a declaration."""
        self.module.declarations[declaration] = None

    # Values

    def result(self, op: Op) -> Value:
        """The operation's result value."""
        assert op.result is not None
        return op.result

    def define(self, value: Value, operand: str) -> None:
        """Binds a value of the IR to a scalar operand."""
        self._values[value.name] = operand

    def define_pointer(self, value: Value, operand: str) -> None:
        """Binds a value to an operand that may be a pointer."""
        self._values[value.name] = operand

    def define_address(self, value: Value, address: Address) -> None:
        """Binds a pointer value to a base with an offset."""
        if address.offset:
            self._addresses[value.name] = address
        else:
            self._values[value.name] = address.base
            self._addresses[value.name] = address

    def operand(self, value: Value) -> str:
        """The value as an LLVM operand."""
        found = self._values.get(value.name)
        if found is None:
            address = self._addresses[value.name]
            # Not remembered: the block at hand need not dominate other uses.
            found = self.assign(f"getelementptr i8, ptr {address.base}, i64 {address.offset}")
        return found

    def address(self, value: Value) -> Address:
        """A pointer as base and offset."""
        found = self._addresses.get(value.name)
        if found is None:
            assert isinstance(value.type, Ptr)
            to = value.type.to
            found = Address(self._values[value.name], 0, to.align if isinstance(to, Layout) else 8)
        return found

    def type_of(self, value: Value) -> str:
        """The LLVM type of a value."""
        return llvm_type(value.type)

    def hide(self, operand: str, type_: str) -> str:
        """A copy that LLVM knows nothing of; no instruction comes of it."""
        if type_ in {"i64", "ptr"}:
            return self.assign(f'call {type_} asm sideeffect "", "=r,0"({type_} {operand})')
        if type_ == "i32":
            return self.assign(f'call i32 asm sideeffect "", "=w,0"(i32 {operand})')
        wide = self.assign(f"zext {type_} {operand} to i32")
        return self.assign(f"trunc i32 {self.hide(wide, 'i32')} to {type_}")

    def least(self, value: str, most: int) -> str:
        """The lesser of an ``i64`` and a constant."""
        self.need("declare i64 @llvm.umin.i64(i64, i64)")
        return self.assign(f"call i64 @llvm.umin.i64(i64 {value}, i64 {most})")

    def bound(self, value: str, most: int) -> str:
        """The same ``i64``, known to be at most ``most``, with that bound visible to the verifier."""
        if most == 0:
            return "0"
        value = self.hide(value, "i64")
        if most & (most + 1) == 0:
            return self.assign(f"and i64 {value}, {most}")
        return self.least(value, most)

    def resize(self, operand: str, from_: str, to: str, signed: bool) -> str:
        """An integer in another width."""
        before, after = int(from_[1:]), int(to[1:])
        if before == after:
            return operand
        if operand.lstrip("-").isdigit() and after > before:
            number = int(operand) % (1 << before)
            if signed and number >> (before - 1):
                number -= 1 << before
            return str(number)
        verb = "trunc" if after < before else "sext" if signed else "zext"
        return self.assign(f"{verb} {from_} {operand} to {to}")

    def extend(self, operand: str, type_: ValueType, to: str) -> str:
        """A value in a wider type by its own signedness; pointers as they are."""
        if isinstance(type_, Int):
            return self.resize(operand, f"i{type_.bits}", to, type_.signed)
        if isinstance(type_, Bool) and to != "i1":
            if operand in ("true", "false"):
                return "1" if operand == "true" else "0"
            return self.assign(f"zext i1 {operand} to {to}")
        return operand

    def narrow(self, operand: str, type_: ValueType, from_: str = "i64") -> str:
        """A value of an integer or bool type out of a wider register."""
        if isinstance(type_, Bool):
            return self.assign(f"icmp ne {from_} {operand}, 0")
        assert isinstance(type_, Int)
        return self.resize(operand, from_, f"i{type_.bits}", type_.signed)

    def sign_note(self, type_: ValueType) -> str:
        """The attribute that says how a narrow argument is extended."""
        if isinstance(type_, Int) and type_.bits < 64:
            return " signext" if type_.signed else " zeroext"
        return " zeroext" if isinstance(type_, Bool) else ""

    # Memory

    def temp(self) -> str:
        """Eight bytes of stack for one operation."""
        if not self._temp:
            self._temp = self.array(8)
        return self._temp

    def array(self, size: int) -> str:
        """Bytes of stack, aligned to 8."""
        name = self.fresh()
        self._head.append(f"  {name} = alloca [{size} x i8], align 8")
        return name

    def slot(self, type_: str, value: str) -> str:
        """A variable of the lowering's own, set to a value here."""
        name = self.fresh()
        self._head.append(f"  {name} = alloca {type_}")
        self.emit(f"store {type_} {value}, ptr {name}")
        return name

    def raw_load(self, pointer: str, offset: int, width: int) -> str:
        """Loads ``width`` bytes at an LLVM pointer plus offset."""
        if offset:
            pointer = self.assign(f"getelementptr i8, ptr {pointer}, i64 {offset}")
        return self.assign(f"load i{width * 8}, ptr {pointer}, align {width}")

    def raw_store(self, pointer: str, offset: int, width: int, value: str) -> None:
        """Stores ``width`` bytes at an LLVM pointer plus offset."""
        if offset:
            pointer = self.assign(f"getelementptr i8, ptr {pointer}, i64 {offset}")
        self.emit(f"store i{width * 8} {value}, ptr {pointer}, align {width}")

    def load(self, pointer: Value, offset: int, type_: str, width: int) -> str:
        """Loads through a pointer of the IR; the context is read with offsets that nothing can take apart."""
        assert isinstance(pointer.type, Ptr)
        address = self.address(pointer).moved(offset)
        if pointer.type.space is Space.CTX:
            return self.assign(self._context_access("load", address, type_, width, ""))
        place = address.base
        if address.offset:
            place = self.assign(f"getelementptr i8, ptr {place}, i64 {address.offset}")
        return self.assign(f"load {type_}, ptr {place}, align {self._align(pointer, address, width)}")

    def store(self, pointer: Value, offset: int, type_: str, width: int, value: str) -> None:
        """Stores through a pointer of the IR."""
        assert isinstance(pointer.type, Ptr)
        address = self.address(pointer).moved(offset)
        if pointer.type.space is Space.CTX:
            self.emit(self._context_access("store", address, type_, width, value))
            return
        place = address.base
        if address.offset:
            place = self.assign(f"getelementptr i8, ptr {place}, i64 {address.offset}")
        self.emit(f"store {type_} {value}, ptr {place}, align {self._align(pointer, address, width)}")

    @staticmethod
    def _align(pointer: Value, address: Address, width: int) -> int:
        assert isinstance(pointer.type, Ptr)
        return min(width, address.offset_align()) if pointer.type.space is Space.STACK else width

    def context_load(self, pointer: Value, offset: int, type_: str, width: int) -> str:
        """The text of a load from the context."""
        return self._context_access("load", self.address(pointer).moved(offset), type_, width, "")

    def _context_access(self, verb: str, address: Address, type_: str, width: int, value: str) -> str:
        suffix = "p0" if type_ == "ptr" else type_
        name = f"@llvm.bpf.getelementptr.and.{verb}.{suffix}"
        given = "ptr, i1, i8, i8, i8, i1, ..." if verb == "load" else f"{type_}, ptr, i1, i8, i8, i8, i1, ..."
        returned = type_ if verb == "load" else "void"
        self.need(f"declare {returned} {name}({given})")
        stored = f"{type_} {value}, " if verb == "store" else ""
        return (
            f"call {returned} ({given}) {name}({stored}ptr elementtype(i8) {address.base}, i1 false, i8 0, i8 1, "
            f"i8 {width.bit_length() - 1}, i1 true, i32 {address.offset})"
        )

    def context(self, op: Op, position: int = 0) -> Value:
        """The context operand, or the function's own context parameter."""
        if len(op.args) > position:
            return op.args[position]
        return next(p for p in self.function.params if isinstance(p.type, Ptr) and p.type.space is Space.CTX)

    def call_helper(self, name: str, type_: str, arguments: list[str]) -> str:
        """Calls a helper by its name."""
        number = self.module.helper_number(name)
        attributes = " #1" if name.removeprefix("bpf_") in PURE_HELPERS else ""
        text = f"call {type_} inttoptr (i64 {number} to ptr)({', '.join(arguments)}){attributes}"
        if type_ == "void":
            self.emit(text)
            return ""
        return self.assign(text)

    # The function

    def lower(self) -> list[str]:
        """The function's definition."""
        function, module = self.function, self.module
        flow = Flow(function)
        scope, self._debug = module.subprogram(function)
        start = self._debug
        self._labels = {block.label: f"b{index}" for index, block in enumerate(function.blocks)}
        self._make_locals(flow)
        parameters = []
        self.place("entry")
        for index, (type_, note, parameter) in enumerate(module.parameters(function)):
            name = f"%a{index}"
            parameters.append(f"{type_}{note} {name}")
            if isinstance(parameter.type, (Int, Bool)) and type_ != llvm_type(parameter.type):
                name = self.narrow(name, parameter.type, type_)
            self.define_pointer(parameter, name)
        head = len(self.lines)
        zeros = zeroing(function, flow)
        lives = Lives(function, flow, zeros)
        self._zero_locals(zeros.get("", ()), lives)
        self.emit(f"br label %{self._labels[function.blocks[0].label]}")
        for label in flow.order:
            self.place(self._labels[label])
            self._debug = start
            self._mark("end", lives.ends_at.get(label, ()))
            self._zero_locals(zeros.get(label, ()), lives)
            for position, op in enumerate(flow.blocks[label].ops):
                span = op.span if op.span.line else function.span
                self._debug = module.debug_note(span, scope, function)
                self._mark("start", lives.starts.get((label, position), ()))
                LOWER[OPS[op.name].lower](self, op)
                self._mark("end", lives.ends.get((label, position), ()))
        self.lines[head:head] = self._head
        definition = module.function_head(function, ", ".join(parameters), scope)
        return [definition, *self.lines, "}"]

    def _make_locals(self, flow: Flow) -> None:
        in_memory = memory_locals(self.function)
        for index, (name, local) in enumerate(self.function.locals.items()):
            slot, type_ = f"%l{index}", local.type
            if isinstance(type_, (Struct, Array, Char, Bytes)):
                align = 8 if type_.size >= 8 else max(type_.align, 1 << max(type_.size - 1, 0).bit_length() >> 1, 1)
                align = min(8, align)
                self._head.append(f"  {slot} = alloca [{type_.size} x i8], align {align}")
                self.locals[name] = LocalPlace(slot, "", align)
            else:
                byte_bool = name in in_memory and isinstance(type_, Bool)
                llvm = scalar_type(type_) if isinstance(type_, Enum) or byte_bool else llvm_type(type_)
                size = type_.size if isinstance(type_, Layout) else 8
                self._head.append(f"  {slot} = alloca {llvm}, align {size}")
                self.locals[name] = LocalPlace(slot, llvm, size, byte_bool)
                if name not in in_memory:
                    zero_value = "null" if llvm == "ptr" else "false" if llvm == "i1" else "0"
                    self._head.append(f"  store {llvm} {zero_value}, ptr {slot}, align {size}{self._debug}")

    def _mark(self, what: str, names: tuple[str, ...] | list[str]) -> None:
        """Tells LLVM where locals begin or end to be alive, so that they can share their stack."""
        for name in names:
            size = self.function.locals[name].type
            bytes_ = size.size if isinstance(size, Layout) else 8
            self.need(f"declare void @llvm.lifetime.{what}.p0(i64, ptr)")
            self.emit(f"call void @llvm.lifetime.{what}.p0(i64 {bytes_}, ptr {self.locals[name].name})")

    def _zero_locals(self, names: tuple[str, ...] | list[str], lives: Lives) -> None:
        self._mark("start", [name for name in names if name in lives.tracked])
        for name in names:
            place, type_ = self.locals[name], self.function.locals[name].type
            if isinstance(type_, Layout):
                pointer = Value(f"zero {name}", Ptr(Space.STACK, type_))
                self.define_address(pointer, Address(place.name, 0, place.align))
                zero(self, pointer, type_.size)
