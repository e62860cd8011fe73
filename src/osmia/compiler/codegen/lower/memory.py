"""Locals, globals, loads and stores, address arithmetic, and operations on whole pieces of memory."""

from __future__ import annotations

from osmia.compiler.codegen.address import Address
from osmia.compiler.codegen.lower.registry import lowers
from osmia.compiler.ir import KArray, Ptr, Space
from osmia.object.layout import Array, Bool, Enum, Int, Layout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from osmia.compiler.codegen.function import FunctionLowering
    from osmia.compiler.ir import Op, Value

LOOP_STEP = 64
"""Bytes that one round of a loop over memory handles."""
UNROLL = 1024
"""Pieces of memory up to this many bytes are handled without a loop."""
UNROLL_TEXT = 256
"""The same for the comparison of texts, which takes more code."""
STACK_LIMIT = 512


def scalar_type(layout: object) -> str:
    """The LLVM type of a loaded value."""
    if isinstance(layout, Enum):
        layout = layout.base
    if isinstance(layout, (Int, Bool)):
        return f"i{layout.size * 8}"
    return "ptr"


@lowers("local_get")
def _lower_local_get(f: FunctionLowering, op: Op) -> None:
    local = f.locals[op.attrs["local"]]
    value = f.assign(f"load {local.llvm}, ptr {local.name}, align {local.align}")
    if local.byte_bool:
        value = f.assign(f"icmp ne i8 {value}, 0")
    f.define(f.result(op), value)


@lowers("local_set")
def _lower_local_set(f: FunctionLowering, op: Op) -> None:
    local = f.locals[op.attrs["local"]]
    value = f.operand(op.args[0])
    if local.byte_bool:
        value = f.assign(f"zext i1 {value} to i8")
    f.emit(f"store {local.llvm} {value}, ptr {local.name}, align {local.align}")


@lowers("local_addr")
def _lower_local_addr(f: FunctionLowering, op: Op) -> None:
    local = f.locals[op.attrs["local"]]
    f.define_address(f.result(op), Address(local.name, 0, local.align))


@lowers("scratch_addr")
def _lower_scratch_addr(f: FunctionLowering, op: Op) -> None:
    source = f.address(op.args[0])
    f.define_address(f.result(op), source.moved(op.attrs["offset"]))


@lowers("load")
def _lower_load(f: FunctionLowering, op: Op) -> None:
    pointer, result = op.args[0], f.result(op)
    assert isinstance(pointer.type, Ptr)
    to = pointer.type.to
    type_ = scalar_type(to)
    value = f.load(pointer, 0, type_, width(to))
    if pointer.type.space is Space.BTF:
        # Hidden: LLVM would merge loads at the end of two branches into one, which the verifier refuses where one
        # pointer is to a kernel type and the other is not.
        value = f.hide(value, type_)
    if isinstance(to, Bool):
        value = f.assign(f"icmp ne i8 {value}, 0")
    f.define(result, value)


@lowers("store")
def _lower_store(f: FunctionLowering, op: Op) -> None:
    pointer, source = op.args
    assert isinstance(pointer.type, Ptr)
    value = f.operand(source)
    if isinstance(source.type, Bool):
        value = "1" if value == "true" else "0" if value == "false" else f.assign(f"zext i1 {value} to i8")
    f.store(pointer, 0, scalar_type(pointer.type.to), width(pointer.type.to), value)


def width(to: object) -> int:
    """Bytes of a scalar in memory."""
    return to.size if isinstance(to, Layout) else 8


@lowers("field")
def _lower_field(f: FunctionLowering, op: Op) -> None:
    f.define_address(f.result(op), f.address(op.args[0]).moved(op.attrs["offset"]))


def element_size(to: object) -> int:
    """Bytes of one element of what a pointer points to."""
    if isinstance(to, (Array, KArray)):
        element = to.element
        return element.size if isinstance(element, Layout) else 8
    return 1


