"""What the functions of one program share while they are compiled: the module, constants, counters of losses,
errors."""

from __future__ import annotations

import ast
import os
from typing import TYPE_CHECKING, Any

from osmia.compiler.ir import Global, Module, Ptr, Space, Value
from osmia.diagnostics import CompileError, OsmiaError, Span
from osmia.frontends.python.kernel_types import KernelTypes
from osmia.frontends.python.source import Sources
from osmia.lang import maps as M
from osmia.lang.hooks import KernelFunction
from osmia.object.layout import S64, U32, U64, Array, Enum, Field, Int, Layout, Struct
from osmia.object.spec import EventSchema, MapSpec

if TYPE_CHECKING:
    from osmia.btf.reader import Btf
    from osmia.frontends.python.function import Fn
    from osmia.lang.program import ProgramDecl

ERRORS = "osmia_map_errors"
FAULTS = "osmia_faults"
PRINTS = "osmia_prints"


class Target:
    """What the code is for.

    :ivar machine: as ``uname -m`` prints it; decides where probes find arguments. :ivar formats: tells a tracepoint's
        fields where BTF does not: ``formats(category, event)`` gives ``[(name, C type, offset, size, signed)]`` or
        ``None``.
    """

    def __init__(self, machine: str = "", formats: Any = None) -> None:
        self.machine = machine or os.uname().machine
        self.formats = formats


