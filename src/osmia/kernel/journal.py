"""A journal of what would outlive this process: filters of clsact, XDP programs without a link, temporary pins.

Before such a thing is made, a file that says how to undo it is written to a private folder; when it is undone the file
goes. What a killed process left behind is undone by the next run (:func:`clean_stale`), once the process that wrote the
file is gone.
"""

from __future__ import annotations

import os
import stat

from osmia.diagnostics.errors import LoadError, OsmiaError
from osmia.diagnostics.text import clean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_FOLDER = "osmia"
_count = 0


class Entry:
    """One thing to undo. :ivar facts: what is needed for it. :ivar path: its file."""

    __slots__ = ("facts", "path")

    def __init__(self, path: str, facts: dict[str, Any]) -> None:
        self.path = path
        self.facts = facts

    @property
    def alive(self) -> bool:
        """Whether the process that wrote it still runs."""
        if self.facts.get("boot") != boot_id():
            return False
        return process_start(int(self.facts.get("pid", 0))) == self.facts.get("start")

    def forget(self) -> None:
        """It is undone, or was not done."""
        try:  # noqa: SIM105
            os.unlink(self.path)
        except OSError:
            pass  # cleaned up already

    def change(self, **facts: Any) -> None:
        """What is needed to undo it has changed."""
        self.facts.update(facts)
        _write(self.path, self.facts)

    def remove(self) -> None:
        """Undoes it and forgets it. :raises OsmiaError: when it cannot be undone."""
        self.undo()
        self.forget()

    def undo(self) -> bool:
        """Undoes it; False when there was nothing left to undo."""
        facts = self.facts
        kind = facts.get("kind")
        if facts.get("boot") != boot_id():
            return False  # nothing of this kind outlives the kernel
        if kind == "pin":
            return _remove_pin(str(facts["path"]), int(facts.get("object") or 0))
        if kind == "tc":
            from osmia.kernel.attach.network import remove_filter

            return remove_filter(
                int(facts["netns"]), int(facts["ifindex"]), str(facts["direction"]), int(facts["prog_id"]),
                bool(facts["qdisc"]),
            )  # fmt: skip
        if kind == "xdp":
            from osmia.kernel.attach.network import remove_xdp

            return remove_xdp(int(facts["netns"]), int(facts["ifindex"]), int(facts["flags"]), int(facts["prog_id"]))
        if kind == "cgroup":
            return _remove_from_cgroup(str(facts["path"]), int(facts["attach_type"]), int(facts["prog_id"]))
        return False

    def describe(self) -> str:
        """What it is, in words."""
        facts = self.facts
        words = {
            "pin": "pin {path}",
            "tc": "tc filter on {direction} of {device}",
            "xdp": "XDP program on {device}",
            "cgroup": "program on cgroup {path}",
        }.get(str(facts.get("kind")), "unknown attachment")
        return clean(words.format(**facts))


class Cleaned:
    """What became of a stale entry: ``done`` or the ``problem`` that it could not be undone for."""

    __slots__ = ("description", "done", "problem")

    def __init__(self, description: str, done: bool, problem: str = "") -> None:
        self.description = description
        self.done = done
        self.problem = problem

    def __repr__(self) -> str:
        return f"Cleaned({self.description!r}, {'done' if self.done else self.problem or 'gone already'})"


def folder() -> str:
    """The journal's folder: of root ``/run/osmia``, of a user in his runtime folder."""
    if os.geteuid() == 0:
        return f"/run/{_FOLDER}"
    return f"{os.environ.get('XDG_RUNTIME_DIR') or f'/run/user/{os.geteuid()}'}/{_FOLDER}"


def record(kind: str, **facts: Any) -> Entry:
    """Writes down what is about to be made. :raises LoadError: KRN050 when it cannot be written down."""
    global _count
    where = folder()
    pid = os.getpid()
    start = process_start(pid)
    facts = {"kind": kind, "pid": pid, "start": start, "boot": boot_id(), **facts}
    try:
        os.makedirs(where, mode=0o700, exist_ok=True)
        _check_private(where)
        _count += 1
        path = f"{where}/{pid}-{start}-{_count}.json"
        _write(path, facts)
    except OSError as error:
        raise LoadError(
            "KRN050",
            f"what outlives this process cannot be written down in {clean(where)}: {error.strerror}",
            errno=error.errno or 0,
            hint="make the folder writable for this user alone, or use attachments with links (Linux 5.9)",
        ) from None
    return Entry(path, facts)


def entries() -> list[Entry]:
    """What is written down, by all processes of this user."""
    where = folder()
    try:
        _check_private(where)
        names = sorted(os.listdir(where))
    except (OSError, LoadError):
        return []
    found = []
    for name in names:
        facts = _read(f"{where}/{name}") if name.endswith(".json") else None
        if facts is not None:
            found.append(Entry(f"{where}/{name}", facts))
    return found


def clean_stale() -> list[Cleaned]:
    """Undoes what processes left behind that are gone; what each entry was, and what became of it."""
    results = []
    for entry in entries():
        if entry.alive:
            continue
        try:
            done = entry.undo()
        except (OsmiaError, OSError) as error:
            results.append(Cleaned(entry.describe(), False, str(error)))
            continue
        except (KeyError, ValueError, TypeError):
            done = False  # not of our making
        entry.forget()
        results.append(Cleaned(entry.describe() if done else _safe(entry), done))
    return results


def _safe(entry: Entry) -> str:
    try:
        return entry.describe()
    except (KeyError, ValueError, TypeError, IndexError):
        return "unreadable entry"


def boot_id() -> str:
    """What tells one boot of the machine from another."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


def process_start(pid: int) -> int:
    """When a process started, in ticks since boot; 0 when there is none. Numbers of processes are used again."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return 0


def _check_private(where: str) -> None:
    info = os.lstat(where)
    if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.geteuid() or info.st_mode & 0o022:
        raise LoadError(
            "KRN050",
            f"{clean(where)} is not a folder of this user alone",
            hint=f"remove it, or: chown {os.geteuid()} {where}; chmod 700 {where}",
        )


def _write(path: str, facts: dict[str, Any]) -> None:
    import json

    temporary = f"{path}.new"
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.write(handle, json.dumps(facts).encode())
    finally:
        os.close(handle)
    os.rename(temporary, path)


def _read(path: str) -> dict[str, Any] | None:
    import json

    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        info = os.fstat(handle)
        if not stat.S_ISREG(info.st_mode) or info.st_uid != os.geteuid() or info.st_size > 1 << 16:
            return None
        facts = json.loads(os.read(handle, 1 << 16))
    except (OSError, ValueError):
        return None
    finally:
        os.close(handle)
    return facts if isinstance(facts, dict) else None


def _remove_pin(path: str, number: int) -> bool:
    """Removes a pin if it still is the object that was pinned."""
    from osmia.kernel import pins

    if not os.path.lexists(path) or not pins.in_bpf_file_system(os.path.dirname(path) or "."):
        return False
    if number and pins.pinned_id(path) != number:
        return False
    pins.unpin(path)
    return True


def _remove_from_cgroup(path: str, attach_type: int, prog_id: int) -> bool:
    from osmia.abi import commands
    from osmia.kernel import syscall
    from osmia.kernel.attach.control import undo_attachment

    try:
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        if prog_id not in syscall.prog_query(handle, attach_type):
            return False
        program = syscall.fd_by_id(commands.PROG_GET_FD_BY_ID, prog_id)
    except OSError:
        return False
    finally:
        os.close(handle)
    try:
        undo_attachment(path, attach_type, program)
    finally:
        os.close(program)
    return True