@lowers("element")
def _lower_element(f: FunctionLowering, op: Op) -> None:
    pointer, index = op.args
    assert isinstance(pointer.type, Ptr)
    size = element_size(pointer.type.to)
    address = f.address(pointer)
    number = f.operand(index)
    if number.isdigit():
        f.define_address(f.result(op), address.moved(int(number) * size))
        return
    scaled = f.wide.get(index.name)
    if scaled is None:
        scaled = number if f.type_of(index) == "i64" else f.assign(f"zext {f.type_of(index)} {number} to i64")
    if size != 1:
        scaled = f.assign(f"mul i64 {scaled}, {size}")
    # Hidden: where LLVM knows that the sum has no carries it writes "or", which the verifier refuses on pointers.
    base = f.assign(f"getelementptr i8, ptr {address.base}, i64 {f.hide(scaled, 'i64')}")
    f.define_address(f.result(op), Address(base, address.offset, min(address.align, size & -size)))


@lowers("cast_ptr")
def _lower_cast_ptr(f: FunctionLowering, op: Op) -> None:
    f.define_address(f.result(op), f.address(op.args[0]))


@lowers("ptr_add")
def _lower_ptr_add(f: FunctionLowering, op: Op) -> None:
    base, amount = f.operand(op.args[0]), f.operand(op.args[1])
    f.define_pointer(f.result(op), f.assign(f"getelementptr i8, ptr {base}, i64 {amount}"))


@lowers("int_to_ptr")
def _lower_int_to_ptr(f: FunctionLowering, op: Op) -> None:
    f.define_pointer(f.result(op), f.assign(f"inttoptr i64 {f.operand(op.args[0])} to ptr"))


@lowers("ptr_to_int")
def _lower_ptr_to_int(f: FunctionLowering, op: Op) -> None:
    f.define(f.result(op), f.assign(f"ptrtoint ptr {f.operand(op.args[0])} to i64"))


@lowers("null")
def _lower_null(f: FunctionLowering, op: Op) -> None:
    f.define_pointer(f.result(op), "null")


@lowers("global_addr")
def _lower_global_addr(f: FunctionLowering, op: Op) -> None:
    variable = f.module.globals[op.attrs["name"]]
    f.define_address(f.result(op), Address(f'@"{variable.name}"', 0, 8))


# Pieces of memory


def pieces(size: int, align: int) -> list[tuple[int, int]]:
    """Offsets and widths that cover ``size`` bytes with naturally aligned accesses."""
    out = []
    at = 0
    while at < size:
        step = min(8, align)
        while step > size - at or at % step:
            step //= 2
        out.append((at, step))
        at += step
    return out


def _align_of(f: FunctionLowering, pointer: Value) -> int:
    """The alignment that accesses through the pointer must keep: the verifier is strict about stack and context."""
    assert isinstance(pointer.type, Ptr)
    space, to = pointer.type.space, pointer.type.to
    address = f.address(pointer)
    if space is Space.STACK:
        return address.offset_align()
    if space is Space.CTX:
        if isinstance(to, Array) and isinstance(to.element, Int):
            return to.element.size
        return Address("", address.offset, 8).offset_align()
    return 8


def loopable(f: FunctionLowering, pointer: Value, size: int) -> bool:
    """Whether memory of that size may be walked with a variable offset."""
    assert isinstance(pointer.type, Ptr)
    space = pointer.type.space
    if space in (Space.MAP, Space.RING, Space.GLOBAL, Space.MEM):
        return True
    # A piece of "stack" that is larger than the stack is scratch memory.
    return space is Space.STACK and (size > STACK_LIMIT or f.target.modern)


def _walk(f: FunctionLowering, size: int) -> tuple[str, str, str, str]:
    """Opens a loop over ``size`` bytes; returns offset, next offset's name, head and exit labels."""
    before, head, done = f.new_label(), f.new_label(), f.new_label()
    f.emit(f"br label %{before}")
    f.place(before)
    f.emit(f"br label %{head}")
    f.place(head)
    following = f.fresh()
    index = f.assign(f"phi i64 [ 0, %{before} ], [ {following}, %{{LATCH}} ]")
    return f.hide(index, "i64"), following, head, done


def _close(f: FunctionLowering, offset: str, following: str, head: str, done: str, size: int) -> None:
    latch = f.new_label()
    f.emit(f"br label %{latch}")
    f.place(latch)
    f.patch("{LATCH}", latch)
    f.emit(f"{following} = add i64 {offset}, {LOOP_STEP}")
    more = f.assign(f"icmp ult i64 {f.hide(following, 'i64')}, {size}")
    f.emit(f"br i1 {more}, label %{head}, label %{done}")
    f.place(done)


