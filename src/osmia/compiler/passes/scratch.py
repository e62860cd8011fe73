"""Moves large locals from the stack to scratch memory that belongs to one activation.

Every program that needs scratch memory claims a slot when it starts and releases it on every way out. Slots are values
of one per-CPU array (role ``scratch``), or of a plain array where a value is larger than the 32 KiB a per-CPU value may
have; each begins with a flag that is taken by an atomic exchange, so that an activation which interrupts another one,
or runs while it is preempted or asleep, takes another slot. When all are taken, the activation ends with the program's
default result and ``osmia_scratch_busy`` counts it.

Functions that a program calls get the slot as one more parameter. A callback is called by the kernel, so it claims a
slot of its own; where it gets none, that one call of it returns 0.
"""

from __future__ import annotations

from osmia.compiler.ir import VOID, Block, Function, Global, Local, Module, Op, Ptr, Space, Value
from osmia.compiler.ir.flow import Flow, derived, is_aggregate, zeroing
from osmia.compiler.ir.lives import Lives
from osmia.compiler.passes.prune import callees, with_body, with_functions
from osmia.diagnostics import CompileError
from osmia.object.layout import BOOL, U32, U64, Bytes, Field, Int, Layout, Struct
from osmia.object.spec import MapSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from osmia.compiler.codegen.target import Target
    from osmia.compiler.ir import ValueType
    from osmia.diagnostics import Span

MAP_NAME = "osmia_scratch"
COUNTER = "osmia_scratch_busy"
HEADER = 8
PER_CPU_MOST = 32 << 10
MOST = 1 << 20
SLOTS = 4
"""Slots for a CPU: a program in a task, in a soft interrupt, in an interrupt and in a non-maskable one."""
SLOTS_PREEMPTIBLE = 16
"""The same where programs may be preempted or sleep, and so more of them be under way at once."""
SLOTS_SHARED = 64
TRIES_SHARED = 16
LARGE = 256
"""Locals above this many bytes go to scratch memory whatever the budget."""
_PREEMPTIBLE = ("uprobe", "uretprobe", "usdt", "syscall", "iter", "lsm.s", "fentry.s", "fexit.s", "fmod_ret.s")
_DEFAULTS = (
    ("xdp", 2), ("tc", -1), ("tcx", -1), ("classifier", -1), ("action", -1), ("socket", -1), ("cgroup", 1),
    ("sockops", 1), ("sk_skb/stream_parser", 0), ("sk_skb", 1), ("sk_msg", 1), ("sk_lookup", 1), ("sk_reuseport", 1),
    ("netfilter", 1),
)  # fmt: skip


def default_result(function: Function, module: Module) -> int:
    """What a program returns when it cannot run: it lets pass whatever it was asked about.

    ``module.extras["defaults"]`` may say otherwise, by the program's name.
    """
    named = module.extras.get("defaults")
    if isinstance(named, dict) and function.name in named:
        return int(named[function.name])
    if function.kind == "program":
        for prefix, value in _DEFAULTS:
            if function.section == prefix or function.section.startswith((prefix + "/", prefix + ".", prefix + "_")):
                return value
    return 0


class Plan:
    """Which locals move, and where to.

    :ivar moved: by function, the locals with their offsets in the function's part. :ivar start: by function, where its
        part begins in the slot. :ivar size: bytes of a slot.
    """

    def __init__(self, module: Module) -> None:
        self.module = module
        self.moved: dict[str, dict[str, int]] = {}
        self.start: dict[str, int] = {}
        self.size = 0
        self.needing: set[str] = set()

    def part(self, name: str) -> int:
        """Bytes of a function's part."""
        locals_ = self.module.functions[name].locals
        return sum(_padded(locals_[local].type) for local in self.moved.get(name, ()))

    def settle(self) -> None:
        """Fixes offsets once it is known what moves."""
        functions = self.module.functions
        for name, moved in self.moved.items():
            offset = 0
            for local in moved:
                moved[local] = offset
                offset += _padded(functions[name].locals[local].type)
        order = _callers_first(self.module)
        for name in reversed(order):
            inner = [callee for callee in callees(functions[name]) if functions[callee].kind != "callback"]
            if self.moved.get(name) or any(callee in self.needing for callee in inner):
                self.needing.add(name)
        for name in order:
            if name not in self.needing:
                continue
            start = self.start.setdefault(name, HEADER)
            for callee in callees(functions[name]):
                if functions[callee].kind != "callback":
                    self.start[callee] = max(self.start.get(callee, HEADER), start + self.part(name))
        self.size = max((self.start[name] + self.part(name) for name in self.needing), default=0)


