"""The class that program files make one object of."""

from __future__ import annotations

import sys

from osmia.diagnostics import RunError
from osmia.lang.program import ProgramDecl
from osmia.runtime.views import View, show_rows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    from osmia.lang.hooks import KernelFunction
    from osmia.lang.maps import MapDecl
    from osmia.runtime.names import StackNames
    from osmia.runtime.session import Session


class Program(ProgramDecl):
    """A program: kernel functions, the maps they share, and what user space does with the results.

    Declarations (maps, events, hooks, callbacks) come from :class:`osmia.lang.program.ProgramDecl`; this class adds
    running, building and testing. ``prog.NAME`` is the kernel function of that name.
    """

    def __init__(self, name: str, *, license: str = "GPL", description: str = "") -> None:
        super().__init__(name, license=license, description=description)
        self.reports: list[Callable[[], object]] = []
        self._session: Session | None = None

    def __getattr__(self, name: str) -> KernelFunction:
        for function in self.__dict__.get("functions", ()):
            if function.name == name:
                return function  # type: ignore[no-any-return]
        raise AttributeError(f"program {self.__dict__.get('name')} has no kernel function {name!r}")

    # -- running ----------------------------------------------------------------------------------------------------

    def run(self, words: Sequence[str] | None = None, **options: Any) -> None:
        """Runs the program until it is interrupted, and exits with a non-zero status where that failed.

        Without ``options`` the process's command line is parsed, as ``osmia run`` would.

        :param words: a command line to parse instead of ``sys.argv``.
        :param options: fields of :class:`osmia.runtime.options.RunOptions`, instead of any command line.
        """
        from osmia.runtime.console import guarded
        from osmia.runtime.launch import run_program

        given = list(sys.argv[1:] if words is None else words)
        verbose = bool(options.get("verbose")) or "-v" in given or "--verbose" in given
        status = guarded(lambda: run_program(self, given, options), verbose)
        if status:
            raise SystemExit(status)

    def open(self, **options: Any) -> Session:
        """A session as a context manager: loaded and attached inside, gone after.

        :param options: fields of :class:`osmia.runtime.options.RunOptions`.
        """
        from osmia.runtime.launch import open_program

        return open_program(self, options)

    def build(self, path: str = "") -> bytes:
        """The program as a portable ELF object, written to ``path`` where one is given.

        :raises CompileError: it cannot be compiled exactly.
        """
        from osmia.runtime.pipeline import compile_object

        data = compile_object(self)
        if path:
            with open(path, "wb") as file:
                file.write(data)
        return data

    def test_run(self, function: KernelFunction, *args: Any, **options: Any) -> Any:
        """Runs a kernel function once; outside a session it is loaded for this one run.

        See :func:`osmia.kernel.test_run.test_run` for arguments and result.
        """
        if self._session is not None:
            return self._session.test_run(function.name, *args, **options)
        with self.open(attach=False) as session:
            return session.test_run(function.name, *args, **options)

    # -- output -----------------------------------------------------------------------------------------------------

    def report(self, function: Callable[[], object]) -> Callable[[], object]:
        """Calls a function to print results: at every ``--interval``, and at the end.

        A program with a report shows only what its reports show; one without shows all its maps at the end, except
        those
        whose names begin with an underscore.
        """
        self.reports.append(function)
        return function

    def show(
        self,
        source: MapDecl,
        *,
        title: str = "",
        unit: str = "",
        columns: dict[str, str] | None = None,
        clear: bool = False,
        top: int = 0,
    ) -> None:
        """Prints a map: a histogram as bars, anything else as a table with the greatest values first.

        :param columns: display formats by column: ``key`` and ``value``, or the names of a struct's fields; ``hidden``.
        :param clear: empty the map afterwards, so that the next report starts anew.
        """
        session = self._running("show")
        View(source, title, unit, columns, clear, top).show(session.sink, session.options.top)

    def table(
        self,
        name: str,
        columns: Sequence[str],
        rows: Iterable[Sequence[Any]],
        *,
        formats: dict[str, str] | None = None,
        sort: str = "",
        headings: bool = True,
    ) -> None:
        """Prints rows that user space computed.

        :param columns: the columns' names. :param formats: display formats by column; ``hidden`` leaves one out.
        :param sort: the column to sort by, greatest first; ``--top`` then keeps the first rows.
        :param headings: whether the text output has headings and aligned columns.
        """
        session = self._running("table")
        show_rows(session.sink, name, columns, rows, formats or {}, sort, session.options.top, headings)

    @property
    def symbols(self) -> StackNames:
        """Names for stacks, while the program runs."""
        return self._running("symbols").names

    def bind_session(self, session: Session | None) -> None:
        """Connects the program with its session; ``None`` disconnects."""
        self._session = session

    def _running(self, what: str) -> Session:
        if self._session is None:
            raise RunError(
                "RUN030",
                f"prog.{what} is of use only while the program runs",
                hint="call it from a callback such as @prog.report, or inside `with prog.open()`",
            )
        return self._session
