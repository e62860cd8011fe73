"""Small programs for tests, and running them in the kernel."""

from __future__ import annotations

from contextlib import contextmanager

from osmia.compiler.codegen import V3, compile_module
from osmia.compiler.ir import Function, FunctionBuilder, Global, Module, Ptr, Space, Value
from osmia.diagnostics import Span
from osmia.object.layout import S32, U32, U64, Array, Int, Layout

CTX = Ptr(Space.CTX, Array(U64, 8))


class Build:
    """A module with one program under construction; ``b`` is its builder."""

    def __init__(
        self, section: str = "raw_tp/sys_enter", result=U32, params=None, name: str = "entry", kind: str = "program"
    ):
        self.module = Module("test")
        self.function(name, [Value("ctx", CTX)] if params is None else params, result, kind, section)

    def function(self, name: str, params, result, kind: str, section: str = ""):
        """Goes on with another function of the module."""
        self.f = Function(name, params, result, kind=kind, section=section, span=Span("prog.py", 1, 0))
        self.module.functions[name] = self.f
        self.b = FunctionBuilder(self.f)
        self.emit = self.b.emit
        return self

    def const(self, value: int, type_: Int = U32) -> Value:
        return self.b.const(value, type_)

    def arg(self, index: int, type_: Int = U64) -> Value:
        """One of the context's eight words."""
        place = self.emit("element", self.f.params[0], self.const(index), type=Ptr(Space.CTX, U64))
        value = self.emit("load", place, type=U64)
        if type_ == U64:
            return value
        return self.emit("retype" if type_.bits == 64 else "trunc", value, type=type_)

    def local(self, name: str, layout: Layout) -> Value:
        """A new aggregate's address."""
        local = self.b.local(name, layout)
        return self.b.addr(local, Ptr(Space.STACK, layout))

    def out(self, name: str, value: Value) -> None:
        """Stores a value in a new global."""
        if name not in self.module.globals:
            self.module.globals[name] = Global(name, value.type, ".bss")
        place = self.emit("global.addr", type=Ptr(Space.GLOBAL, value.type), name=name)
        self.emit("store", place, value)

    def ret(self, value: Value | int | None = None) -> None:
        if value is None:
            self.emit("ret")
        else:
            self.emit("ret", self.const(value, self.f.result) if isinstance(value, int) else value)

    def branch(self, *names: str):
        return [self.b.new_block(name) for name in names]

    def nonnull(self, pointer: Value):
        """Goes on where a pointer is not null; gives it and the block for the rest."""
        then, other = self.branch("found", "missing")
        value = self.emit("br.nonnull", pointer, type=pointer.type.nonnull(), then=then.label, other=other.label)
        self.b.start(then)
        return value, other


@contextmanager
def loaded(module: Module, target=V3, **options):
    """The module in the kernel."""
    from osmia.btf.kernel import kernel_btf
    from osmia.kernel.load import LoadOptions, load
    from osmia.object.core import relocate
    from osmia.object.elf import read_object

    spec = read_object(compile_module(module, target), module.name)
    if any(program.core for program in spec.programs.values()):
        spec = relocate(spec, kernel_btf())
    with load(spec, LoadOptions(**options) if options else None) as collection:
        yield collection


def run(collection, name: str = "entry", *arguments: int, data: bytes = b""):
    """Runs a raw tracepoint program with up to eight words, or another one with a packet; gives the result."""
    from osmia.kernel.test_run import test_run

    if data:
        return test_run(collection.programs[name], data)
    words = [*arguments, *[0] * (8 - len(arguments))]
    context = b"".join((word % (1 << 64)).to_bytes(8, "little") for word in words)
    return test_run(collection.programs[name], context=context)


__all__ = ["CTX", "S32", "Build", "loaded", "run"]
