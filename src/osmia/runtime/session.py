"""A session: one collection loaded, configured, attached and read until it ends.

Order matters: filters are constants before anything loads; the command to trace is forked but held until every program
is attached; on the way out links close first, then buffers are drained, then maps are shown, so that nothing is lost
between.
"""

from __future__ import annotations

import os
import sys

from osmia.diagnostics import RunError
from osmia.runtime import filters
from osmia.runtime.names import StackNames
from osmia.runtime.sinks import open_sink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from osmia.kernel.load import LoadedCollection
    from osmia.lang.program import ProgramDecl
    from osmia.object.spec import CollectionSpec
    from osmia.runtime.command import HeldCommand
    from osmia.runtime.options import RunOptions
    from osmia.runtime.sinks import Sink


class Session:
    """A running collection. Use it as a context manager: loaded and attached inside, gone after.

    :ivar spec: the collection, fitted to this kernel. :ivar options: the run's settings. :ivar sink: where results go.
    :ivar names: names for stacks. :ivar skipped: (hook, reason) of probes that could not be attached while others were.
    """

    def __init__(
        self,
        spec: CollectionSpec,
        options: RunOptions,
        program: ProgramDecl | None = None,
        sink: Sink | None = None,
    ) -> None:
        self.spec = spec
        self.options = options
        self.program = program
        self.sink: Sink = sink or open_sink(options.form, options.output or None)
        if options.top and spec.events:
            from osmia.runtime.limit import FirstRows

            self.sink = FirstRows(self.sink, options.top, self._enough)
        self._full = False
        self.names = StackNames()
        self.skipped: list[tuple[str, str]] = []
        self._loaded: LoadedCollection | None = None
        self._links: list[Any] = []
        self._streams: list[Any] = []
        self._command: HeldCommand | None = None
        self._closing: list[Any] = []

    # -- life -------------------------------------------------------------------------------------------------------

    def __enter__(self) -> Session:
        try:
            self._open()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def loaded(self) -> LoadedCollection:
        """The live programs and maps.

        :raises RunError: RUN031 before the session is entered or after it is closed.
        """
        if self._loaded is None:
            raise RunError(
                "RUN031", "the session is not open", hint="use it as a context manager: with prog.open() as session"
            )
        return self._loaded

    @property
    def streams(self) -> list[Any]:
        """The session's event buffers."""
        return self._streams

    def test_run(self, name: str, *args: Any, **options: Any) -> Any:
        """Runs a loaded program once; see :func:`osmia.kernel.test_run.test_run`."""
        return self.loaded.programs[name].test_run(*args, **options)

    def run(self) -> int:
        """Reads events and prints results until a signal, the duration or the command's end; returns the status."""
        from osmia.runtime.loop import Loop

        with Loop() as loop:
            for stream in self._streams:
                loop.reader(stream.fileno(), stream.on_ready)
            if self.options.duration is not None:
                loop.deadline(self.options.duration)
            if self.program is not None:
                for seconds, function in self.program.timers:
                    loop.every(seconds, _quiet(function))
            if self.options.interval is not None:
                loop.every(self.options.interval, self.report)
            self._notify_attached()
            if self._command is not None:
                loop.reader(self._command.pidfd, lambda: loop.stop("command"))
                self._command.release()
            elif self._only_iterates() and self.options.interval is None:
                loop.stop("iterated")
            while not loop.stopped_by:
                loop.step()
                if self._full and self._command is None:
                    loop.stop("enough")
            self.finish()
        status = self._command.poll() if self._command is not None else 0
        return status or 0

    def finish(self) -> None:
        """Detaches everything, drains the buffers, runs end programs, and prints the final results and losses."""
        iterators = [link for link in self._links if link.kind == "iter"]
        self._links = [link for link in self._links if link.kind != "iter"]
        self._detach()
        self._links = iterators
        for stream in self._streams:
            stream.drain()
        self._run_programs("end")
        for stream in self._streams:
            stream.drain()
        self.report(final=True)
        if self.program is not None:
            for function in self.program.finals:
                function()
        losses = self.losses()
        if losses:
            self.sink.loss(losses)
        self.sink.flush()

    def report(self, final: bool = False) -> None:
        """Prints the program's reports, or all its maps where it has none."""
        from osmia.runtime.views import View

        self._print_iterators()
        reports = getattr(self.program, "reports", [])
        for function in reports:
            function()
        if not reports and self.program is not None and (self.options.interval or not self.program.finals):
            for declared in self.program.maps:
                if _shown(declared):
                    View(declared).show(self.sink, self.options.top, skip_empty=True)
        if not final:
            self.sink.flush()

    def losses(self) -> dict[str, int]:
        """What was lost so far, by cause; only causes with a count."""
        from osmia.runtime.losses import collect

        return collect(self.spec, self.loaded, self._streams, self.names)

    def close(self) -> None:
        """Detaches and frees everything; may be called twice and at any time."""
        self._detach()
        if self.program is not None:
            self._bind(None)
        for stream in self._streams:
            stream.close()
        self._streams = []
        if self._command is not None:
            self._command.close()
        if self._loaded is not None:
            self._loaded.close()
            self._loaded = None
        self.names.close()
        self.sink.close()

    # -- opening ----------------------------------------------------------------------------------------------------

    def _open(self) -> None:
        from osmia.kernel.load import load
        from osmia.runtime.configure import configure

        if self.options.command:
            from osmia.runtime.command import HeldCommand

            # What machines read must stay readable: the command's own output goes beside it.
            mixed = self.options.form in ("json", "csv") and not self.options.output
            self._command = HeldCommand(self.options.command, stdout=2 if mixed else 1)
        self._loaded = load(self.spec, configure(self.spec, self.options, self.program))
        self._bind(self._loaded)
        self._seed_tree()
        self._open_streams()
        self._run_programs("begin")
        if self.options.attach:
            self._attach()

    def _bind(self, loaded: LoadedCollection | None) -> None:
        program = self.program
        if program is None:
            return
        for declared in program.maps:
            live = loaded.maps.get(declared.name) if loaded is not None else None
            if live is not None:
                # The declaration's layouts know the user's classes; those of a cached spec do not.
                live.key = declared.key_layout or live.key
                live.value = declared.value_layout or live.value
            declared.bind(live)
        for variable in program.variables:
            known = loaded is not None and variable.name in loaded.spec.global_vars
            variable.bind(_LiveVariable(loaded, variable.name) if loaded is not None and known else None)
        for function in program.functions:
            function.bind(loaded.programs.get(function.name) if loaded is not None else None)
        bind_session = getattr(program, "bind_session", None)
        if bind_session is not None:
            bind_session(self if loaded is not None else None)

    def _seed_tree(self) -> None:
        if self._command is None:
            return
        tree: Any = self.loaded.maps.get(filters.TREE_MAP)
        if tree is None:
            sys.stderr.write(
                "note: this program is not about processes; it runs as long as the command, and sees everything\n"
            )
            return
        tree[self._command.pid] = 1

    def _open_streams(self) -> None:
        if self.spec.events or self.spec.extras.get("prints"):
            from osmia.runtime.streams import open_streams

            self._streams = open_streams(self)

    def _attach(self) -> None:
        from osmia.runtime.hooks import attach_all

        attach_all(self.spec, self.loaded, self.options, self._links, self.skipped)
        if self.skipped:
            from osmia.runtime.hooks import describe_skipped

            sys.stderr.write(describe_skipped(self.skipped))

    def _run_programs(self, kind: str) -> None:
        """Runs the programs of ``begin`` or ``end`` hooks once each."""
        if not self.options.attach:
            return
        for name, program in self.loaded.programs.items():
            if self.spec.programs[name].hook.kind == kind:
                program.test_run()

    def _enough(self) -> None:
        """``--top`` rows were shown: nothing more to wait for, unless a command is to run to its end."""
        self._full = True

    def _only_iterates(self) -> bool:
        """Whether the programs run on demand only, so that there is nothing to wait for."""
        kinds = {row.hook.kind for row in self.spec.programs.values() if not row.hook.options.get("when")}
        return kinds <= {"iter", "begin", "end", "syscall", "func"}

    def _print_iterators(self) -> None:
        """Runs every attached iterator once; what the programs print goes to the sink line by line."""
        for link in self._links:
            if link.kind == "iter":
                for line in link.read().decode("utf-8", "backslashreplace").splitlines():
                    self.sink.text(line)

    def _detach(self) -> None:
        while self._links:
            self._links.pop().close()

    def _notify_attached(self) -> None:
        if os.environ.get("OSMIA_NOTIFY_ATTACHED"):
            sys.stderr.write("attached\n")
            sys.stderr.flush()


def _quiet(function: Callable[[], object]) -> Callable[[], None]:
    def call() -> None:
        function()

    return call


class _LiveVariable:
    """A global variable of a loaded collection, as :class:`osmia.lang.program.Var` wants it."""

    __slots__ = ("_loaded", "_name")

    def __init__(self, loaded: LoadedCollection, name: str) -> None:
        self._loaded = loaded
        self._name = name

    @property
    def value(self) -> Any:
        """The present value."""
        return self._loaded.get_global(self._name)

    @value.setter
    def value(self, value: Any) -> None:
        self._loaded.set_global(self._name, value)


def _shown(declared: Any) -> bool:
    return declared.role in ("", "histogram") and not declared.name.startswith("_") and hasattr(declared, "key_layout")
