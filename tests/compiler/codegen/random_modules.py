"""Random legal modules, the same for the same seed: everything that the table of operations has, in every combination.

``wild`` modules use every operation and need not load; tame ones are deterministic programs that the verifier accepts.
"""

from __future__ import annotations

import random

from osmia.compiler.ir import (
    FUNC_REF,
    MAP_REF,
    VOID,
    Function,
    FunctionBuilder,
    Global,
    KArray,
    KType,
    Local,
    Module,
    Ptr,
    Space,
    Value,
)
from osmia.diagnostics import Span
from osmia.object.layout import (
    BOOL,
    S8,
    S16,
    S32,
    S64,
    U8,
    U16,
    U32,
    U64,
    Array,
    Bytes,
    Char,
    Enum,
    Int,
    Layout,
    Struct,
)
from osmia.object.spec import Hook, MapSpec

INTS = (U8, U16, U32, U64, S8, S16, S32, S64)
BINARY = ("add", "sub", "mul", "udiv", "sdiv", "umod", "smod", "and", "or", "xor", "shl", "lshr", "ashr")
COMPARE = ("eq", "ne", "ult", "ule", "ugt", "uge", "slt", "sle", "sgt", "sge")
CTX = Ptr(Space.CTX, Array(U64, 8))
TASK = KType("task_struct")
COLOUR = Enum("colour", U32, [("RED", 0), ("BLUE", 7)])
KEY = Struct.of("key", [("pid", U32), ("cpu", U16), ("flag", U8), ("on", BOOL), ("stamp", U64), ("colour", COLOUR)])
RECORD = Struct.of(
    "record", [("key", KEY), ("name", Char(16)), ("raw", Bytes(9)), ("counts", Array(U32, 5)), ("sum", S64)]
)
FILE = "random.py"
TAME = (
    "set", "set", "store", "store", "if", "switch", "loop", "copy", "zero", "call", "update", "lookup", "lookup",
    "atomic", "delete", "boolset", "inrange", "ptrlocal",
)  # fmt: skip
WILD = (
    "core", "bitfield", "info", "reads", "ring", "helper", "kfunc", "printk", "ksym", "kconfig", "tail", "while",
    "packet", "callback", "idiom", "idiom", "pointers", "mapref", "unreachable",
)  # fmt: skip
HELPERS = ("get_current_pid_tgid", "ktime_get_ns", "get_smp_processor_id", "get_prandom_u32", "comm", "loop")


def ptr(space: Space, to: object, nullable: bool = False, bound: int | None = None) -> Ptr:
    return Ptr(space, to, nullable, bound)


