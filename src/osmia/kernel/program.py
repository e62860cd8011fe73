"""A live program."""

from __future__ import annotations

import errno
import os

from osmia.diagnostics.errors import LoadError
from osmia.kernel import syscall

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self

    from osmia.kernel.inspect_objects import ProgramInfo
    from osmia.kernel.test_run import TestResult
    from osmia.object.spec import ProgramSpec


class Program:
    """A program in the kernel. Closing gives up the descriptor; links keep the program alive.

    :ivar name: the name in the spec. :ivar fd: descriptor, -1 when closed. :ivar spec: what it was loaded from, with
        its hook; None for programs that others loaded. :ivar prog_type: number of ``abi.prog_types``.
    :ivar log: the verifier's log, if one was asked for.
    """

    __slots__ = ("_pins", "attach_type", "fd", "log", "name", "prog_type", "spec")

    def __init__(
        self, fd: int, name: str, prog_type: int, attach_type: int = 0, spec: ProgramSpec | None = None, log: str = ""
    ) -> None:
        self.fd = fd
        self.name = name
        self.prog_type = prog_type
        self.attach_type = attach_type
        self.spec = spec
        self.log = log
        self._pins: list[Any] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Program {self.name!r} ({'closed' if self.fd < 0 else f'fd {self.fd}'})>"

    def fileno(self) -> int:
        """The descriptor. :raises LoadError: KRN042 when the program is closed."""
        if self.fd < 0:
            raise LoadError("KRN042", f"program '{self.name}' is closed", errno=errno.EBADF)
        return self.fd

    def close(self) -> None:
        """Gives up the descriptor and removes temporary pins. Closing twice is fine."""
        for pin in self._pins:
            pin.remove()
        self._pins.clear()
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            os.close(fd)

    @property
    def id(self) -> int:
        """The program's number in the kernel."""
        return self.info().id

    def info(self) -> ProgramInfo:
        """What the kernel says about it, with run statistics."""
        from osmia.kernel.inspect_objects import read_program

        return read_program(self.fileno())

    def pin(self, path: str, *, temporary: bool = False) -> None:
        """Gives it a name in a bpf file system; see :meth:`osmia.kernel.maps.Map.pin`."""
        from osmia.kernel import pins

        record = pins.pin(self.fileno(), path, f"program '{self.name}'", temporary=temporary)
        if record is not None:
            self._pins.append(record)

    def test_run(self, data: bytes = b"", **options: Any) -> TestResult:
        """Runs it once in the kernel; see :func:`osmia.kernel.test_run.test_run`."""
        from osmia.kernel.test_run import test_run

        return test_run(self, data, **options)


def program_from_id(number: int) -> Program:
    """The program with that number in the kernel (needs CAP_SYS_ADMIN). :raises LoadError: KRN030."""
    from osmia.abi import commands
    from osmia.kernel import refusals
    from osmia.kernel.inspect_objects import read_program

    try:
        fd = syscall.fd_by_id(commands.PROG_GET_FD_BY_ID, number)
    except OSError as error:
        raise refusals.no_such_object("program", number, error) from None
    info = read_program(fd)
    return Program(fd, info.name, info.type_number)


def open_pinned_program(path: str) -> Program:
    """The program pinned at ``path``. :raises LoadError: KRN025 when nothing, or something else, is pinned there."""
    from osmia.kernel import pins
    from osmia.kernel.inspect_objects import read_program

    fd = pins.open_pin(path, "program")
    info = read_program(fd)
    return Program(fd, info.name, info.type_number)