@lowers("copy")
def _lower_copy(f: FunctionLowering, op: Op) -> None:
    target, source = op.args
    size: int = op.attrs["size"]
    align = min(_align_of(f, target), _align_of(f, source))
    done = 0
    if size > UNROLL and loopable(f, target, size) and loopable(f, source, size):
        done = size - size % LOOP_STEP
        to, start = f.operand(target), f.operand(source)
        offset, following, head, after = _walk(f, done)
        to = f.assign(f"getelementptr i8, ptr {to}, i64 {offset}")
        start = f.assign(f"getelementptr i8, ptr {start}, i64 {offset}")
        for at, step in pieces(LOOP_STEP, align):
            f.raw_store(to, at, step, f.raw_load(start, at, step))
        _close(f, offset, following, head, after, done)
    rest = [(done + at, step) for at, step in pieces(size - done, align)]
    for first in range(0, len(rest), 8):
        group = [(at, step, f.load(source, at, f"i{step * 8}", step)) for at, step in rest[first : first + 8]]
        for at, step, value in group:
            f.store(target, at, f"i{step * 8}", step, value)


@lowers("zero")
def _lower_zero(f: FunctionLowering, op: Op) -> None:
    zero(f, op.args[0], op.attrs["size"])


def zero(f: FunctionLowering, target: Value, size: int) -> None:
    """Stores zeros."""
    align = _align_of(f, target)
    done = 0
    if size > UNROLL and loopable(f, target, size):
        done = size - size % LOOP_STEP
        to = f.operand(target)
        offset, following, head, after = _walk(f, done)
        to = f.assign(f"getelementptr i8, ptr {to}, i64 {offset}")
        for at, step in pieces(LOOP_STEP, align):
            f.raw_store(to, at, step, "0")
        _close(f, offset, following, head, after, done)
    for at, step in pieces(size - done, align):
        f.store(target, done + at, f"i{step * 8}", step, "0")


def _difference(f: FunctionLowering, a: Value, b: Value, at: int, count: int, align: int) -> str:
    """An ``i64`` that is zero when ``count`` bytes from ``at`` on are equal."""
    total = ""
    for offset, step in pieces(count, align):
        type_ = f"i{step * 8}"
        first = f.load(a, at + offset, type_, step)
        second = f.load(b, at + offset, type_, step)
        part = f.assign(f"xor {type_} {first}, {second}")
        if step != 8:
            part = f.assign(f"zext {type_} {part} to i64")
        total = f.assign(f"or i64 {total}, {part}") if total else part
    return total


@lowers("memeq")
def _lower_memeq(f: FunctionLowering, op: Op) -> None:
    a, b = op.args
    size: int = op.attrs["size"]
    align = min(_align_of(f, a), _align_of(f, b))
    result = f.slot("i1", "true")
    done = f.new_label()
    at = 0
    if size > UNROLL and loopable(f, a, size) and loopable(f, b, size):
        at = size - size % LOOP_STEP
        _memeq_loop(f, (a, b), at, align, (result, done))
    while at < size:
        count = min(LOOP_STEP, size - at)
        _leave_unless_equal(f, _difference(f, a, b, at, count, align), result, done)
        at += count
    f.emit(f"br label %{done}")
    f.place(done)
    f.define(f.result(op), f.assign(f"load i1, ptr {result}"))


def _leave_unless_equal(f: FunctionLowering, difference: str, result: str, done: str) -> None:
    differs, same = f.new_label(), f.new_label()
    # Hidden: LLVM would make one branch of each part of the difference, and the verifier walks them all.
    unequal = f.assign(f"icmp ne i64 {f.hide(difference, 'i64')}, 0")
    f.emit(f"br i1 {unequal}, label %{differs}, label %{same}")
    f.place(differs)
    f.emit(f"store i1 false, ptr {result}")
    f.emit(f"br label %{done}")
    f.place(same)


