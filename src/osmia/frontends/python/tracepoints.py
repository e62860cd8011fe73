"""Fields of tracepoints: of system calls from the table, of others from BTF, else from the tracepoint's own format."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

from osmia.abi import syscalls
from osmia.abi.tracepoints import PREFIX, record_class
from osmia.compiler.ir import KArray, KType, Ptr, Space, Value
from osmia.diagnostics import UsageError
from osmia.diagnostics.text import did_you_mean
from osmia.frontends.python import kernel_fields
from osmia.frontends.python.contexts import Kind, at_offset
from osmia.frontends.python.numbers import convert
from osmia.frontends.python.values import KPtr, Mem, Num, Operand
from osmia.object.layout import S64, U32, U64, Bytes, Char, Int

if TYPE_CHECKING:
    from osmia.frontends.python.function import Fn

_TEXT_SIZE = 256
_ENTER, _EXIT = "sys_enter_", "sys_exit_"
_SIGNED = {"int": 32, "long": 64, "short": 16, "char": 8, "pid_t": 32, "loff_t": 64, "off_t": 64, "ssize_t": 64}
_UNSIGNED = {
    "unsigned int": 32, "unsigned": 32, "u32": 32, "uid_t": 32, "gid_t": 32, "umode_t": 16, "mode_t": 16,
    "unsigned char": 8, "unsigned short": 16, "qid_t": 32, "key_serial_t": 32, "u8": 8, "u16": 16,
}  # fmt: skip


def argument_type(ctype: str) -> Int:
    """The type of a system call's argument; addresses and everything else of 64 bits is ``u64``."""
    plain = " ".join(word for word in ctype.split() if word not in ("const", "__user"))
    if plain in _SIGNED:
        return Int(_SIGNED[plain], True)
    return Int(_UNSIGNED[plain]) if plain in _UNSIGNED else U64


