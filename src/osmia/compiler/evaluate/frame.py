"""Functions made ready to run, their activations, and the run that they belong to."""

from __future__ import annotations

from osmia.compiler.evaluate.faults import EvaluationFault, Fault, malformed
from osmia.compiler.evaluate.memory import Pointer, Region, locate
from osmia.compiler.evaluate.values import convert, size_of, zero_value
from osmia.compiler.ir import Function, Ptr, Space, Value
from osmia.compiler.ir.flow import is_aggregate, memory_locals
from osmia.compiler.ir.ops import OPS
from osmia.compiler.text.shape import shape_problem
from osmia.object.layout import Int, Layout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from osmia.compiler.evaluate.machine import Evaluator
    from osmia.compiler.ir import Block, Op

MAX_FRAMES = 8
"""Activations of functions that are no inline functions, as in the kernel."""
MAX_DEPTH = 48
MESSAGE = 1023
HEADROOM = TAILROOM = 256
"""Bytes by which an XDP program may make its packet longer at either end."""


class TailCall(Exception):
    """Another program takes over; it ends the nearest function that is not inlined."""

    def __init__(self, function: Function, context: Pointer) -> None:
        super().__init__(function.name)
        self.function = function
        self.context = context


class Ready:
    """A function with every operation bound to the Python function that evaluates it."""

    __slots__ = ("blocks", "entry", "function", "memory", "scalars")

    def __init__(self, function: Function) -> None:
        if not function.blocks:
            raise malformed(f"function {function.name} has no blocks")
        self.function = function
        self.entry = function.blocks[0].label
        self.blocks: dict[str, tuple[list[tuple[Callable[[Frame, Op], Any], Op]], Callable[[Frame, Op], Any], Op]] = {}
        for block in function.blocks:
            if block.label in self.blocks:
                raise malformed(f"two blocks of {function.name} have the label {block.label}")
            self.blocks[block.label] = self._bind(block)
        taken = memory_locals(function)
        self.memory = {name: local.type for name, local in function.locals.items() if name in taken}
        self.scalars = {name: zero_value(local.type) for name, local in function.locals.items() if name not in taken}

    @staticmethod
    def _bind(block: Block) -> tuple[list[tuple[Callable[[Frame, Op], Any], Op]], Callable[[Frame, Op], Any], Op]:
        from osmia.compiler.evaluate.ops import evaluation

        bound = []
        for position, op in enumerate(block.ops, 1):
            problem = shape_problem(op)
            if problem is not None:
                raise at(malformed(problem), op, "")
            row = OPS[op.name]
            if row.terminator != (position == len(block.ops)):
                raise at(malformed(f"block {block.label} does not end with its only terminator"), op, "")
            bound.append((evaluation(row.evaluate), op))
        if not bound:
            raise malformed(f"block {block.label} is empty")
        return bound[:-1], bound[-1][0], bound[-1][1]


def at(fault: Fault, op: Op | None, function: str, notes: list[tuple[str, Any]] | None = None) -> EvaluationFault:
    """The fault with the place it happened at."""
    span = op.span if op is not None else None
    if op is not None:
        from osmia.compiler.text.printer import op_text

        notes = [(f"in {function or 'a function'}: {op_text(op)}", None), *(notes or [])]
    error = EvaluationFault(fault.code, fault.message, span=span, hint=fault.hint, notes=notes or ())
    error.op = op
    error.function = function
    return error