class Maker:
    """Writes one function."""

    def __init__(
        self, rnd: random.Random, module: Module, function: Function, wild: bool, callees: list[Function]
    ) -> None:
        self.rnd = rnd
        self.module = module
        self.function = function
        self.wild = wild
        self.callees = callees
        self.b = FunctionBuilder(function)
        self.scopes: list[list[Value]] = [list(function.params)]
        self.scalars: list[Local] = []
        self.memory: list[Local] = []
        self.line = 1
        self.loops = 0
        self.budget = 0

    # Values

    def put(self, value: Value) -> Value:
        self.scopes[-1].append(value)
        return value

    def const(self, type_: Int, value: int | None = None) -> Value:
        if value is None:
            special = [0, 1, 2, -1, 7, type_.bits - 1, type_.bits, 1 << (type_.bits - 1), (1 << (type_.bits - 1)) - 1]
            value = self.rnd.choice([*special, self.rnd.getrandbits(type_.bits)])
        _low, high = type_.range()
        value &= (1 << type_.bits) - 1
        return self.b.const(value - (1 << type_.bits) if value > high else value, type_)

    def known(self, type_: object) -> list[Value]:
        return [value for scope in self.scopes for value in scope if value.type == type_]

    def int(self, type_: Int, depth: int = 2) -> Value:
        found = self.known(type_)
        choice = self.rnd.random()
        if found and choice < 0.5:
            return self.rnd.choice(found[-8:])
        if depth <= 0 or choice < 0.6:
            return self.const(type_)
        return self.put(self.fresh_int(type_, depth - 1))

    def fresh_int(self, type_: Int, depth: int) -> Value:
        emit, rnd = self.b.emit, self.rnd
        kind = rnd.choice(["binary", "binary", "binary", "unary", "convert", "select", "local", "load", "bswap", "cmp"])
        if kind == "binary":
            return emit(rnd.choice(BINARY), self.int(type_, depth), self.int(type_, depth), type=type_)
        if kind == "unary":
            return emit(rnd.choice(("neg", "not")), self.int(type_, depth), type=type_)
        if kind == "bswap":
            return emit("bswap", self.int(type_, depth), type=type_)
        if kind == "select":
            return emit("select", self.bool(depth), self.int(type_, depth), self.int(type_, depth), type=type_)
        if kind == "cmp":
            return emit("zext", self.bool(depth), type=type_)
        if kind == "local":
            locals_ = [local for local in self.scalars if local.type == type_]
            if locals_:
                return self.b.get(rnd.choice(locals_))
        if kind == "load":
            place = self.place(type_)
            if place is not None:
                return emit("load", place, type=type_)
        source = rnd.choice([t for t in INTS if t != type_])
        value = self.int(source, depth)
        if source.bits == type_.bits:
            return emit("retype", value, type=type_)
        if source.bits > type_.bits:
            return emit("trunc", value, type=type_)
        return emit(rnd.choice(("zext", "sext")), value, type=type_)

    def bool(self, depth: int = 2) -> Value:
        emit, rnd = self.b.emit, self.rnd
        found = self.known(BOOL)
        choice = rnd.random()
        if found and choice < 0.3:
            return rnd.choice(found[-6:])
        if depth <= 0 or choice < 0.35:
            return self.b.const(rnd.randrange(2), BOOL)
        if choice < 0.85:
            type_ = rnd.choice(INTS)
            value = emit(rnd.choice(COMPARE), self.int(type_, depth - 1), self.int(type_, depth - 1), type=BOOL)
        elif choice < 0.92:
            value = emit(rnd.choice(("and", "or", "xor")), self.bool(depth - 1), self.bool(depth - 1), type=BOOL)
        elif choice < 0.96:
            value = emit("not", self.bool(depth - 1), type=BOOL)
        else:
            piece = self.two_pieces()
            if piece is None:
                return self.b.const(1, BOOL)
            a, b, size = piece
            value = emit(rnd.choice(("memeq", "streq")), a, b, type=BOOL, size=size)
        return self.put(value)

    # Memory

    def piece(self, write: bool = False) -> tuple[Value, Layout] | None:
        """A pointer to memory of this program and what is there."""
        choices: list[tuple[str, object]] = [("local", local) for local in self.memory]
        for item in self.module.globals.values():
            if not (write and item.section == ".rodata"):
                choices.append(("global", item))
        pointers = [
            value for scope in self.scopes for value in scope
            if isinstance(value.type, Ptr) and not value.type.nullable and isinstance(value.type.to, Layout)
            and value.type.space in (Space.MAP, Space.RING)
        ]  # fmt: skip
        choices += [("value", value) for value in pointers]
        if not choices:
            return None
        kind, item = self.rnd.choice(choices)
        if kind == "local":
            assert isinstance(item, Local) and isinstance(item.type, Layout)
            return self.b.addr(item, ptr(Space.STACK, item.type)), item.type
        if kind == "global":
            assert isinstance(item, Global)
            return self.b.emit("global.addr", type=ptr(Space.GLOBAL, item.layout), name=item.name), item.layout
        assert isinstance(item, Value) and isinstance(item.type, Ptr) and isinstance(item.type.to, Layout)
        return item, item.type.to

    def two_pieces(self) -> tuple[Value, Value, int] | None:
        a, b = self.piece(), self.piece()
        if a is None or b is None:
            return None
        size = self.rnd.randint(1, min(a[1].size, b[1].size))
        return a[0], b[0], size

    def place(self, type_: Layout, write: bool = False) -> Value | None:
        """A pointer to a scalar of a type inside some memory."""
        found = self.piece(write)
        for _ in range(3):
            if found is None:
                return None
            pointer, layout = found
            result = self.inside(pointer, layout, type_)
            if result is not None:
                return result
            found = self.piece(write)
        return None

    def inside(self, pointer: Value, layout: Layout, type_: Layout) -> Value | None:
        assert isinstance(pointer.type, Ptr)
        space = pointer.type.space
        if layout == type_ or (isinstance(layout, Enum) and layout.base == type_):
            return pointer
        if isinstance(layout, Struct):
            fields = list(layout.fields)
            self.rnd.shuffle(fields)
            for field in fields:
                inner = self.b.emit("field", pointer, type=ptr(space, field.type), offset=field.offset, name=field.name)
                result = self.inside(inner, field.type, type_)
                if result is not None:
                    return result
        if isinstance(layout, Array):
            index = self.index(layout.count, space)
            inner = self.b.emit("element", pointer, index, type=ptr(space, layout.element))
            return self.inside(inner, layout.element, type_)
        if isinstance(layout, (Char, Bytes)) and type_ == U8:
            return self.b.emit("element", pointer, self.index(layout.size, space), type=ptr(space, U8))
        return None

    def index(self, count: int, space: Space) -> Value:
        """An index below ``count``: a constant, or one that was checked."""
        found = [
            value for value in self.known(U32) if getattr(self, "proven", {}).get(value.name, 1 << 40) <= count
        ]  # fmt: skip
        if found and self.rnd.random() < 0.7:
            return self.rnd.choice(found)
        return self.const(self.rnd.choice((U32, U64)), self.rnd.randrange(count))

    # Statements

    def block(self, count: int) -> None:
        self.scopes.append([])
        for _ in range(count):
            self.budget -= 1
            if self.budget < 0:
                break
            self.line += 1
            self.b.span = Span(FILE, self.line, self.rnd.randrange(60))
            self.statement()
        self.scopes.pop()

    def statement(self) -> None:
        kinds = TAME + WILD if self.wild else TAME
        getattr(self, f"do_{self.rnd.choice(kinds)}")()

    def do_set(self) -> None:
        if self.scalars:
            local = self.rnd.choice(self.scalars)
            if isinstance(local.type, Int):
                self.b.set(local, self.int(local.type, 3))

    def do_boolset(self) -> None:
        locals_ = [local for local in self.function.locals.values() if local.type == BOOL]
        if locals_:
            self.b.set(self.rnd.choice(locals_), self.bool())

    def do_store(self) -> None:
        type_ = self.rnd.choice((*INTS, BOOL))
        place = self.place(type_, True)
        if place is not None:
            self.b.emit("store", place, self.bool() if type_ == BOOL else self.int(type_))

    def do_ptrlocal(self) -> None:
        """A pointer kept in a local and used through it."""
        found = [local for local in self.memory if local.type == RECORD]
        if found:
            type_ = ptr(Space.STACK, RECORD)
            local = self.b.local("pointer", type_)
            self.b.set(local, self.b.addr(self.rnd.choice(found), type_))
            target = self.inside(self.b.get(local), RECORD, S64)
            if target is not None:
                self.b.emit("store", target, self.int(S64))

    def split(self, names: list[str]) -> list:
        return [self.b.new_block(name) for name in names]

    def do_if(self) -> None:
        then, other, after = self.split(["then", "else", "after"])
        self.b.emit("condbr", self.bool(), then=then.label, other=other.label)
        self.b.start(then)
        self.block(self.rnd.randint(0, 3))
        self.b.emit("br", to=after.label)
        self.b.start(other)
        self.block(self.rnd.randint(0, 2))
        self.b.emit("br", to=after.label)
        self.b.start(after)

    def do_switch(self) -> None:
        type_ = self.rnd.choice(INTS)
        value = self.int(type_)
        count = self.rnd.choice((1, 2, 3, 9 if self.wild else 3))
        numbers = self.rnd.sample(range(100), count)
        blocks = self.split(["case"] * count)
        default, after = self.split(["default", "after"])
        cases = tuple((number, block.label) for number, block in zip(numbers, blocks, strict=True))
        self.b.emit("switch", value, cases=cases, default=default.label)
        for block in [*blocks, default]:
            self.b.start(block)
            self.block(self.rnd.randint(0, 1))
            self.b.emit("br", to=after.label)
        self.b.start(after)

    def do_inrange(self) -> None:
        count = self.rnd.choice((1, 2, 5, 9, 16))
        then, after = self.split(["in", "after"])
        index = self.b.emit("br.inrange", self.int(U32), type=U32, count=count, then=then.label, other=after.label)
        self.b.start(then)
        self.with_index(index, count, self.rnd.randint(1, 3))
        self.b.emit("br", to=after.label)
        self.b.start(after)

    def with_index(self, index: Value, count: int, statements: int) -> None:
        self.scopes.append([index])
        proven = self.__dict__.setdefault("proven", {})
        proven[index.name] = count
        self.block(statements)
        self.scopes.pop()

    def do_loop(self) -> None:
        if self.loops >= 2:
            return
        self.loops += 1
        i = self.b.local("i", U32)
        self.b.set(i, self.b.const(0, U32))
        head, body, after = self.split(["head", "body", "after"])
        count = self.rnd.choice((1, 2, 5, 9))
        self.b.emit("br", to=head.label)
        self.b.start(head)
        now = self.b.get(i)
        index = self.b.emit("br.inrange", now, type=U32, count=count, then=body.label, other=after.label)
        self.b.start(body)
        self.with_index(index, count, self.rnd.randint(1, 3))
        self.b.set(i, self.b.emit("add", self.b.get(i), self.b.const(1, U32), type=U32))
        self.b.emit("br", to=head.label)
        self.b.start(after)
        self.loops -= 1

    def do_copy(self) -> None:
        target, source = self.piece(True), self.piece()
        if target is None or source is None or source[0].name == target[0].name:
            return
        size = min(target[1].size, source[1].size)
        size = size if self.rnd.random() < 0.5 else self.rnd.randint(1, size)
        self.b.emit("copy", target[0], source[0], size=size)

    def do_zero(self) -> None:
        target = self.piece(True)
        if target is not None:
            self.b.emit("zero", target[0], size=self.rnd.randint(1, target[1].size))

    def do_call(self) -> None:
        if not self.callees:
            return
        callee = self.rnd.choice(self.callees)
        arguments = []
        for parameter in callee.params:
            if isinstance(parameter.type, Int):
                arguments.append(self.int(parameter.type))
            elif parameter.type == BOOL:
                arguments.append(self.bool())
            else:
                found = self.known(parameter.type)
                if not found:
                    local = next((item for item in self.memory if parameter.type == ptr(Space.STACK, item.type)), None)
                    if local is None:
                        return
                    found = [self.b.addr(local, parameter.type)]
                arguments.append(self.rnd.choice(found))
        result = self.b.emit("call", *arguments, type=callee.result, function=callee.name)
        if callee.result is not VOID:
            self.put(result)

    def key(self, layout: Layout) -> Value | None:
        local = self.b.local("key", layout)
        place = self.b.addr(local, ptr(Space.STACK, layout))
        self.b.emit("zero", place, size=layout.size)
        inner = self.inside(place, layout, U32)
        if inner is not None:
            small = self.b.emit("and", self.int(U32), self.const(U32, 3), type=U32)
            self.b.emit("store", inner, small)
        return place

    def tables(self, *kinds: str) -> list[MapSpec]:
        return [spec for spec in self.module.maps.values() if spec.kind in kinds]

    def do_update(self) -> None:
        spec = self.rnd.choice(self.tables("hash", "array"))
        key = self.key(spec.key)
        value = self.b.local("value", spec.value)
        place = self.b.addr(value, ptr(Space.STACK, spec.value))
        inner = self.inside(place, spec.value, self.rnd.choice((U32, U64)))
        if inner is not None and isinstance(inner.type, Ptr) and isinstance(inner.type.to, Int):
            self.b.emit("store", inner, self.int(inner.type.to))
        self.put(self.b.emit("map.update", key, place, type=S64, map=spec.name, flags=self.rnd.choice((0, 0, 1, 2))))

    def do_delete(self) -> None:
        spec = self.rnd.choice(self.tables("hash"))
        self.put(self.b.emit("map.delete", self.key(spec.key), type=S64, map=spec.name))

    def do_lookup(self) -> None:
        spec = self.rnd.choice(self.tables("hash", "array"))
        found = self.b.emit("map.lookup", self.key(spec.key), type=ptr(Space.MAP, spec.value, True), map=spec.name)
        then, other, after = self.split(["found", "missing", "after"])
        value = self.b.emit("br.nonnull", found, type=ptr(Space.MAP, spec.value), then=then.label, other=other.label)
        self.b.start(then)
        self.scopes.append([value])
        self.block(self.rnd.randint(1, 3))
        self.scopes.pop()
        self.b.emit("br", to=after.label)
        self.b.start(other)
        self.block(self.rnd.randint(0, 1))
        self.b.emit("br", to=after.label)
        self.b.start(after)

    def do_atomic(self) -> None:
        type_ = self.rnd.choice((U32, U64, S32, S64))
        place = self.place(type_, True)
        if place is None or (isinstance(place.type, Ptr) and place.type.to != type_):
            return
        name = self.rnd.choice(("add", "and", "or", "xor", "xchg", "cmpxchg"))
        if name == "xchg":
            self.put(self.b.emit("atomic.xchg", place, self.int(type_), type=type_))
        elif name == "cmpxchg":
            self.put(self.b.emit("atomic.cmpxchg", place, self.int(type_), self.int(type_), type=type_))
        elif self.rnd.random() < 0.5:
            self.put(self.b.emit(f"atomic.{name}", place, self.int(type_), type=type_, fetch=True))
        else:
            self.b.emit(f"atomic.{name}", place, self.int(type_))

    # Wild statements

    def kernel_pointer(self, to: object, space: Space | None = None) -> Value:
        space = space or self.rnd.choice((Space.KERNEL, Space.USER))
        found = list(self.known(ptr(space, to)))
        if found:
            return self.rnd.choice(found)
        if space is Space.BTF:
            return self.put(self.b.emit("helper", type=ptr(space, to), name="get_current_task_btf"))
        return self.put(self.b.emit("int.to.ptr", self.int(U64), type=ptr(space, to)))

    def steps(self) -> tuple:
        return self.rnd.choice(
            (
                (("pid", S32),),
                (("real_parent", ptr(Space.KERNEL, TASK)),),
                (("comm", Char(16)),),
                (("comm", Char(16)), (self.rnd.randrange(16), U8)),
                (("se", KType("sched_entity")), ("vruntime", U64)),
                (("se", KType("sched_entity")), ("load", KType("load_weight")), ("weight", U64)),
                (("thread", KType("thread_struct")), ("tls_array", KArray(KType("desc_struct"), 3)),
                 (1, KType("desc_struct")), ("limit0", U16)),
                (("cpu_mask", KType("some_union", "union")), ("word", U64)),
                (("policy", COLOUR),),
                (("counts", Array(U64, 4)), (2, U64)),
            )
        )  # fmt: skip

    def do_core(self) -> None:
        space = self.rnd.choice((Space.KERNEL, Space.USER, Space.BTF))
        steps = self.steps()
        base = self.kernel_pointer(TASK, space)
        end = steps[-1][1]
        field = self.b.emit("core.field", base, type=ptr(space, end), base=TASK, steps=steps)
        value = end.base if isinstance(end, Enum) else end
        if isinstance(value, (Int, Ptr)):
            name = "load" if space is Space.BTF and self.rnd.random() < 0.5 else "read.value"
            self.put(self.b.emit(name, field, type=value))

    def do_bitfield(self) -> None:
        base = self.kernel_pointer(TASK, self.rnd.choice((Space.KERNEL, Space.USER, Space.BTF)))
        type_ = self.rnd.choice(INTS)
        steps = (("sched_reset_on_fork", self.rnd.choice((U32,))),)
        self.put(self.b.emit("core.bitfield", base, type=type_, base=TASK, steps=steps))

    def do_info(self) -> None:
        emit = self.b.emit
        name = self.rnd.choice(("field_exists", "field_size", "field_offset", "type_exists", "type_size", "enum_value",
                                "enum_exists"))  # fmt: skip
        if name.startswith("field"):
            self.put(emit(f"core.{name}", type=BOOL if "exists" in name else U64, base=TASK, steps=self.steps()))
        elif name.startswith("type"):
            base = self.rnd.choice(
                (TASK, KType("u", "union"), KType("thing_t", "typedef"), KType("hrtimer_mode", "enum"))
            )
            self.put(emit(f"core.{name}", type=BOOL if "exists" in name else U64, base=base))
        else:
            base = self.rnd.choice((KType("hrtimer_mode", "enum"), KType("colour_t", "typedef")))
            type_ = BOOL if "exists" in name else self.rnd.choice((U64, S64))
            self.put(emit(f"core.{name}", type=type_, base=base, enumerator=self.rnd.choice(("A", "HRTIMER_MODE_REL"))))

    def do_reads(self) -> None:
        target = self.piece(True)
        if target is None:
            return
        size = self.rnd.randint(1, target[1].size)
        name = self.rnd.choice(("read.kernel", "read.user", "read.kernel_str", "read.user_str"))
        space = Space.USER if "user" in name else self.rnd.choice((Space.KERNEL, Space.BTF))
        source = self.kernel_pointer(TASK, space)
        more = [self.int(self.rnd.choice((U32, U64)))] if self.rnd.random() < 0.4 else []
        self.put(self.b.emit(name, target[0], source, *more, type=S64, size=size))

    def do_ring(self) -> None:
        space = self.b.emit("ring.reserve", type=ptr(Space.RING, RECORD, True), map="ring")
        then, after = self.split(["reserved", "after"])
        record = self.b.emit("br.nonnull", space, type=ptr(Space.RING, RECORD), then=then.label, other=after.label)
        self.b.start(then)
        self.scopes.append([record])
        self.block(self.rnd.randint(1, 3))
        self.scopes.pop()
        self.b.emit(self.rnd.choice(("ring.submit", "ring.discard")), record, flags=self.rnd.choice((0, 1, 2)))
        self.b.emit("br", to=after.label)
        self.b.start(after)

    def do_helper(self) -> None:
        name = self.rnd.choice(HELPERS)
        if name == "comm":
            target = self.piece(True)
            if target is not None:
                size = self.b.const(min(16, target[1].size), U32)
                self.put(self.b.emit("helper", target[0], size, type=S64, name="get_current_comm"))
        elif name == "loop":
            callback = next((f for f in self.module.functions.values() if f.kind == "callback"), None)
            if callback is not None and self.memory and self.function.kind == "program":
                address = self.b.emit("func.addr", type=FUNC_REF, function=callback.name)
                local = self.memory[0]
                place = self.b.addr(local, ptr(Space.STACK, local.type))
                arguments = (self.int(U32), address, place, self.b.const(0, U64))
                self.put(self.b.emit("helper", *arguments, type=S64, name="loop"))
        else:
            self.put(self.b.emit("helper", type=self.rnd.choice(INTS), name=name))

    do_callback = do_helper

    def do_kfunc(self) -> None:
        task = self.kernel_pointer(TASK, Space.BTF)
        self.b.emit("kfunc", task, self.int(U32), name="bpf_some_kfunc", weak=False)
        self.put(self.b.emit("kfunc", self.bool(), self.int(S8), type=BOOL, name="bpf_weak_kfunc", weak=True))
        self.put(self.b.emit("kfunc.exists", type=BOOL, name=self.rnd.choice(("bpf_weak_kfunc", "bpf_other_kfunc"))))

    def do_printk(self) -> None:
        count = self.rnd.choice((0, 1, 3, 4, 12))
        values = [self.int(self.rnd.choice(INTS)) for _ in range(count)]
        self.b.emit("printk", *values, format='n\u00e9 "%%" ' + " ".join(["%d"] * count))

    def do_ksym(self) -> None:
        typed = self.rnd.random() < 0.5
        type_ = ptr(Space.BTF, KType("rq"), True) if typed else ptr(Space.KERNEL, None, True)
        name = "runqueues" if typed else "bpf_prog_fops"
        address = self.b.emit("ksym.addr", type=type_, name=name, weak=True)
        self.put(self.b.emit("ptr.to.int", address, type=U64))

    def do_kconfig(self) -> None:
        self.put(self.b.emit("kconfig", type=U32, name="CONFIG_HZ"))
        self.put(self.b.emit("kconfig", type=BOOL, name="CONFIG_BPF_SYSCALL"))

    def do_tail(self) -> None:
        has_context = any(p.type == CTX for p in self.function.params)
        if has_context and self.rnd.random() < 0.1 and self.function.kind == "program":
            self.b.emit("tail_call", self.int(U32), map="progs")

    def do_while(self) -> None:
        """A loop whose end LLVM may compute."""
        type_ = self.rnd.choice((U32, U64, S32, S64))
        i, total = self.b.local("w", type_), self.b.local("t", type_)
        n, step = self.int(type_), self.const(type_, self.rnd.choice((1, 1, 2, 3, -1)))
        self.b.set(i, self.int(type_))
        head, body, after = self.split(["head", "body", "after"])
        self.b.emit("br", to=head.label)
        self.b.start(head)
        now = self.b.get(i)
        self.b.emit(
            "condbr", self.b.emit(self.rnd.choice(COMPARE), now, n, type=BOOL), then=body.label, other=after.label
        )
        self.b.start(body)
        now = self.b.get(i)
        square = self.b.emit("mul", now, self.b.emit(self.rnd.choice(BINARY), now, n, type=type_), type=type_)
        term = now if self.rnd.random() < 0.5 else square
        name = self.rnd.choice(BINARY)
        self.b.set(total, self.b.emit(name, self.b.get(total), term, type=type_))
        self.b.set(i, self.b.emit("add", now, step, type=type_))
        self.b.emit("br", to=head.label)
        self.b.start(after)
        self.put(self.b.get(total))

    def do_packet(self) -> None:
        if not any(p.type == CTX for p in self.function.params):
            return
        emit = self.b.emit
        data = emit("ctx.packet", type=ptr(Space.PACKET, None), offset=4, name="data")
        end = emit("ctx.packet", type=ptr(Space.PACKET, None), offset=8, name="data_end")
        then, after = self.split(["packet", "after"])
        layout = self.rnd.choice((U8, U32, KEY, RECORD))
        size = layout.size + self.rnd.choice((0, 0, 20, 70000 - 5000))
        offset = self.const(U64, self.rnd.choice((0, 14, 70000))) if self.rnd.random() < 0.4 else self.int(U64)
        type_ = ptr(Space.PACKET, layout, False, min(size, 65535))
        header = emit(
            "br.packet", data, offset, end, type=type_, size=min(size, 65535), then=then.label, other=after.label
        )
        self.b.start(then)
        scalar = emit("cast.ptr", header, type=ptr(Space.PACKET, U8, False, min(size, 65535)))
        value = emit("load", scalar, type=U8)
        emit("store", emit("global.addr", type=ptr(Space.GLOBAL, U8), name="out_c"), value)
        found = self.piece(True)
        if found is not None:
            emit("copy", found[0], header, size=self.rnd.randint(1, min(found[1].size, layout.size)))
        emit("br", to=after.label)
        self.b.start(after)

    def do_pointers(self) -> None:
        emit = self.b.emit
        a = self.kernel_pointer(TASK, Space.KERNEL)
        moved = emit("ptr.add", a, self.int(U64), type=ptr(Space.KERNEL, U32))
        self.put(emit("read.value", moved, type=U32))
        null = emit("null", type=ptr(Space.KERNEL, TASK, True))
        self.put(emit("eq", a, null, type=BOOL))
        self.put(emit("ptr.to.int", moved, type=U64))
        array = emit("cast.ptr", a, type=ptr(Space.KERNEL, Array(U64, 100)))
        self.put(emit("element", array, self.int(U64), type=ptr(Space.KERNEL, U64)))

    def do_mapref(self) -> None:
        reference = self.b.emit("map.ref", type=MAP_REF, map="counts")
        key = self.key(U32)
        self.put(self.b.emit("helper", reference, key, type=S64, name="map_delete_elem"))

    def do_unreachable(self) -> None:
        then, after = self.split(["never", "after"])
        self.b.emit("condbr", self.bool(), then=then.label, other=after.label)
        self.b.start(then)
        self.b.emit("unreachable")
        self.b.start(after)

    def do_idiom(self) -> None:
        """Shapes that LLVM recognises and turns into something that BPF may not have."""
        emit = self.b.emit
        type_ = self.rnd.choice((U32, U64))
        a, b = self.int(type_), self.int(type_)
        half = type_.bits // 2
        low = self.const(type_, (1 << half) - 1)
        by = self.const(type_, half)
        kind = self.rnd.choice(("overflow", "high", "popcount", "trailing", "rotate", "swap", "least", "minmax", "abs",
                                "saturate", "fill", "crc", "compare", "sum", "average"))  # fmt: skip
        if kind == "overflow":
            product = emit("mul", a, b, type=type_)
            back = emit("udiv", product, b, type=type_)
            self.put(emit("ne", back, a, type=BOOL))
        elif kind == "high":
            parts = [emit("and", a, low, type=type_), emit("lshr", a, by, type=type_), emit("and", b, low, type=type_),
                     emit("lshr", b, by, type=type_)]  # fmt: skip
            ll = emit("mul", parts[0], parts[2], type=type_)
            lh, hl = emit("mul", parts[0], parts[3], type=type_), emit("mul", parts[1], parts[2], type=type_)
            hh = emit("mul", parts[1], parts[3], type=type_)
            middle = emit("add", hl, emit("lshr", ll, by, type=type_), type=type_)
            rest = emit("add", lh, emit("and", middle, low, type=type_), type=type_)
            total = emit("add", hh, emit("lshr", middle, by, type=type_), type=type_)
            self.put(emit("add", total, emit("lshr", rest, by, type=type_), type=type_))
        elif kind == "rotate":
            count = self.int(type_)
            left = emit("shl", a, count, type=type_)
            right = emit("lshr", a, emit("sub", self.const(type_, type_.bits), count, type=type_), type=type_)
            self.put(emit("or", left, right, type=type_))
        elif kind == "trailing":
            self.put(emit("and", a, emit("neg", a, type=type_), type=type_))
            self.put(emit("and", a, emit("sub", a, self.const(type_, 1), type=type_), type=type_))
        elif kind == "minmax":
            smaller = emit("ult", a, b, type=BOOL)
            least = emit("select", smaller, a, b, type=type_)
            self.put(emit("sub", a, least, type=type_))
        elif kind == "abs":
            signed = Int(type_.bits, True)
            value = emit("retype", a, type=signed)
            negative = emit("slt", value, self.const(signed, 0), type=BOOL)
            self.put(emit("select", negative, emit("neg", value, type=signed), value, type=signed))
        elif kind == "saturate":
            total = emit("add", a, b, type=type_)
            over = emit("ult", total, a, type=BOOL)
            self.put(emit("select", over, self.const(type_, -1), total, type=type_))
        elif kind == "average":
            together = emit("and", a, b, type=type_)
            half_apart = emit("lshr", emit("xor", a, b, type=type_), self.const(type_, 1), type=type_)
            self.put(emit("add", together, half_apart, type=type_))
        elif kind == "swap":
            total = self.const(type_, 0)
            for byte in range(type_.size):
                shifted = emit("lshr", a, self.const(type_, 8 * byte), type=type_)
                one = emit("and", shifted, self.const(type_, 255), type=type_)
                placed = emit("shl", one, self.const(type_, type_.bits - 8 - 8 * byte), type=type_)
                total = emit("or", total, placed, type=type_)
            self.put(total)
        else:
            self.idiom_loop(kind, type_, a)

    def idiom_loop(self, kind: str, type_: Int, a: Value) -> None:
        emit = self.b.emit
        value, count = self.b.local("v", type_), self.b.local("n", type_)
        self.b.set(value, a)
        self.b.set(count, self.const(type_, 0))
        head, body, after = self.split(["head", "body", "after"])
        emit("br", to=head.label)
        self.b.start(head)
        now = self.b.get(value)
        n = self.b.get(count)
        test = (
            emit("ult", n, self.const(type_, 64), type=BOOL)
            if kind in ("fill", "compare", "sum", "crc")
            else emit("ne", now, self.const(type_, 0), type=BOOL)
        )
        emit("condbr", test, then=body.label, other=after.label)
        self.b.start(body)
        one = self.const(type_, 1)
        if kind == "popcount":
            self.b.set(value, emit("and", now, emit("sub", now, one, type=type_), type=type_))
        elif kind == "least":
            self.b.set(value, emit("lshr", now, one, type=type_))
        elif kind == "crc":
            odd = emit("and", now, one, type=type_)
            shifted = emit("lshr", now, one, type=type_)
            mixed = emit("xor", shifted, self.const(type_, 0xEDB88320), type=type_)
            self.b.set(
                value, emit("select", emit("ne", odd, self.const(type_, 0), type=BOOL), mixed, shifted, type=type_)
            )
        elif kind == "sum":
            self.b.set(value, emit("add", now, emit("mul", n, n, type=type_), type=type_))
        else:
            array = self.b.local("buffer", Array(U8, 64))
            place = self.b.addr(array, ptr(Space.STACK, array.type))
            inside, out = self.split(["inside", "out"])
            index = emit("br.inrange", n, type=type_, count=64, then=inside.label, other=out.label)
            self.b.start(inside)
            byte = emit("element", place, index, type=ptr(Space.STACK, U8))
            emit("store", byte, self.const(U8, 0))
            emit("br", to=out.label)
            self.b.start(out)
        self.b.set(count, emit("add", n, one, type=type_))
        emit("br", to=head.label)
        self.b.start(after)
        self.put(self.b.get(count))

    # The function

    def write(self, statements: int, results: tuple[str, ...] = ()) -> None:
        for _ in range(self.rnd.randint(1, 5)):
            self.scalars.append(self.b.local("s", self.rnd.choice(INTS)))
        self.b.local("truth", BOOL)
        layouts: list[Layout] = [KEY, RECORD, Array(U64, 4), Char(16), Array(U8, 5), Array(KEY, 3), U64]
        if self.wild or self.rnd.random() < 0.2:
            layouts += [Bytes(300), Array(RECORD, 20)]
            if self.wild:
                layouts += [Bytes(5000)]
                if self.rnd.random() < 0.1:
                    layouts += [Bytes(40000)]
        for layout in self.rnd.sample(layouts, self.rnd.randint(1, 4)):
            self.memory.append(self.b.local("m", layout))
        self.budget = statements * 3
        self.scopes.append([])
        for index, parameter in enumerate(self.function.params):
            if parameter.type == CTX:
                for number in range(3):
                    place = self.b.emit("element", parameter, self.b.const(number, U32), type=ptr(Space.CTX, U64))
                    self.put(self.b.emit("load", place, type=U64))
            del index
        self.block(statements)
        for name in results:
            layout = self.module.globals[name].layout
            assert isinstance(layout, Int)
            place = self.b.emit("global.addr", type=ptr(Space.GLOBAL, layout), name=name)
            self.b.emit("store", place, self.int(layout, 3))
        if self.function.result is VOID:
            self.b.emit("ret")
        elif self.function.result == BOOL:
            self.b.emit("ret", self.bool())
        elif self.function.kind == "callback":
            self.b.emit("ret", self.b.const(0, self.function.result))
        else:
            assert isinstance(self.function.result, Int)
            self.b.emit("ret", self.int(self.function.result, 3))


