"""The evaluator: a module with its maps, globals and memory, and runs of its functions."""

from __future__ import annotations

import random

from osmia.compiler.evaluate.buffers import BUSY, SUBMITTED, Event, RingMap
from osmia.compiler.evaluate.core import KernelTypes
from osmia.compiler.evaluate.faults import Fault
from osmia.compiler.evaluate.frame import Ready, Run, at
from osmia.compiler.evaluate.maps import Map, Setting
from osmia.compiler.evaluate.memory import NULL, AddressSpace, Pointer, Region
from osmia.compiler.evaluate.result import Environment, Result
from osmia.compiler.evaluate.special import make_map
from osmia.compiler.evaluate.values import convert
from osmia.compiler.ir import VOID, Ptr, Space
from osmia.diagnostics import UsageError
from osmia.object.layout import Layout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any

    from osmia.btf import Btf
    from osmia.compiler.ir import Function, Module, Value

KERNEL_START = 0xFFFF_8880_0000_0000
USER_START = 0x7F00_0000_0000
STEPS = 1_000_000


class Globals:
    """The module's global variables by name, as Python values of their layouts; assignable, like a dict's items."""

    def __init__(self, module: Module, regions: dict[str, Region]) -> None:
        self._module = module
        self._regions = regions

    def _region(self, name: str) -> Region:
        found = self._regions.get(name)
        if found is None:
            raise UsageError("IR357", f"there is no global variable {name!r}", hint=_near(name, self._regions))
        return found

    def __getitem__(self, name: str) -> Any:
        data = bytes(self._region(name).data)
        return self._module.globals[name].layout.unpack(data)

    def __setitem__(self, name: str, value: Any) -> None:
        region = self._region(name)
        layout = self._module.globals[name].layout
        try:
            region.data[:] = layout.pack(value)
        except (ValueError, TypeError, AttributeError) as error:
            raise UsageError("IR357", f"{value!r} is no value of {name}: {error}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._regions)

    def __len__(self) -> int:
        return len(self._regions)


class Evaluator:
    """Runs functions of a module over simulated memory, exactly by the rules of the IR.

    State lasts from run to run: maps, globals, kernel and user memory, time, random numbers. Two evaluators of one
    module share nothing. The module may not be changed while an evaluator uses it.

    :param module: what to run; it should be legal (``compiler.legality``), what is not is a fault when it is reached.
    :param helpers: further helpers, or others in place of the built-in ones: name without ``bpf_`` to a function
        ``(run, *args)``. Numbers arrive as unsigned numbers of 64 bits; an int, bool, Pointer or None is returned.
    :param kfuncs: kernel functions likewise; numbers arrive as the values that they are.
    :param btf: types of the kernel for CO-RE.
    :param core: types of the kernel as layouts, by name; they come before ``btf``.
    :param ksyms: addresses of kernel symbols.
    :param per_cpu: address of a per-CPU symbol to the addresses of its copies.
    :param kconfig: values of configuration options.
    :param cpus: how many CPUs per-CPU maps have. :param ring_bytes: size of rings whose spec leaves it open.
    :param drain: user space reads all ring records after every run; otherwise ``maps[...].consume()`` does.
    :param strict_locals: reading a scalar local that was never set is a fault; else it is zero, as in compiled code.
    :param environment: settings of :class:`Environment` (``pid=1, comm="x"``).
    :raises UsageError: IR357: a map or a setting that cannot be.

    :ivar maps: the maps by name. :ivar globals: the global variables. :ivar env: the surroundings.
    :ivar kernel: kernel memory (``kernel.map(bytes) -> address``). :ivar user: user memory likewise.
    """

    def __init__(
        self,
        module: Module,
        *,
        helpers: Mapping[str, Callable[..., Any]] | None = None,
        kfuncs: Mapping[str, Callable[..., Any]] | None = None,
        btf: Btf | None = None,
        core: Mapping[str, Layout] | None = None,
        ksyms: Mapping[str, int] | None = None,
        per_cpu: Mapping[int, Sequence[int]] | None = None,
        kconfig: Mapping[str, int] | None = None,
        cpus: int = 1,
        ring_bytes: int = 256 * 1024,
        drain: bool = True,
        strict_locals: bool = False,
        **environment: Any,
    ) -> None:
        self.module = module
        self.env = Environment(**environment)
        self.helpers = {name.removeprefix("bpf_"): function for name, function in (helpers or {}).items()}
        self.kfuncs = dict(kfuncs or {})
        self.types = KernelTypes(btf, core)
        self.ksyms = dict(ksyms or {})
        self.per_cpu = dict(per_cpu or {})
        self.kconfig = dict(kconfig or {})
        self.drain = drain
        self.strict_locals = strict_locals
        self.kernel = AddressSpace(Space.KERNEL, KERNEL_START)
        self.user = AddressSpace(Space.USER, USER_START)
        self.random = random.Random(self.env.seed)
        self._ready: dict[str, Ready] = {}
        self._setting = Setting(self.kernel, cpus, ring_bytes, self._map)
        self.maps: dict[str, Map] = {name: make_map(spec, self._setting) for name, spec in module.maps.items()}
        for name, spec in module.maps.items():
            for key, value in spec.contents:
                self.maps[name].store(key, value)
        self.global_regions = {
            name: Region(
                f"global variable {name}", Space.GLOBAL, bytearray(made.init), self.kernel,
                not made.section.startswith(".rodata"),
            )
            for name, made in module.globals.items()
        }  # fmt: skip
        self.globals = Globals(module, self.global_regions)

    def _map(self, name: str) -> Map:
        found = self.maps.get(name)
        if found is None:
            raise UsageError("IR357", f"there is no map {name!r}", hint=_near(name, self.maps))
        return found

    def new_map(self, spec: Any) -> Map:
        """A further map that is not the module's, such as an inner map of a map of maps."""
        return make_map(spec, self._setting)

    def ready(self, function: Function) -> Ready:
        """A function made ready to run."""
        found = self._ready.get(function.name)
        if found is None or found.function is not function:
            found = self._ready[function.name] = Ready(function)
        return found

    def run(
        self,
        function: str,
        context: bytes = b"",
        *args: Any,
        packet: bytes | None = None,
        meta: bytes = b"",
        steps: int = STEPS,
        **environment: Any,
    ) -> Result:
        """Runs a function.

        :param function: its name.
        :param context: bytes of the context, where the first parameter is one; zeros follow up to the size that the
            parameter's type has.
        :param args: the other parameters: an int or bool; bytes for a pointer, which become memory of its space; an
            address or a Pointer; None for null.
        :param packet: the packet's bytes, for programs that have one. :param meta: bytes in front of it.
        :param steps: how many operations may run.
        :param environment: settings of :class:`Environment` for this run and the following ones (``cpu=1``).
        :raises EvaluationFault: the program did what a compiled program may not; the span is the operation's.
        :raises UsageError: IR357: there is no such function, or the arguments do not fit it.
        """
        found = self.module.functions.get(function)
        if found is None:
            raise UsageError("IR357", f"there is no function {function!r}", hint=_near(function, self.module.functions))
        for name, value in environment.items():
            if name not in Environment.__slots__:
                raise UsageError("IR357", f"the evaluator has no setting '{name}'")
            setattr(self.env, name, value)
        if not 0 <= self.env.cpu < self._setting.cpus:
            raise UsageError("IR357", f"CPU {self.env.cpu} of {self._setting.cpus}", hint="see Evaluator(cpus=...)")
        self._setting.cpu = self.env.cpu
        self._setting.log.clear()
        for table in self.maps.values():
            if isinstance(table, RingMap):
                table.forget_busy()
        run = Run(self, steps)
        run.is_xdp = found.section.startswith("xdp") or (found.hook is not None and found.hook.kind == "xdp")
        if packet is not None:
            run.packet = Region("the packet", Space.PACKET, bytearray(meta + packet), self.kernel)
            run.packet_start = len(meta)
        made, context_region = self._arguments(found, bytes(context), args)
        try:
            value = run.call(found, made)
            self._finish(run)
        except Fault as fault:
            raise at(fault, run.op, run.function) from None
        finally:
            if context_region is not None:
                context_region.dead = "its program has ended"
        return self._result(run, found, value, context_region)

    def call(self, function: str, *args: Any, **options: Any) -> Any:
        """The value of a function that takes no context; arguments and options as in :meth:`run`."""
        return self.run(function, b"", *args, **options).value

    def _arguments(self, function: Function, context: bytes, args: Sequence[Any]) -> tuple[list[Any], Region | None]:
        params = list(function.params)
        made: list[Any] = []
        region = None
        if params and isinstance(params[0].type, Ptr) and params[0].type.space is Space.CTX:
            to = params[0].type.to
            size = to.size if isinstance(to, Layout) else 0
            region = Region("the context", Space.CTX, bytearray(context.ljust(size, b"\0")), self.kernel)
            made.append(Pointer(region, 0))
        elif context:
            raise UsageError("IR357", f"{function.name} takes no context", hint="give other arguments after context")
        rest = params[len(made) :]
        if len(rest) != len(args):
            raise UsageError("IR357", f"{function.name} takes {len(rest)} arguments beside a context, not {len(args)}")
        made += [self._argument(parameter, value) for parameter, value in zip(rest, args, strict=True)]
        return made, region

    def _argument(self, parameter: Value, value: Any) -> Any:
        type_ = parameter.type
        if isinstance(type_, Ptr):
            if isinstance(value, (bytes, bytearray)):
                region = Region(f"argument {parameter.name}", type_.space, bytearray(value), self.kernel)
                if type_.space in (Space.KERNEL, Space.BTF):
                    return Pointer(None, region.base)
                if type_.space is Space.USER:
                    return Pointer(None, self.user.map(bytes(value)))
                return Pointer(region, 0, 0, len(value))
            if value is None:
                return NULL
        if not isinstance(value, (int, Pointer, Map)):
            raise UsageError("IR357", f"{value!r} is no argument for {parameter.name}: {type_}")
        return convert(value, type_, self.kernel)

    def _finish(self, run: Run) -> None:
        """What must be in order when a program ends."""
        if run.locked is not None:
            raise Fault("IR358", "the program ends and holds a spin lock", "release it on every way")
        for table in self.maps.values():
            if isinstance(table, RingMap):
                if any(record.state == BUSY for record in table.records):
                    raise Fault(
                        "IR350", f"the program ends with a record of ring {table.name} that it neither submitted nor "
                        "discarded", "end each record once on every way"
                    )  # fmt: skip
                if self.drain:
                    table.consume()

    def _result(self, run: Run, function: Function, value: Any, context: Region | None) -> Result:
        result = Result()
        result.value = 0 if function.result is VOID and function.kind == "program" else value
        for name, record in self._setting.log:
            if record.state == SUBMITTED:
                schema = self.module.events.get(name)
                layout = schema.layout if schema is not None else None
                result.events.append(Event(name, bytes(record.region.data), record.cpu, layout))
        result.printed = run.printed
        result.output = bytes(run.output)
        result.maps = self.maps
        result.context = bytes(context.data) if context is not None else b""
        result.packet = run.packet_bytes()
        if run.packet is not None:
            result.meta = bytes(run.packet.data[run.packet_meta : run.packet_start])
        result.steps = run.steps
        result.tail_calls = run.tail_calls
        result.redirects = run.redirects
        result.signals = run.signals
        return result


def _near(name: str, known: Mapping[str, object]) -> str:
    from osmia.diagnostics.text import did_you_mean

    return did_you_mean(name, known) or f"there are {', '.join(known) or 'none'}"
