"""Programs that run at times and on counts: sampling and counting events, intervals; and once, at begin and end."""

from __future__ import annotations

import errno
import os

from osmia.abi.uapi_perf import PERF_FLAG_PID_CGROUP, PERF_TYPE_SOFTWARE
from osmia.diagnostics.errors import AttachError
from osmia.kernel import cpu, syscall
from osmia.kernel.attach.link import CalledLink, Link, LinkGroup, attach_all
from osmia.kernel.attach.problems import check_type, perf_refused
from osmia.kernel.attach.tracepoint import carry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from osmia.kernel.program import Program

_CPU_CLOCK = 0


def attach(program: Program, kind: str, target: str, options: dict[str, Any]) -> Link:
    """Attaches to an event of perf_event_open(2), or runs the program once.

    Options: ``type`` and ``config`` of the event (``profile`` and ``interval``: the CPU clock); one of ``period``
    (counts), ``period_ns``, ``hz``; ``pid`` (all threads of that process and those it makes), ``cgroup`` (path),
    ``cpu`` (one or a tuple, else all that are online), ``cookie``, ``exclude_user``, ``exclude_kernel``.

    A program at ``begin`` runs now, one at ``end`` when its link is closed.

    :raises AttachError: HOOK006, HOOK013 (no such event), HOOK015, HOOK020 (no such process), HOOK012 (no such cgroup).
    """
    if kind in ("begin", "end"):
        return _once(program, kind)
    check_type(program, kind)
    kind_number, config = int(options.get("type", PERF_TYPE_SOFTWARE)), int(options.get("config", _CPU_CLOCK))
    hz = int(options.get("hz") or 0)
    period = int(options.get("period") or options.get("period_ns") or 0)
    if (hz > 0) == (period > 0):
        raise AttachError("HOOK006", f"a {kind} takes a frequency or a period", hint="hz=99, or period_ns=1_000_000")
    pid = int(options.get("pid") or 0)
    cgroup = str(options.get("cgroup") or "")
    attr = syscall.perf_attr(
        kind_number, config, period=hz or period, frequency=hz > 0, inherit=pid > 0,
        exclude_user=bool(options.get("exclude_user")), exclude_kernel=bool(options.get("exclude_kernel")),
    )  # fmt: skip
    where = target or (f"{hz} Hz" if hz else f"every {period}")
    cookie = int(options.get("cookie") or 0)

    def event(task: int, number: int, flags: int = 0) -> Link:
        try:
            fd = syscall.perf_event_open(attr, task, number, flags)
        except OSError as error:
            if error.errno == errno.ESRCH:
                raise AttachError("HOOK020", f"there is no process {task}", errno=errno.ESRCH) from None
            raise perf_refused(f"open the event of '{program.name}' ({kind} {where})".strip(), error) from None
        return carry(program, kind, where, fd, cookie, enable=True)

    if pid:
        return _attach_threads(program, kind, where, pid, event)
    cpus = _cpus(options.get("cpu"), kind)
    if not cgroup:
        makers = [lambda number=number: event(-1, number) for number in cpus]
        return attach_all(program, kind, where, makers, single=False)
    from osmia.kernel.attach.control import open_cgroup

    folder = open_cgroup(program, cgroup)
    try:
        makers = [lambda number=number: event(folder, number, PERF_FLAG_PID_CGROUP) for number in cpus]
        return attach_all(program, kind, where, makers, single=False)
    finally:
        os.close(folder)


def _cpus(given: Any, kind: str) -> list[int]:
    online = cpu.online()
    if given is None:
        return online[:1] if kind == "interval" else online
    wanted = [given] if isinstance(given, int) else list(given)
    for number in wanted:
        if number not in online:
            raise AttachError("HOOK013", f"CPU {number} is not online", errno=errno.ENODEV)
    return wanted


def _attach_threads(program: Program, kind: str, where: str, pid: int, event: Any) -> Link:
    """On every thread of a process; the kernel follows those that they start."""
    try:
        threads = [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    except OSError:
        raise AttachError("HOOK020", f"there is no process {pid}", errno=errno.ESRCH) from None
    links: list[Link] = []
    try:
        for thread in sorted(threads):
            try:
                links.append(event(thread, -1))
            except AttachError as error:
                if error.errno != errno.ESRCH or thread == pid:
                    raise  # a thread may have ended meanwhile
    except BaseException:
        for link in links:
            link.close()
        raise
    return LinkGroup(program, kind, where, links)


def _once(program: Program, kind: str) -> Link:
    if kind == "begin":
        program.test_run()
        return CalledLink(program, kind, "", lambda: None)

    def at_end() -> None:
        program.test_run()

    return CalledLink(program, kind, "", at_end)