class Unit:
    """One compilation."""

    def __init__(self, decl: ProgramDecl, btf: Btf | None, target: Target) -> None:
        self.decl = decl
        self.target = target
        self.module = Module(decl.name, decl.license)
        self.sources = Sources()
        self.errors: list[OsmiaError] = []
        self._types = None if btf is None else KernelTypes(btf)
        self._constants: dict[tuple[bytes, Layout], str] = {}
        self._causes: dict[str, int] = {}
        self._error_places: list[Value] = []
        self.prints: list[dict[str, Any]] = []
        self.statics: dict[Any, Any] = {}
        self.filtered = False

    # -- the kernel's types ----------------------------------------------------------------------------------------

    def kernel(self, fn: Fn, node: ast.AST) -> KernelTypes:
        """The kernel's types.

        :raises CompileError: PY137 when no BTF was given.
        """
        if self._types is None:
            raise fn.error(
                "PY137", node, "kernel types are needed here, and there is no BTF to tell them",
                hint="this kernel has no /sys/kernel/btf/vmlinux, or it was not given to the compiler",
            )  # fmt: skip
        return self._types

    @property
    def has_kernel(self) -> bool:
        """Whether kernel types are known."""
        return self._types is not None

    @property
    def types(self) -> KernelTypes | None:
        """The kernel's types, ``None`` without BTF."""
        return self._types

    # -- read-only data and globals ---------------------------------------------------------------------------------

    def constant(self, raw: bytes, layout: Layout) -> str:
        """The name of a read-only global with these bytes."""
        key = (raw, layout)
        name = self._constants.get(key)
        if name is None:
            name = self._constants[key] = f"osmia_const_{len(self._constants)}"
            self.module.globals[name] = Global(name, layout, ".rodata", raw)
        return name

    def variable(self, name: str, layout: Layout, section: str, init: bytes = b"", span: Span | None = None) -> None:
        """Declares a global variable once."""
        if name not in self.module.globals:
            self.module.globals[name] = Global(name, layout, section, init, span or Span(self.decl.file))

    # -- counters of what went wrong --------------------------------------------------------------------------------

    def cause(self, text: str) -> int:
        """The slot of ``osmia_map_errors`` that counts a cause: a map's name, or a sentence."""
        return self._causes.setdefault(text, len(self._causes))

    def count_cause(self, fn: Fn, text: str) -> None:
        """Adds one to a cause's counter."""
        slot = self.cause(text)
        array = fn.fb.emit("global.addr", type=Ptr(Space.GLOBAL, None), name=ERRORS)
        self._error_places.append(array)
        place = fn.fb.emit("element", array, fn.const(slot, U32), type=Ptr(Space.GLOBAL, U64))
        fn.fb.emit("atomic.add", place, fn.const(1, U64))

    def count_error(self, fn: Fn, what: str, span: Span) -> None:
        """Counts a run-time error, with its place."""
        self.count_cause(fn, f"{what} ({os.path.basename(span.file)}:{span.line})")

    def count_fault(self, fn: Fn, result: Value) -> Value:
        """Counts a probe read that failed; gives whether it did."""
        self.variable(FAULTS, U64, ".bss")
        failed = fn.compare("slt", result, fn.const(0, S64))
        fault, end = fn.blocks("fault", "read")
        fn.condbr(failed, fault, end)
        fn.enter(fault)
        place = fn.fb.emit("global.addr", type=Ptr(Space.GLOBAL, U64), name=FAULTS)
        fn.fb.emit("atomic.add", place, fn.const(1, U64))
        fn.goto(end)
        fn.enter(end)
        return failed

    def function_name(self, wanted: str) -> str:
        """A name that no function of the module has yet."""
        name, count = wanted, 1
        while name in self.module.functions:
            count += 1
            name = f"{wanted}{count}"
        return name

    # -- maps -------------------------------------------------------------------------------------------------------

    def map_name(self, fn: Fn, decl: M.MapDecl, node: ast.AST) -> str:
        """The name of a map of this program.

        :raises CompileError: PY140 for a map of another program.
        """
        if decl.program is None:  # of the prelude: declared by whoever uses it
            if decl.name not in self.module.maps:
                self.module.maps[decl.name] = self._map_spec(decl)
            return decl.name
        if decl.program is not self.decl:
            raise fn.error(
                "PY140", node, f"map {decl.name or decl.kind} belongs to program {decl.program.name}",
                hint="declare it with this program; share maps between programs by pin=",
            )  # fmt: skip
        return decl.name

    def declare_maps(self) -> None:
        """All maps of the program, used or not: user space may use them."""
        for decl in self.decl.maps:
            self.module.maps[decl.name] = self._map_spec(decl)
            if isinstance(decl, M.Buffer):
                layout = self.filled(decl.event_layout)
                assert isinstance(layout, Struct)
                self.module.events[decl.name] = EventSchema(decl.event.__name__, decl.name, layout, decl.columns)
        histograms = {
            decl.name: {
                "scale": decl.scale, "low": decl.low, "high": decl.high, "step": decl.step, "buckets": decl.buckets,
                "keyed": decl.group is not None, "unit": decl.unit,
            }
            for decl in self.decl.maps
            if isinstance(decl, M.Histogram)
        }  # fmt: skip
        if histograms:
            self.module.extras["histograms"] = histograms

    def _map_spec(self, decl: M.MapDecl) -> MapSpec:
        spec = MapSpec(
            decl.name,
            decl.kind,
            key=self.filled(decl.key_layout) if decl.key_layout else None,
            value=self.filled(decl.value_layout) if decl.value_layout else None,
            max_entries=decl.max_entries,
            flags=decl.flags,
            extra=decl.extra,
            pin=decl.pin,
            role=decl.role,
            inner=None if decl.inner is None else self._map_spec(decl.inner),
        )
        if decl.kind == "perf_event_array":
            spec.key_size = spec.value_size = 4
        for key, value in decl.contents.items():
            if isinstance(value, (KernelFunction, M.MapDecl)) and decl.key_layout is not None:
                spec.contents.append((decl.key_layout.pack(key), value.name))
            else:
                raise CompileError("PY141", f"entry {key!r} of map {decl.name} is neither a kernel function nor a map")
        return spec

    def filled(self, layout: Layout) -> Layout:
        """A layout whose kernel enums have their members from BTF."""
        if isinstance(layout, Enum) and not layout.members and self._types is not None:
            found = self._types.enum_layout(layout.name)
            if found is None:
                raise CompileError(
                    "PY136", f"the kernel has no enum {layout.name!r}",
                    hint=", ".join(self._types.near(layout.name)) or None,
                )  # fmt: skip
            return Enum(layout.name, Int(layout.base.bits, found.base.signed), found.members)
        if isinstance(layout, Array):
            return Array(self.filled(layout.element), layout.count)
        if isinstance(layout, Struct):
            fields = [Field(f.name, self.filled(f.type), f.offset, f.bit, f.bits) for f in layout.fields]
            return Struct(layout.name, fields, layout.size, layout.align, layout.factory)
        return layout

    # -- the end ----------------------------------------------------------------------------------------------------

    def finish(self) -> Module:
        """Completes what could not be known before."""
        if self._causes:
            layout = Array(U64, len(self._causes))
            self.module.globals[ERRORS] = Global(ERRORS, layout, ".bss", b"", Span(self.decl.file))
            for value in self._error_places:
                value.type = Ptr(Space.GLOBAL, layout)
            self.module.extras["map_errors"] = list(self._causes)
        if self.prints:
            self.module.extras["prints"] = self.prints
        if self.decl.options:
            self.module.extras["options"] = [option.name for option in self.decl.options]
        return self.module