class Frame:
    """One activation of a function.

    :ivar values: results by name. :ivar scalars: locals in registers. :ivar memory: locals in memory.
    :ivar returned: what the function returned.
    """

    __slots__ = ("function", "memory", "ready", "returned", "run", "scalars", "values")

    def __init__(self, run: Run, ready: Ready) -> None:
        self.run = run
        self.ready = ready
        self.function = ready.function
        self.values: dict[str, Any] = {}
        self.scalars: dict[str, Any] = {} if run.machine.strict_locals else dict(ready.scalars)
        kernel = run.machine.kernel
        self.memory = {
            name: Region(f"local {name}", Space.STACK, bytearray(_local_size(type_)), kernel)
            for name, type_ in ready.memory.items()
        }
        self.returned: Any = None

    def value(self, of: Value) -> Any:
        """What a value holds."""
        try:
            return self.values[of.name]
        except KeyError:
            raise malformed(f"%{of.name} is used where it has no value") from None

    def number(self, of: Value) -> int:
        """An integer or bool operand."""
        found = self.value(of)
        if isinstance(found, int):
            return found
        raise malformed(f"%{of.name} is used as a number, and is {found!r}")

    def pointer(self, of: Value) -> Pointer:
        """A pointer operand."""
        found = self.value(of)
        if isinstance(found, Pointer):
            return found
        raise malformed(f"%{of.name} is used as a pointer, and is {found!r}")

    def pointer_type(self, of: Value) -> Ptr:
        """The type of a pointer operand."""
        if isinstance(of.type, Ptr):
            return of.type
        raise malformed(f"%{of.name} is used as a pointer, and is of type {of.type}")

    def context(self, op: Op, position: int = 0) -> Pointer:
        """The context operand, or the function's own context."""
        if len(op.args) > position:
            return self.pointer(op.args[position])
        for parameter in self.function.params:
            if isinstance(parameter.type, Ptr) and parameter.type.space is Space.CTX:
                return self.pointer(parameter)
        raise malformed(f"{op.name} needs the context, which {self.function.name} does not have")

    def close(self) -> None:
        """The activation ends: its locals are gone."""
        for region in self.memory.values():
            region.free(f"its function {self.function.name} has returned")


def _local_size(type_: object) -> int:
    return type_.size if isinstance(type_, Layout) and is_aggregate(type_) else size_of(type_)


def result_type(op: Op) -> Any:
    """The declared type of an operation's result."""
    if op.result is None:
        raise malformed(f"{op.name} has no result")
    return op.result.type


def int_type(op: Op) -> Int:
    """The declared integer type of an operation's result."""
    found = result_type(op)
    if isinstance(found, Int):
        return found
    raise malformed(f"{op.name} gives a {found}, which is no integer")