def random_module(seed: int, wild: bool, statements: int = 8) -> Module:
    """The module of a seed."""
    rnd = random.Random(seed)
    module = Module(f"random{seed}")
    module.maps["counts"] = MapSpec("counts", "hash", key=U32, value=U64, max_entries=8)
    module.maps["records"] = MapSpec("records", "hash", key=KEY, value=RECORD, max_entries=8)
    module.maps["table"] = MapSpec("table", "array", key=U32, value=KEY, max_entries=3)
    module.globals["total"] = Global("total", U64, ".bss")
    module.globals["state"] = Global("state", KEY, ".data", bytes(range(KEY.size)))
    module.globals["text"] = Global("text", Char(24), ".rodata", b"one text".ljust(24, b"\0"))
    module.globals["numbers"] = Global("numbers", Array(U32, 9), ".bss")
    for name, layout in (("out_a", U64), ("out_b", S32), ("out_c", U8)):
        module.globals[name] = Global(name, layout, ".bss")
    if wild:
        module.maps["ring"] = MapSpec("ring", "ringbuf", max_entries=4096, value=RECORD)
        module.maps["progs"] = MapSpec("progs", "prog_array", key=U32, value=U32, max_entries=2)
        module.maps["inner"] = MapSpec(
            "inner", "hash_of_maps", key=U32, value_size=4, max_entries=4,
            inner=MapSpec("", "array", key=U32, value=U64, max_entries=1),
        )  # fmt: skip
    callees: list[Function] = []
    kinds = ["inline", "static"] + (["global", "inline"] if wild else [])
    for number in range(rnd.randint(0, 3)):
        types = [rnd.choice((*INTS, BOOL)) for _ in range(rnd.randint(0, 3))]
        kind = rnd.choice(kinds)
        if kind != "global" and rnd.random() < 0.4:
            types.append(ptr(Space.STACK, KEY))
        params = [Value(f"p{index}", type_) for index, type_ in enumerate(types)]
        result = rnd.choice((*INTS, BOOL, VOID)) if kind != "global" else rnd.choice(INTS)
        function = Function(f"f{number}", params, result, kind=kind, span=Span(FILE, 1 + number, 0))
        module.functions[function.name] = function
        Maker(rnd, module, function, wild, list(callees)).write(rnd.randint(1, statements // 2 + 1))
        callees.append(function)
    if wild and rnd.random() < 0.5:
        params = [Value("index", U32), Value("data", ptr(Space.STACK, KEY))]
        function = Function("each", params, S64, kind="callback", span=Span(FILE, 9, 0))
        module.functions["each"] = function
        Maker(rnd, module, function, wild, list(callees)).write(2)
    for number in range(rnd.randint(1, 2) if wild else 1):
        function = Function(
            f"program{number}", [Value("ctx", CTX)], U32, kind="program", section="raw_tp/sys_enter",
            hook=Hook("raw_tracepoint", "sys_enter"), span=Span(FILE, 100 * number + 20, 4),
        )  # fmt: skip
        module.functions[function.name] = function
        Maker(rnd, module, function, wild, callees).write(statements, ("out_a", "out_b", "out_c"))
    return module