def _memeq_loop(
    f: FunctionLowering, operands: tuple[Value, Value], size: int, align: int, out: tuple[str, str]
) -> None:
    bases = [f.operand(value) for value in operands]
    offset, following, head, after = _walk(f, size)
    starts = [f.assign(f"getelementptr i8, ptr {base}, i64 {offset}") for base in bases]
    total = ""
    for at, step in pieces(LOOP_STEP, align):
        first, second = (f.raw_load(start, at, step) for start in starts)
        part = f.assign(f"xor i{step * 8} {first}, {second}")
        if step != 8:
            part = f.assign(f"zext i{step * 8} {part} to i64")
        total = f.assign(f"or i64 {total}, {part}") if total else part
    _leave_unless_equal(f, total, *out)
    _close(f, offset, following, head, after, size)


@lowers("streq")
def _lower_streq(f: FunctionLowering, op: Op) -> None:
    """Word by word, up to the first word that differs or has a NUL; that one decides."""
    a, b = op.args
    size: int = op.attrs["size"]
    align = min(_align_of(f, a), _align_of(f, b))
    difference, ends = f.slot("i64", "0"), f.slot("i64", "1")
    decide = f.new_label()
    at = 0
    if size > UNROLL_TEXT and loopable(f, a, size) and loopable(f, b, size):
        at = size - size % LOOP_STEP
        bases = [f.operand(value) for value in op.args]
        offset, following, head, after = _walk(f, at)
        starts = [f.assign(f"getelementptr i8, ptr {base}, i64 {offset}") for base in bases]
        for place, step in pieces(LOOP_STEP, align):
            first, second = (f.raw_load(start, place, step) for start in starts)
            _streq_word(f, first, second, step, (difference, ends, decide))
        _close(f, offset, following, head, after, at)
    for place, step in pieces(size - at, align):
        type_ = f"i{step * 8}"
        first, second = f.load(a, at + place, type_, step), f.load(b, at + place, type_, step)
        _streq_word(f, first, second, step, (difference, ends, decide))
    # All of it is equal and no NUL is in it: as if one followed.
    f.emit(f"store i64 0, ptr {difference}")
    f.emit(f"store i64 1, ptr {ends}")
    f.emit(f"br label %{decide}")
    f.place(decide)
    differs, nul = f.assign(f"load i64, ptr {difference}"), f.assign(f"load i64, ptr {ends}")
    # All bits up to the first NUL byte's marker: differences there count, those behind it do not.
    below = f.assign(f"xor i64 {nul}, {f.assign(f'sub i64 {nul}, 1')}")
    equal = f.assign(f"icmp eq i64 {f.assign(f'and i64 {differs}, {below}')}, 0")
    ended = f.assign(f"icmp ne i64 {nul}, 0")
    f.define(f.result(op), f.assign(f"and i1 {equal}, {ended}"))


def _streq_word(f: FunctionLowering, first: str, second: str, step: int, out: tuple[str, str, str]) -> None:
    """Leaves for the decision when two words differ or the first has a NUL byte."""
    difference, ends, decide = out
    type_ = f"i{step * 8}"
    ones = int.from_bytes(b"\1" * step, "little")
    differs = f.assign(f"xor {type_} {first}, {second}")
    # The lowest bit that is set here belongs to the first zero byte; bits above it may be set without one.
    lower = f.assign(f"sub {type_} {first}, {ones}")
    marked = f.assign(f"and {type_} {lower}, {f.assign(f'xor {type_} {first}, -1')}")
    marked = f.assign(f"and {type_} {marked}, {ones * 0x80}")
    if step != 8:
        differs, marked = f.assign(f"zext {type_} {differs} to i64"), f.assign(f"zext {type_} {marked} to i64")
    f.emit(f"store i64 {differs}, ptr {difference}")
    f.emit(f"store i64 {marked}, ptr {ends}")
    following = f.new_label()
    stop = f.hide(f.assign(f"or i64 {differs}, {marked}"), "i64")
    last = f.assign(f"icmp ne i64 {stop}, 0")
    f.emit(f"br i1 {last}, label %{decide}, label %{following}")
    f.place(following)


# Atomics

_RMW = {"add": "add", "and": "and", "or": "or", "xor": "xor", "xchg": "xchg"}