class Run:
    """One run of a program. Helpers work through its methods.

    :ivar machine: the evaluator: memory, maps, settings. :ivar op: the operation that runs.
    """

    def __init__(self, machine: Evaluator, budget: int) -> None:
        self.machine = machine
        self.env = machine.env
        self.budget = budget
        self.steps = 0
        self.op: Op | None = None
        self.function = ""
        self.depth = 0
        self.frames = 0
        self.tail_calls = 0
        self.printed: list[str] = []
        self.output = bytearray()
        self.redirects: list[tuple[str, Any]] = []
        self.signals: list[int] = []
        self.packet: Region | None = None
        self.packet_start = 0
        self.packet_meta = 0
        self.packet_room = HEADROOM
        self.packet_tailroom = TAILROOM
        self.is_xdp = False
        self.locked: Pointer | None = None

    # Functions

    def call(self, function: Function, args: list[Any]) -> Any:
        """Runs a function and what it tail calls; returns its result."""
        inline = function.kind == "inline"
        self.depth += 1
        self.frames += not inline
        if self.depth > MAX_DEPTH or self.frames > MAX_FRAMES:
            raise Fault("IR353", f"{function.name} is called too deep: recursion, or more than {MAX_FRAMES} functions")
        before = self.op, self.function
        try:
            while True:
                try:
                    result = self._execute(self.machine.ready(function), args)
                    break
                except TailCall as jump:
                    if inline:
                        raise
                    function, args = jump.function, [jump.context]
        finally:
            self.depth -= 1
            self.frames -= not inline
        # Not after a fault, which belongs to the operation that ran last.
        self.op, self.function = before
        return result

    def _execute(self, ready: Ready, args: list[Any]) -> Any:
        function = ready.function
        if len(args) != len(function.params):
            raise malformed(f"{function.name} takes {len(function.params)} arguments, not {len(args)}")
        self.function = function.name
        frame = Frame(self, ready)
        values = frame.values
        for parameter, value in zip(function.params, args, strict=True):
            values[parameter.name] = value
        label = ready.entry
        blocks = ready.blocks
        try:
            while label is not None:
                found = blocks.get(label)
                if found is None:
                    raise malformed(f"there is no block {label} in {function.name}")
                body, end, last = found
                self.steps += len(body) + 1
                if self.steps > self.budget:
                    self.op = last
                    raise Fault(
                        "IR347", f"more than {self.budget} operations ran", "give run() more steps, or bound the loop"
                    )
                for evaluate, op in body:
                    self.op = op
                    result = evaluate(frame, op)
                    if op.result is not None:
                        values[op.result.name] = result
                self.op = last
                label = end(frame, last)
        finally:
            frame.close()
        return frame.returned

    def invoke(self, function: Any, *args: Any) -> int:
        """Calls a callback from a helper; its result as a signed number of 64 bits."""
        if not isinstance(function, Function):
            raise malformed(f"{function!r} is called as a callback")
        if len(args) < len(function.params):
            raise malformed(f"{function.name} takes {len(function.params)} arguments, the helper gives {len(args)}")
        kernel = self.machine.kernel
        given = [
            convert(value, parameter.type, kernel) for parameter, value in zip(function.params, args, strict=False)
        ]
        result = self.call(function, given)
        return int(result) if isinstance(result, int) else 0

    # Memory

    def read(self, pointer: Pointer, size: int) -> bytes:
        """Bytes of memory that the program may read directly.

        :raises Fault: it may not.
        """
        if size == 0:
            return b""
        data, start = locate(pointer, size, False)
        return bytes(data[start : start + size])

    def room(self, pointer: Pointer, size: int) -> None:
        """Checks that the program may write so many bytes there.

        :raises Fault: it may not.
        """
        if size:
            locate(pointer, size, True)

    def write(self, pointer: Pointer, data: bytes) -> None:
        """Stores to memory that the program may write directly.

        :raises Fault: it may not.
        """
        if data:
            target, start = locate(pointer, len(data), True)
            target[start : start + len(data)] = data

    def probe(self, pointer: Pointer, size: int, user: bool) -> bytes | None:
        """A probe read: None where the memory is not there."""
        region = pointer.region
        if region is not None and not user and not region.dead:
            if 0 <= pointer.offset <= pointer.offset + size <= len(region.data):
                return bytes(region.data[pointer.offset : pointer.offset + size])
            return None
        return (self.machine.user if user else self.machine.kernel).read(pointer.address, size)

    def probe_text(self, pointer: Pointer, limit: int, user: bool) -> bytes | None:
        """The bytes before the first NUL, at most ``limit``: None where memory is missing before it ends."""
        region = pointer.region
        if region is not None and not user and not region.dead:
            piece = bytes(region.data[max(pointer.offset, 0) : pointer.offset + limit])
            end = piece.find(0)
            return piece[:end] if end >= 0 else piece if len(piece) == limit else None
        return (self.machine.user if user else self.machine.kernel).read_text(pointer.address, limit)

    def memory(self, data: bytes | int, name: str, space: Space = Space.MEM, writable: bool = True) -> Pointer:
        """New memory of a helper's own that the program may use."""
        return Pointer(Region(name, space, bytearray(data), self.machine.kernel, writable), 0)

    # Surroundings

    def time(self) -> int:
        """The time now; every question moves it on."""
        now = self.env.time_ns
        self.env.time_ns = now + self.env.tick_ns
        return now

    def say(self, text: bytes) -> None:
        """A message to the trace pipe, which takes 1023 bytes of each."""
        self.printed.append(text[:MESSAGE].decode("utf-8", "surrogateescape"))

    def packet_bytes(self) -> bytes | None:
        """The packet's data as it is now."""
        return None if self.packet is None else bytes(self.packet.data[self.packet_start :])