class TracepointKind(Kind):
    """The record of a tracepoint.

    :ivar category: such as ``sched``. :ivar event: such as ``sched_switch``.
    """

    def __init__(self, category: str, event: str, machine: str, formats: Any) -> None:
        self.category = category
        self.event = event
        self.machine = machine
        self.formats = formats
        self.text = f"tracepoint {category}:{event}"
        self.struct = KType(PREFIX + record_class(category, event))

    def signature(self) -> tuple[Any, ...]:
        """Equal for tracepoints whose records one program can read."""
        if self.category == "syscalls" and self.event.startswith(_ENTER):
            return ("enter", *(self._syscall_args() or {}))
        return (self.struct.name,)

    def _syscall_args(self) -> dict[str, str] | None:
        """Argument names with C types of a system call's entry."""
        if self.category != "syscalls" or not self.event.startswith(_ENTER):
            return None
        try:
            return dict(syscalls.syscall(self.event.removeprefix(_ENTER), self.machine).args)
        except UsageError:
            return None

    def check(self, fn: Fn, node: ast.AST) -> None:
        """Refuses an event that this kernel does not have, as far as BTF can tell.

        :raises CompileError: PY204 with the nearest names.
        """
        if self.category == "syscalls":
            for prefix in (_ENTER, _EXIT):
                if self.event.startswith(prefix):
                    self._check_syscall(fn, self.event.removeprefix(prefix), prefix, node)
                    return
            raise fn.error(
                "PY204", node, f"there is no tracepoint {self.category}:{self.event}",
                hint="those of system calls are named syscalls:sys_enter_openat and syscalls:sys_exit_openat",
            )  # fmt: skip

    def _check_syscall(self, fn: Fn, name: str, prefix: str, node: ast.AST) -> None:
        try:
            syscalls.syscall(name, self.machine)
        except UsageError as error:
            near = error.hint
            raise fn.error(
                "PY204", node, f"there is no system call {name!r} on {self.machine}",
                hint=f"{near} (tracepoints are named syscalls:{prefix}NAME)" if near else None,
            ) from None  # fmt: skip

    # -- fields ---------------------------------------------------------------------------------------------------

    def attribute(self, fn: Fn, name: str, node: ast.AST) -> Operand:
        args = self._syscall_args()
        if args is not None and name in args:
            return self._syscall_argument(fn, list(args).index(name), argument_type(args[name]))
        if self.category == "syscalls" and self.event.startswith(_EXIT) and name == "ret":
            return Num(self._slot(fn, 16, (("ret", S64),), S64, "ret"), S64)
        if self.category == "syscalls" and name in ("id", "nr", "__syscall_nr"):
            return Num(self._slot(fn, 8, (("id", S64),), S64, "id"), S64)
        if self._has(fn, name):
            return kernel_fields.attribute(fn, self._record(fn), name, node)
        dynamic = f"__data_loc_{name}"
        if self._has(fn, dynamic):
            place = kernel_fields.attribute(fn, self._record(fn), dynamic, node)
            assert isinstance(place, Num)
            return self._dynamic_text(fn, place)
        return self._from_format(fn, name, args, node)

    def _has(self, fn: Fn, name: str) -> bool:
        """Whether BTF has a field of the record, other than the header that all records share."""
        types = fn.unit.types
        hidden = name == "__data" or (name == "ent" and self.category == "syscalls")
        return types is not None and not hidden and types.member(self.struct, name) is not None

    def _record(self, fn: Fn) -> KPtr:
        pointer = fn.fb.emit("cast.ptr", fn.context_value(), type=Ptr(Space.CTX, self.struct))
        return KPtr(pointer, self.struct)

    def _slot(self, fn: Fn, offset: int, steps: tuple[Any, ...], type: Int, name: str) -> Value:
        """A field of a system call's record: through BTF where it is known, else where it always was."""
        types = fn.unit.types
        if types is not None and types.member(self.struct, steps[0][0]) is not None:
            pointer = fn.fb.emit(
                "core.field", self._record(fn).value, type=Ptr(Space.CTX, type), base=self.struct, steps=steps
            )
        else:
            pointer = at_offset(fn, offset, type, name)
        return fn.load(pointer, type)

    def _syscall_argument(self, fn: Fn, index: int, type: Int) -> Num:
        steps = (("args", KArray(U64, 6)), (index, U64))
        value = self._slot(fn, 16 + 8 * index, steps, U64, f"args[{index}]")
        return Num(convert(fn, value, U64, type), type)

    def _dynamic_text(self, fn: Fn, location: Num) -> Mem:
        """Text of varying length: the low half of the field is its offset in the record."""
        offset = fn.fb.emit("and", fn.to_int(location, U64, ast.Constant(0)), fn.const(0xFFFF, U64), type=U64)
        start = fn.fb.emit("ptr.to.int", fn.context_value(), type=U64)
        address = fn.fb.emit("add", start, offset, type=U64)
        source = fn.fb.emit("int.to.ptr", address, type=Ptr(Space.KERNEL, None))
        target = fn.temp(Char(_TEXT_SIZE), "text")
        fn.fb.emit("zero", target.ptr, size=_TEXT_SIZE)
        result = fn.fb.emit("read.kernel_str", target.ptr, source, type=S64, size=_TEXT_SIZE)
        fn.unit.count_fault(fn, result)
        return target

    def _from_format(self, fn: Fn, name: str, args: dict[str, str] | None, node: ast.AST) -> Operand:
        rows = None if self.formats is None else self.formats(self.category, self.event)
        for field, ctype, offset, size, signed in rows or ():
            if field == name:
                return self._raw_field(fn, name, ctype, offset, size, signed, node)
        known = [] if fn.unit.types is None else fn.unit.types.member_names(self.struct)
        names = [item.removeprefix("__data_loc_") for item in known if item not in ("__data", "ent")]
        names += [row[0] for row in rows or ()]
        if args is not None:
            names = [*args, "id"]
        elif self.category == "syscalls":
            names = ["ret", "id"]
        if not names:
            types = fn.unit.types
            near = [] if types is None else types.near(self.struct.name)
            listed = [item.removeprefix(PREFIX) for item in near if item.startswith(PREFIX)]
            raise fn.error(
                "PY204", node, f"nothing is known of {self.text}: this kernel has no such record",
                hint=f"near it: {', '.join(listed)}" if listed else "check category:event",
            )  # fmt: skip
        near_name = did_you_mean(name, names)
        raise fn.error(
            "PY122", node, f"{self.text} has no field {name!r}",
            hint=f"{near_name + ' ' if near_name else ''}its fields: {', '.join(dict.fromkeys(names))}",
        )  # fmt: skip

    def _raw_field(self, fn: Fn, name: str, ctype: str, offset: int, size: int, signed: bool, node: ast.AST) -> Operand:
        if "__data_loc" in ctype:
            value = fn.load(at_offset(fn, offset, U32, name), U32)
            return self._dynamic_text(fn, Num(value, U32))
        if "[" in ctype:
            layout = Char(size) if "char" in ctype else Bytes(size)
            target = fn.temp(layout, name)
            start = fn.fb.emit("ptr.to.int", at_offset(fn, offset, layout, name), type=U64)
            source = fn.fb.emit("int.to.ptr", start, type=Ptr(Space.KERNEL, None))
            fn.fb.emit("read.kernel", target.ptr, source, type=S64, size=size)
            return Mem(target.ptr, layout, writable=False)
        if size not in (1, 2, 4, 8):
            raise fn.error("PY132", node, f"field {name} of {self.text} has a type that programs cannot take")
        kind = Int(size * 8, signed)
        return Num(fn.load(at_offset(fn, offset, kind, name), kind), kind)
