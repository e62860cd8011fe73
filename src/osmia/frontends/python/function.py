"""The state of one function while it is compiled, and what every other module of the front end builds on."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from osmia.compiler.ir import Block, Function, FunctionBuilder, Local, Ptr, Space, Value
from osmia.diagnostics import CompileError, OsmiaError, Span
from osmia.frontends.python.slots import Flow, Variable
from osmia.frontends.python.values import (
    Const,
    Held,
    Maybe,
    MaybePtr,
    MaybeVar,
    Mem,
    Num,
    Operand,
    Pending,
)
from osmia.object.layout import BOOL, S64, U64, Int, Layout

if TYPE_CHECKING:
    from osmia.frontends.python.source import SourceFile
    from osmia.frontends.python.unit import Unit

MAYBE = (Maybe, MaybePtr, MaybeVar, Pending)
_MAX_ERRORS = 20


class Poisoned(Exception):
    """A statement that uses what an earlier error left undefined; it is reported once only."""


class Loop:
    """What ``break`` and ``continue`` of the innermost loop do."""

    __slots__ = ("on_break", "on_continue")

    def __init__(self, on_break: Callable[[], None], on_continue: Callable[[], None]) -> None:
        self.on_break = on_break
        self.on_continue = on_continue


class Scope:
    """One Python function on its way into the program: the function itself, or one that is compiled into it.

    :ivar file: its source file. :ivar space: what its free names mean, closure before globals.
    :ivar names: the names that are its own variables. :ivar on_return: what ``return`` does with its operand.
    :ivar result: layout of the annotated result, ``None`` where there is none.
    :ivar call: the span of the call that led here, for notes; ``None`` in the outermost.
    """

    def __init__(self, file: SourceFile, function: Any, node: ast.AST, outer: Scope | None, call: Span | None) -> None:
        code = function.__code__
        self.file = file
        self.function = function
        self.node = node
        self.globals: dict[str, Any] = function.__globals__
        self.closure: dict[str, Any] = {}
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            try:
                self.closure[name] = cell.cell_contents
            except ValueError:
                continue
        self.names: set[str] = {*code.co_varnames, *code.co_cellvars}
        self.variables: dict[str, Variable] = {}
        self.poisoned: set[str] = set()
        self.loops: list[Loop] = []
        self.outer = outer
        self.call = call
        self.result: Layout | None = None
        self.on_return: Callable[[Operand | None, ast.AST], None] = lambda operand, node: None


class Fn:
    """A function of the IR that is being built from Python source.

    :ivar unit: the compilation. :ivar ir: the function. :ivar fb: its builder. :ivar scope: the Python function whose
        body is being read. :ivar flow: what is known here. :ivar live: whether this point can be reached.
    :ivar program: what the kernel function is (hook, program type).
    """

    def __init__(self, unit: Unit, ir: Function, program: Any, context_type: Ptr) -> None:
        self.unit = unit
        self.ir = ir
        self.fb = FunctionBuilder(ir)
        self.program = program
        self.context_type = context_type
        self.flow = Flow()
        self.live = True
        self.scope: Scope
        self.incoming: dict[Block, list[Flow]] = {}
        self.context_local: Local | None = None
        self.on_fault: Callable[[], None] = lambda: None
        self.holds: list[Held] = []

    # -- errors -----------------------------------------------------------------------------------------------------

    def span(self, node: ast.AST) -> Span:
        """The place of a node in the file that is being read."""
        return self.scope.file.span(node)

    def error(
        self,
        code: str,
        node: ast.AST,
        message: str,
        *,
        hint: str | None = None,
        notes: list[tuple[str, Span | None]] | None = None,
    ) -> CompileError:
        """An error at a node, with the calls that led there."""
        found = list(notes or [])
        scope: Scope | None = self.scope
        while scope is not None and scope.call is not None:
            found.append(("called here", scope.call))
            scope = scope.outer
        return CompileError(code, message, span=self.span(node), hint=hint, notes=found)

    # -- blocks and flow --------------------------------------------------------------------------------------------

    def blocks(self, *hints: str) -> list[Block]:
        """New blocks, not placed yet."""
        return [self.fb.new_block(hint) for hint in hints]

    def note(self, block: Block, flow: Flow | None = None) -> None:
        """Records that control may come to ``block`` with what is known now."""
        if self.live:
            self.incoming.setdefault(block, []).append((flow or self.flow).copy())

    def goto(self, block: Block) -> None:
        """Ends the current block with a jump."""
        self.note(block)
        self.fb.emit("br", to=block.label)
        self.live = False

    def condbr(self, value: Value, then: Block, other: Block) -> None:
        """Ends the current block with a branch."""
        self.note(then)
        self.note(other)
        self.fb.emit("condbr", value, then=then.label, other=other.label)
        self.live = False

    def enter(self, block: Block, flow: Flow | None = None) -> None:
        """Goes on in ``block``; without ``flow`` with what all jumps to it have in common."""
        flows = self.incoming.pop(block, [])
        self.fb.start(block)
        if flow is not None:
            self.flow, self.live = flow, True
        elif flows:
            self.flow, self.live = Flow.merge(flows), True
        else:
            self.flow, self.live = self.flow.copy(), False

    def after_exit(self) -> None:
        """Goes on after a terminator in a block that nothing reaches: what stands there is still checked."""
        self.fb.start(self.fb.new_block("dead"))
        self.live = True
        self.flow = self.flow.copy()
        self.flow.dead = True

    def enter_if_reached(self, block: Block) -> None:
        """Goes on in a block if anything jumps to it; else nothing follows."""
        if self.reached(block):
            self.enter(block)
        else:
            self.live = False

    def reached(self, block: Block) -> bool:
        """Whether anything jumps to a block that is not placed yet."""
        return block in self.incoming

    def split(self, operand: Operand, missing: Block) -> Operand:
        """Tests something that may be ``None``: goes on where it is there, and gives what it then is.

        ``missing`` is reached where it is not; the caller enters it.
        """
        (there,) = self.blocks("there")
        if isinstance(operand, Maybe):
            self.condbr(operand.flag, there, missing)
            self.enter(there)
            return operand.inner
        if isinstance(operand, MaybePtr):
            assert isinstance(operand.value.type, Ptr)
            self.note(there)
            self.note(missing)
            tested = self.fb.emit(
                "br.nonnull", operand.value, type=operand.value.type.nonnull(), then=there.label, other=missing.label
            )
            self.enter(there)
            made: Operand = operand.make(tested)
            return made
        if isinstance(operand, MaybeVar):
            slot = operand.slot
            yes, no = self.flow.copy(), self.flow.copy()
            yes.there[slot], no.there[slot] = True, False
            self.note(there, yes)
            self.note(missing, no)
            self.fb.emit("condbr", self.fb.get(slot.flag), then=there.label, other=missing.label)
            self.enter(there)
            assert slot.inner is not None
            return slot.inner.load(self, operand.name)
        assert isinstance(operand, Pending)
        result: Operand = operand.test(self, there, missing)
        return result

    def unwrap(self, operand: Operand, node: ast.AST) -> Operand:
        """The operand itself; refused where it may be ``None``."""
        if isinstance(operand, MAYBE):
            what = f"'{operand.name}'" if isinstance(operand, MaybeVar) else "this"
            raise self.error(
                "PY220",
                node,
                f"{what} may be None here",
                hint=f"check first: `if {operand.name if isinstance(operand, MaybeVar) else 'x'} is None: return`",
            )
        if isinstance(operand, Const) and operand.value is None:
            raise self.error("PY220", node, "this is None here")
        return operand

    # -- reading the source -----------------------------------------------------------------------------------------

    def expr(self, node: ast.expr, want: Layout | None = None) -> Operand:
        """Compiles an expression. ``want`` is the layout of where the value goes, if known."""
        from osmia.frontends.python.tables import EXPRESSIONS

        before = self.fb.span
        self.fb.span = self.span(node)
        try:
            found: Operand = EXPRESSIONS[type(node)](self, node, want)
            return found
        except RecursionError:
            raise self.error("PY104", node, "this expression is nested too deeply") from None
        finally:
            self.fb.span = before

    def value(self, node: ast.expr, want: Layout | None = None) -> Operand:
        """Compiles an expression whose value is used and so may not be ``None``."""
        return self.unwrap(self.expr(node, want), node)

    def number(self, node: ast.expr) -> Operand:
        """Compiles an expression that must be an integer, a truth value or an integer constant."""
        return self.as_number(self.value(node), node)

    def body(self, statements: list[ast.stmt]) -> None:
        """Compiles statements; goes on after a wrong one, so that one run reports several errors."""
        from osmia.frontends.python.tables import STATEMENTS

        for statement in statements:
            if not self.live:
                self.after_exit()
            self.fb.span = self.span(statement)
            try:
                STATEMENTS[type(statement)](self, statement)
            except Poisoned:
                self._poison(statement)
            except OsmiaError as error:
                self.unit.errors.append(error)
                self._poison(statement)
                if len(self.unit.errors) >= _MAX_ERRORS:
                    raise Poisoned from None

    def _poison(self, statement: ast.stmt) -> None:
        for node in ast.walk(statement):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                self.scope.poisoned.add(node.id)
        if self.fb.terminated:
            self.fb.start(self.fb.new_block("after_error"))
        self.live = True

    def constant(self, name: str, node: ast.AST) -> Operand:
        """What a name that is no variable of the function means in Python: closure, module, builtins.

        :raises CompileError: PY167 when it means nothing.
        """
        import builtins

        for space in (self.scope.closure, self.scope.globals, vars(builtins)):
            if name in space:
                return Const(space[name])
        from osmia.diagnostics.text import did_you_mean

        known = [*self.scope.variables, *self.scope.closure, *self.scope.globals, *vars(builtins)]
        raise self.error("PY167", node, f"the name '{name}' is not defined", hint=did_you_mean(name, known))

    def peek(self, name: str) -> Operand | None:
        """What a name holds, without asking whether it may be used."""
        variable = self.scope.variables.get(name)
        if variable is not None and variable.slot is not None:
            return variable.slot.load(self, name)
        if name in self.scope.names:
            return None
        try:
            return self.constant(name, ast.Constant(None))
        except CompileError:
            return None

    # -- conversions --------------------------------------------------------------------------------------------------

    def as_number(self, operand: Operand, node: ast.AST) -> Operand:
        """An operand that is a number, a truth value or a constant of those; anything else is refused."""
        from osmia.frontends.python.numbers import as_number

        return as_number(self, operand, node)

    def to_int(self, operand: Operand, type: Int, node: ast.AST) -> Value:
        """The operand as an integer of a type; the low bits of a number, a constant only if it fits."""
        from osmia.frontends.python.numbers import to_int

        return to_int(self, operand, type, node)

    def literal_type(self, value: int, node: ast.AST) -> Int:
        """The type of a variable that starts with a literal: ``s64``, or ``u64`` where it does not fit."""
        for type in (S64, U64):
            low, high = type.range()
            if low <= value <= high:
                return type
        raise self.error("PY105", node, f"{value} does not fit 64 bits")

    def truth(self, operand: Operand, node: ast.AST) -> Value:
        """Whether the operand is true, as an IR bool."""
        from osmia.frontends.python.conditions import truth

        return truth(self, operand, node)

    def write(self, pointer: Value, layout: Layout, operand: Operand, node: ast.AST) -> None:
        """Stores an operand into memory of a layout."""
        from osmia.frontends.python.memory import write

        write(self, pointer, layout, operand, node)

    # -- small pieces of IR -----------------------------------------------------------------------------------------

    def const(self, value: int, type: Any) -> Value:
        """A constant."""
        return self.fb.const(value, type)

    def false(self) -> Value:
        """The constant False."""
        return self.fb.const(0, BOOL)

    def true(self) -> Value:
        """The constant True."""
        return self.fb.const(1, BOOL)

    def null(self, type: Ptr) -> Value:
        """A null pointer, as what its variable holds."""
        zero = self.fb.const(0, U64)
        if type.space in (Space.KERNEL, Space.USER):
            return self.fb.emit("int.to.ptr", zero, type=type)
        return self.fb.emit("null", type=type)

    def plain_pointer(self, operand: Operand) -> Value:
        """The IR value of a pointer."""
        from osmia.frontends.python.values import KPtr

        assert isinstance(operand, KPtr)
        return operand.value

    def temp(self, layout: Layout, name: str = "tmp") -> Mem:
        """Fresh memory of the function's own."""
        local = self.fb.local(name, layout)
        pointer = self.fb.addr(local, Ptr(Space.STACK, layout))
        return Mem(pointer, layout, root=(pointer, layout.size, 0))

    def load(self, pointer: Value, type: Any) -> Value:
        """Loads a scalar or pointer."""
        return self.fb.emit("load", pointer, type=type)

    def store(self, pointer: Value, value: Value) -> None:
        """Stores a scalar or pointer."""
        self.fb.emit("store", pointer, value)

    def helper(self, name: str, *args: Value, type: Any = S64) -> Value:
        """Calls a kernel helper by its full name."""
        from osmia.frontends.python.helper_calls import check

        check(self, name)
        return self.fb.emit("helper", *args, type=type, name=name)

    def num(self, value: Value) -> Num:
        """An integer IR value as an operand."""
        assert isinstance(value.type, Int)
        return Num(value, value.type)

    def compare(self, name: str, left: Value, right: Value) -> Value:
        """An IR comparison."""
        return self.fb.emit(name, left, right, type=BOOL)

    def context_value(self) -> Value:
        """The program's context pointer."""
        if self.context_local is not None:
            return self.fb.get(self.context_local)
        for param in self.ir.params:
            if isinstance(param.type, Ptr) and param.type.space is Space.CTX:
                return param
        raise CompileError(
            "PY230",
            f"function {self.ir.name} has no context",
            span=self.fb.span,
            hint="take the context as a parameter and pass it on",
        )

    def has_context(self) -> bool:
        """Whether the program's context is in reach."""
        if self.context_local is not None:
            return True
        return any(isinstance(param.type, Ptr) and param.type.space is Space.CTX for param in self.ir.params)

    def close(self) -> None:
        """Ends the function: blocks that nothing reaches are taken out."""
        if self.unit.errors:
            return  # what an error broke off has loose ends
        if not self.fb.terminated:
            self.fb.emit("unreachable")
        blocks = {block.label: block for block in self.ir.blocks}
        seen: set[str] = set()
        todo = [self.ir.blocks[0].label]
        while todo:
            label = todo.pop()
            if label in seen:
                continue
            seen.add(label)
            block = blocks[label]
            if not block.ops or not _ends(block):
                self.fb.block = block
                self.fb.emit("unreachable")
            todo += _targets(block)
        self.ir.blocks = [block for block in self.ir.blocks if block.label in seen]

    def fail(self, what: str, node: ast.AST) -> None:
        """A run-time error at this point: counts it and ends this run of the program."""
        self.unit.count_error(self, what, self.span(node))
        self.abort()

    def abort(self) -> None:
        """Ends this run of the program from anywhere: records that it still holds go back first."""
        for held in self.holds:
            release, going_on = self.blocks("release", "abort")
            self.condbr(self.fb.get(held.flag), release, going_on)
            self.enter(release)
            self.fb.emit("ring.discard", self.fb.get(held.record), flags=0)
            self.goto(going_on)
            self.enter(going_on)
        self.on_fault()
        self.live = False

    def hold(self, flag: Local, record: Local) -> Held:
        """Remembers a reserved record; ``flag`` says whether there is one, and so starts as False."""
        held = Held(flag, record)
        self.holds.append(held)
        entry = self.ir.blocks[0]
        before, self.fb.block = self.fb.block, Block(entry.label)
        self.fb.set(flag, self.false())
        entry.ops[:0] = self.fb.block.ops
        self.fb.block = before
        return held


def _ends(block: Block) -> bool:
    from osmia.compiler.ir.ops import is_terminator

    return is_terminator(block.ops[-1].name)


def _targets(block: Block) -> list[str]:
    from osmia.compiler.ir.ops import OPS

    last = block.ops[-1]
    found: list[str] = []
    for name in OPS[last.name].labels:
        value = last.attrs[name]
        found += [label for _, label in value] if isinstance(value, tuple) else [value]
    return found