@lowers("atomic")
def _lower_atomic(f: FunctionLowering, op: Op) -> None:
    name = op.name.partition(".")[2]
    pointer = f.operand(op.args[0])
    type_ = f.type_of(op.args[1])
    align = int(type_[1:]) // 8
    values = [f.operand(value) for value in op.args[1:]]
    if name == "cmpxchg":
        pair = f.assign(
            f"cmpxchg ptr {pointer}, {type_} {values[0]}, {type_} {values[1]} seq_cst seq_cst, align {align}"
        )
        f.define(f.result(op), f.assign(f"extractvalue {{ {type_}, i1 }} {pair}, 0"))
        return
    fetch = name == "xchg" or bool(op.attrs.get("fetch"))
    value = values[0]
    if not value.isdigit() or value == "0" or name == "xchg":
        # An operand that changes nothing would become an atomic load or store, which BPF does not have in v3.
        value = f.hide(value, type_)
    order = "seq_cst" if fetch else "monotonic"
    old = f.assign(f"atomicrmw {_RMW[name]} ptr {pointer}, {type_} {value} {order}, align {align}")
    if fetch:
        # An unused old value must not turn an exchange into a plain store.
        f.define(f.result(op), f.hide(old, type_) if name == "xchg" else old)


@lowers("scratch_claim")
def _lower_scratch_claim(f: FunctionLowering, op: Op) -> None:
    pointer = f.operand(op.args[0])
    if f.target.modern:
        old = f.hide(f.assign(f"atomicrmw xchg ptr {pointer}, i32 {f.hide('1', 'i32')} seq_cst, align 4"), "i32")
        f.define(f.result(op), f.assign(f"icmp eq i32 {old}, 0"))
        return
    old = f.assign(f"load volatile i32, ptr {pointer}, align 4")
    free = f.assign(f"icmp eq i32 {old}, 0")
    take, after = f.new_label(), f.new_label()
    f.emit(f"br i1 {free}, label %{take}, label %{after}")
    f.place(take)
    f.emit(f"store volatile i32 1, ptr {pointer}, align 4")
    f.emit('call void asm sideeffect "", "~{memory}"()')
    f.emit(f"br label %{after}")
    f.place(after)
    f.define(f.result(op), free)


@lowers("scratch_release")
def _lower_scratch_release(f: FunctionLowering, op: Op) -> None:
    pointer = f.operand(op.args[0])
    f.emit('call void asm sideeffect "", "~{memory}"()')
    if op.attrs.get("shared") and f.target.modern:
        f.hide(f.assign(f"atomicrmw xchg ptr {pointer}, i32 {f.hide('0', 'i32')} seq_cst, align 4"), "i32")
    else:
        f.emit(f"store volatile i32 0, ptr {pointer}, align 4")


# Probe reads


def _helper_for(op: Op) -> str:
    kind, _, text = op.name.partition(".")[2].partition("_")
    return f"probe_read_{kind}{'_str' if text else ''}"


def _size_operand(f: FunctionLowering, op: Op) -> str:
    """The number of bytes to read; a run-time size is bounded where the verifier sees it."""
    size: int = op.attrs["size"]
    if len(op.args) < 3:
        return str(size)
    value, type_ = f.operand(op.args[2]), f.type_of(op.args[2])
    if value.isdigit():
        return str(min(int(value), size))
    if type_ != "i64":
        value = f.assign(f"zext {type_} {value} to i64")
    return f.least(f.hide(value, "i64"), size)


@lowers("read_mem", "read_str")
def _lower_read_mem(f: FunctionLowering, op: Op) -> None:
    target, source = f.operand(op.args[0]), f.operand(op.args[1])
    size = _size_operand(f, op)
    got = f.call_helper(_helper_for(op), "i64", [f"ptr {target}", f"i64 {size}", f"ptr {source}"])
    f.define(f.result(op), got)


@lowers("read_value")
def _lower_read_value(f: FunctionLowering, op: Op) -> None:
    source, result = op.args[0], f.result(op)
    assert isinstance(source.type, Ptr)
    to: object = source.type.to
    bytes_ = width(to)
    kind = "user" if source.type.space is Space.USER else "kernel"
    temp = f.temp()
    f.call_helper(f"probe_read_{kind}", "i64", [f"ptr {temp}", f"i64 {bytes_}", f"ptr {f.operand(source)}"])
    value = f.assign(f"load {scalar_type(to)}, ptr {temp}, align 8")
    if isinstance(to, Bool):
        value = f.assign(f"icmp ne i8 {value}, 0")
    f.define(result, value)
