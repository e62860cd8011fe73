"""System calls of x86-64 and aarch64: numbers, entry functions, argument names and C types.

The rows are generated (see ``_syscall_rows``). Names are those of the call tables (``openat``); the name of a call's
tracepoints (``syscalls:sys_enter_newstat`` for ``stat``) is that of its entry function.
"""

from __future__ import annotations

from osmia.abi._syscall_rows import ROWS
from osmia.abi._table import suggest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_COLUMNS = {"x86_64": 1, "aarch64": 2}
# arm64 takes the last two the other way round (CONFIG_CLONE_BACKWARDS).
_AARCH64_ARGS = {
    "clone": (
        ("clone_flags", "unsigned long"),
        ("newsp", "unsigned long"),
        ("parent_tidptr", "int *"),
        ("tls", "unsigned long"),
        ("child_tidptr", "int *"),
    ),
}


class Syscall:
    """One system call on one machine.

    :ivar name: as in the call table. :ivar number: on that machine. :ivar machine: ``x86_64`` or ``aarch64``.
    :ivar entry: entry function without ``sys_``; also the tail of its tracepoints' names.
    :ivar args: ``(name, C type)`` of each argument.
    """

    __slots__ = ("args", "entry", "machine", "name", "number")

    def __init__(self, name: str, number: int, machine: str, entry: str, args: tuple[tuple[str, str], ...]) -> None:
        self.name = name
        self.number = number
        self.machine = machine
        self.entry = entry
        self.args = args

    @property
    def tracepoints(self) -> tuple[str, str]:
        """The tracepoints at its entry and exit."""
        return f"syscalls:sys_enter_{self.entry}", f"syscalls:sys_exit_{self.entry}"

    def __repr__(self) -> str:
        return f"Syscall({self.name!r}, {self.number}, {self.machine!r})"


def syscall(key: str | int, machine: str = "") -> Syscall:
    """The call of a name (``openat``; ``sys_openat`` and the entry function's name work too) or number.

    Here and below, ``machine`` is ``x86_64`` or ``aarch64``; this computer when it is not given.

    :raises UsageError: ABI009 when the machine has no such call, ABI012 when there is no table for the machine.
    """
    index = _index(machine)
    number = key if isinstance(key, int) else index.get(key.removeprefix("sys_"))
    row = None if number is None else _by_number(machine).get(number)
    if row is None:
        from osmia.diagnostics import UsageError

        hint = suggest(str(key), index) if isinstance(key, str) else None
        raise UsageError("ABI009", f"{machine or 'this machine'} has no system call {key!r}", hint=hint)
    return row


def name_of(number: int, machine: str = "") -> str:
    """The table name of a call's number, ``""`` when there is none or no table for the machine."""
    if (machine or _here()) not in _COLUMNS:
        return ""
    row = _by_number(machine).get(number)
    return row.name if row is not None else ""


def numbers(machine: str = "") -> dict[str, int]:
    """Number of every call by its table name.

    :raises UsageError: ABI012 when there is no table for the machine.
    """
    return {row.name: number for number, row in _by_number(machine).items()}


def syscalls(machine: str = "") -> Iterator[Syscall]:
    """All calls of a machine in the order of their numbers.

    :raises UsageError: ABI012 when there is no table for the machine.
    """
    return iter(_by_number(machine).values())


def _here() -> str:
    import os

    return os.uname().machine


_CACHE: dict[str, dict[int, Syscall]] = {}
_NAMES: dict[str, dict[str, int]] = {}


def _by_number(machine: str) -> dict[int, Syscall]:
    machine = machine or _here()
    made = _CACHE.get(machine)
    if made is None:
        column = _COLUMNS.get(machine)
        if column is None:
            from osmia.diagnostics import UsageError

            raise UsageError(
                "ABI012", f"no system calls of the machine {machine!r}", hint="there are some of x86_64 and aarch64"
            )
        special = _AARCH64_ARGS if machine == "aarch64" else {}
        made = {}
        for name, x86, arm, entry, args in ROWS:
            number = x86 if column == 1 else arm
            if number >= 0:
                made[number] = Syscall(name, number, machine, entry, special.get(name, args))
        made = _CACHE[machine] = dict(sorted(made.items()))
    return made


def _index(machine: str) -> dict[str, int]:
    machine = machine or _here()
    found = _NAMES.get(machine)
    if found is None:
        rows = _by_number(machine).values()
        found = {row.entry: row.number for row in rows} | {row.name: row.number for row in rows}
        _NAMES[machine] = found
    return found