def _padded(type_: ValueType | Layout) -> int:
    assert isinstance(type_, Layout)
    return -(-type_.size // 8) * 8


def _callers_first(module: Module) -> list[str]:
    """Functions in an order in which callers come before what they call."""
    seen: set[str] = set()
    order: list[str] = []
    for root in module.functions:
        stack = [(root, iter(callees(module.functions[root])))] if root not in seen else []
        seen.add(root)
        while stack:
            name, rest = stack[-1]
            for callee in rest:
                if callee not in seen:
                    seen.add(callee)
                    stack.append((callee, iter(callees(module.functions[callee]))))
                    break
            else:
                order.append(name)
                stack.pop()
    return order[::-1]


# What moves


def _plan(module: Module, target: Target, budget: int) -> Plan:
    plan = Plan(module)
    frames: dict[str, dict[str, int]] = {}
    together: dict[str, list[frozenset[str]]] = {}
    for name, function in module.functions.items():
        used = {op.attrs["local"] for op in function.ops() if op.name == "local.addr"}
        sizes = {
            local.name: _padded(local.type)
            for local in function.locals.values()
            if local.name in used and is_aggregate(local.type) and isinstance(local.type, Layout) and local.type.size
        }
        frames[name] = sizes
        together[name] = _together(function, sizes)
        forced = set() if target.modern else _indexed(function)
        for local, size in list(sizes.items()):
            if size > LARGE or local in forced:
                plan.moved.setdefault(name, {})[local] = 0
                del sizes[local]
    order = _callers_first(module)
    while True:
        depth: dict[str, int] = {}
        for name in reversed(order):
            inner = max((depth[callee] for callee in callees(module.functions[name])), default=0)
            sizes = frames[name]
            own = max((sum(sizes.get(local, 0) for local in alive) for alive in together[name]), default=0)
            depth[name] = own + inner
        worst = max(depth, key=lambda name: depth[name], default="")
        if not worst or depth[worst] <= budget:
            break
        reach = _reach(module, worst)
        size, name, local = max(
            ((size, name, local) for name in reach for local, size in frames[name].items()), default=(0, "", "")
        )
        if not size:
            break
        plan.moved.setdefault(name, {})[local] = 0
        del frames[name][local]
    plan.settle()
    return plan


def _together(function: Function, sizes: dict[str, int]) -> list[frozenset[str]]:
    """Sets of locals that need their own bytes of stack at the same time."""
    flow = Flow(function)
    lives = Lives(function, flow, zeroing(function, flow))
    always = frozenset(local for local in sizes if local not in lives.tracked)
    return [alive | always for alive in lives.together] or [always]


def _reach(module: Module, start: str) -> list[str]:
    found = [start]
    for name in found:
        found.extend(callee for callee in callees(module.functions[name]) if callee not in found)
    return found


def _indexed(function: Function) -> set[str]:
    """Locals that are reached with an offset that is not constant."""
    pointers = derived(Flow(function))
    constants = {op.result.name for op in function.ops() if op.name == "const" and op.result is not None}
    return {
        pointers[op.args[0].name][0]
        for op in function.ops()
        if op.name == "element" and op.args[0].name in pointers and op.args[1].name not in constants
    }


# The pass


def place_scratch(module: Module, target: Target, budget: int) -> Module:
    """The module with large locals in scratch memory; the same module where none had to move.

    :param budget: bytes of aggregates that may stay on the stack of a chain of calls.
    :raises CompileError: IR024, the locals of one activation do not fit; IR017, a tail call would lose them.
    """
    plan = _plan(module, target, budget)
    if not plan.needing:
        return module
    if plan.size > MOST:
        raise _too_large(module, plan)
    preemptible = any(
        function.kind == "program" and (function.sleepable or function.section.split("/")[0] in _PREEMPTIBLE)
        for function in module.functions.values()
    )
    shared = plan.size > PER_CPU_MOST
    name = _free_name(module, MAP_NAME)
    counter = _free_name(module, COUNTER)
    slot = Struct(MAP_NAME + "_slot", [Field("busy", U32, 0), Field("data", Bytes(plan.size - HEADER), HEADER)],
                  plan.size, 8)  # fmt: skip
    entries = SLOTS_SHARED if shared else SLOTS_PREEMPTIBLE if preemptible else SLOTS
    if not shared and any(module.functions[name].kind == "callback" for name in plan.needing):
        entries *= 2
    spec = MapSpec(
        name, "array" if shared else "percpu_array", key=U32, value=slot, max_entries=entries, role="scratch"
    )
    writer = Rewriter(module, plan, spec, counter, shared)
    result = with_functions(module, [writer.function(function) for function in module.functions.values()])
    result.maps = {**module.maps, name: spec}
    result.globals = {**module.globals, counter: Global(counter, U64, ".bss")}
    return result


def _free_name(module: Module, name: str) -> str:
    while name in module.maps or name in module.globals or name in module.functions:
        name += "_"
    return name


def _too_large(module: Module, plan: Plan) -> CompileError:
    size, local = max(
        ((_padded(module.functions[name].locals[local].type), module.functions[name].locals[local])
         for name, moved in plan.moved.items() for local in moved),
        key=lambda pair: pair[0],
    )  # fmt: skip
    return CompileError(
        "IR024", f"the locals of one activation take {plan.size} bytes, {MOST} is the most", span=local.span,
        hint="keep large data in a map", notes=[(f"the largest is ${local.name} with {size} bytes", local.span)],
    )  # fmt: skip


class Rewriter:
    """Writes functions anew, with their moved locals in the slot."""

    def __init__(self, module: Module, plan: Plan, spec: MapSpec, counter: str, shared: bool) -> None:
        self.module = module
        self.plan = plan
        self.spec = spec
        self.counter = counter
        self.shared = shared
        assert isinstance(spec.value, Struct)
        self.pointer = Ptr(Space.MAP, spec.value)

    def function(self, function: Function) -> Function:
        """The function as it is in the new module."""
        if function.name not in self.plan.needing:
            return function
        if function.kind in ("program", "callback"):
            return Entry(self, function).write()
        kind = "static" if function.kind == "global" else function.kind
        if kind == "static" and len(function.params) >= 5:
            kind = "inline"
        for op in function.ops():
            if op.name == "tail_call":
                raise _lost(op, "a function that is given scratch memory")
        result = with_body(function, kind)
        slot = Value("osmia.scratch", self.pointer)
        result.params.append(slot)
        Body(self, function, result, slot).write()
        return result


def _lost(op: Op, where: str) -> CompileError:
    return CompileError(
        "IR017", f"a tail call in {where} would lose the large locals that are there", span=op.span,
        hint="make the tail call in the program itself, where no large local is used afterwards, or use smaller locals",
    )  # fmt: skip


class Body:
    """Copies a function's blocks, replacing the addresses of moved locals."""

    def __init__(self, rewriter: Rewriter, source: Function, result: Function, slot: Value) -> None:
        self.rewriter = rewriter
        self.source = source
        self.result = result
        self.slot = slot
        self.moved = rewriter.plan.moved.get(source.name, {})
        self.start = rewriter.plan.start[source.name]
        self._count = 0

    def fresh(self, type_: ValueType) -> Value:
        """A value with a name that the function does not have."""
        self._count += 1
        return Value(f"osmia.{self._count}", type_)

    def write(self) -> None:
        """Fills the result's blocks."""
        flow = Flow(self.source)
        zeros = zeroing(self.source, flow)
        for label, names in list(zeros.items()):
            zeros[label] = [name for name in names if name in self.moved]
        for name in self.moved:
            del self.result.locals[name]
        for index, block in enumerate(self.source.blocks):
            copy = Block(block.label)
            if index == 0:
                self._zero(copy, zeros.get("", []))
            self._zero(copy, zeros.get(block.label, []))
            for op in block.ops:
                self.copy(copy, op)
            self.result.blocks.append(copy)

    def _zero(self, block: Block, names: list[str]) -> None:
        for name in names:
            local = self.source.locals[name]
            assert isinstance(local.type, Layout)
            place = self.fresh(Ptr(Space.STACK, local.type))
            block.ops.append(self.address(name, place, local.span))
            block.ops.append(Op("zero", (place,), {"size": local.type.size}, None, local.span))

    def address(self, name: str, result: Value, span: Span) -> Op:
        """The operation that gives the place of a moved local."""
        return Op("scratch.addr", (self.slot,), {"offset": self.start + self.moved[name]}, result, span)

    def copy(self, block: Block, op: Op) -> None:
        """Appends an operation."""
        if op.name == "local.addr" and op.attrs["local"] in self.moved and op.result is not None:
            block.ops.append(self.address(op.attrs["local"], op.result, op.span))
        elif op.name == "call" and op.attrs["function"] in self.rewriter.plan.needing:
            block.ops.append(Op("call", (*op.args, self.slot), op.attrs, op.result, op.span))
        else:
            block.ops.append(op)


class Entry(Body):
    """A program or callback: claims a slot first, releases it last."""

    def __init__(self, rewriter: Rewriter, source: Function) -> None:
        result = with_body(source)
        super().__init__(rewriter, source, result, Value("osmia.scratch", rewriter.pointer))
        self.tails = [op for op in source.ops() if op.name == "tail_call"]
        self._blocks = 0
        self._labels = {block.label for block in source.blocks}
        self.span = source.span

    def write(self) -> Function:  # type: ignore[override]
        """The whole new function."""
        for op in self.tails:
            self._check_tail(op)
        self._claim()
        super().write()
        return self.result

    def _label(self, hint: str) -> str:
        label = f"scratch.{hint}"
        while label in self._labels:
            label += "_"
        self._labels.add(label)
        return label

    def _local(self, hint: str, type_: ValueType | Layout) -> str:
        name = f"scratch.{hint}"
        while name in self.result.locals:
            name += "_"
        self.result.locals[name] = Local(name, type_, self.span)
        return name

    def _emit(self, block: Block, name: str, /, *args: Value, type_: ValueType = VOID, **attrs: object) -> Value:
        result = self.fresh(type_)
        block.ops.append(Op(name, args, attrs, None if type_ is VOID else result, self.span))
        return result

    def _claim(self) -> None:
        """Blocks that try slot after slot; the entry's own code follows once one is taken."""
        emit, spec = self._emit, self.rewriter.spec
        start, look, try_, next_, none, got = (
            Block(self._label(hint)) for hint in ("start", "look", "try", "next", "none", "got")
        )
        count, key = self._local("count", U32), self._local("key", U32)
        held_slot = self._local("slot", self.rewriter.pointer)
        self.result.blocks += [start, look, try_, next_, none, got]
        emit(start, "local.set", emit(start, "const", type_=U32, value=0), local=count)
        cpu = emit(start, "helper", type_=U32, name="get_smp_processor_id") if self.rewriter.shared else None
        emit(start, "br", to=look.label)

        tried = emit(look, "local.get", type_=U32, local=count)
        if cpu is not None:
            mask = emit(look, "const", type_=U32, value=spec.max_entries - 1)
            tried = emit(look, "and", emit(look, "add", tried, cpu, type_=U32), mask, type_=U32)
        place = emit(look, "local.addr", type_=Ptr(Space.STACK, U32), local=key)
        emit(look, "store", place, tried)
        pointer = self.rewriter.pointer
        maybe = Ptr(Space.MAP, pointer.to, True)
        found = emit(look, "map.lookup", place, type_=maybe, map=spec.name)
        slot = emit(look, "br.nonnull", found, type_=pointer, then=try_.label, other=next_.label)

        flag = emit(try_, "field", slot, type_=Ptr(Space.MAP, U32), offset=0, name="busy")
        mine = emit(try_, "scratch.claim", flag, type_=BOOL)
        emit(try_, "local.set", slot, local=held_slot)
        emit(try_, "condbr", mine, then=got.label, other=next_.label)

        one = emit(next_, "const", type_=U32, value=1)
        count_next = emit(next_, "add", emit(next_, "local.get", type_=U32, local=count), one, type_=U32)
        emit(next_, "local.set", count_next, local=count)
        most = TRIES_SHARED if self.rewriter.shared else spec.max_entries
        # A check that LLVM cannot see through, so that it does not unroll the loop.
        emit(next_, "br.inrange", count_next, type_=U32, count=most, then=look.label, other=none.label)

        busy = emit(none, "global.addr", type_=Ptr(Space.GLOBAL, U64), name=self.rewriter.counter)
        emit(none, "atomic.add", busy, emit(none, "const", type_=U64, value=1))
        self._default(none)

        got.ops.append(Op("local.get", (), {"local": held_slot}, self.slot, self.span))
        if self.tails:
            self.held = self._local("held", BOOL)
            emit(got, "local.set", emit(got, "const", type_=BOOL, value=1), local=self.held)
        emit(got, "br", to=self.source.blocks[0].label)

    def _default(self, block: Block) -> None:
        result = self.source.result
        if result is VOID:
            self._emit(block, "ret")
            return
        value = default_result(self.source, self.rewriter.module)
        if isinstance(result, Int) and not result.signed:
            value %= 1 << result.bits
        self._emit(block, "ret", self._emit(block, "const", type_=result, value=value))

    def copy(self, block: Block, op: Op) -> None:
        if op.name in ("ret", "unreachable"):
            self._release(block, op)
        elif op.name == "tail_call":
            flag = self._flag(block)
            self._emit(block, "scratch.release", flag, shared=self.rewriter.shared)
            self._emit(block, "local.set", self._emit(block, "const", type_=BOOL, value=0), local=self.held)
            block.ops.append(op)
        else:
            super().copy(block, op)

    def _flag(self, block: Block) -> Value:
        return self._emit(block, "field", self.slot, type_=Ptr(Space.MAP, U32), offset=0, name="busy")

    def _release(self, block: Block, last: Op) -> None:
        """Releases the slot, unless a tail call that failed did so already."""
        if not self.tails:
            self._emit(block, "scratch.release", self._flag(block), shared=self.rewriter.shared)
            block.ops.append(last)
            return
        release, leave = Block(self._label("release")), Block(self._label("leave"))
        held = self._emit(block, "local.get", type_=BOOL, local=self.held)
        self._emit(block, "condbr", held, then=release.label, other=leave.label)
        self._emit(release, "scratch.release", self._flag(release), shared=self.rewriter.shared)
        self._emit(release, "br", to=leave.label)
        leave.ops.append(last)
        self.result.blocks += [release, leave]

    def _check_tail(self, tail: Op) -> None:
        """Refuses a tail call after which scratch memory is used: the slot is given back before the jump."""
        flow = Flow(self.source)
        pointers = derived(flow)
        stack = [label for label in flow.order if any(op is tail for op in flow.blocks[label].ops)]
        seen: set[str] = set()
        first = True
        while stack:
            label = stack.pop()
            ops = flow.blocks[label].ops
            if first:
                ops = ops[next(index for index, op in enumerate(ops) if op is tail) + 1 :]
                first = False
            elif label in seen:
                continue
            else:
                seen.add(label)
            for op in ops:
                if self._uses_scratch(op, pointers):
                    raise _lost(tail, f"{self.source.name}, which uses them afterwards,")
            stack.extend(following for following in _next(flow, label) if following not in seen)

    def _uses_scratch(self, op: Op, pointers: dict[str, tuple[str, int | None]]) -> bool:
        if op.name == "local.addr":
            return op.attrs["local"] in self.moved
        if op.name == "call" and op.attrs["function"] in self.rewriter.plan.needing:
            return True
        for value in op.args:
            known = pointers.get(value.name)
            if known is not None and known[0] in self.moved:
                return True
            if known is None and isinstance(value.type, Ptr) and value.type.space is Space.STACK:
                return True
        return False


def _next(flow: Flow, label: str) -> list[str]:
    return [other for other in flow.order if label in flow.preds[other]]
