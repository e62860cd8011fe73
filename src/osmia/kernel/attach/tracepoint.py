"""Tracepoints of tracefs, and perf events as carriers of programs."""

from __future__ import annotations

import errno
import os
from struct import pack

from osmia.abi import attach_types
from osmia.abi.uapi_perf import PERF_EVENT_IOC_ENABLE, PERF_EVENT_IOC_SET_BPF, PERF_TYPE_TRACEPOINT
from osmia.diagnostics.errors import UnsupportedFeature
from osmia.kernel import release, syscall, tracefs
from osmia.kernel.attach.link import BpfLink, Link, PerfLink, attach_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from osmia.kernel.program import Program

_ATTACH_PERF_EVENT = attach_types.number("perf_event")


def attach(program: Program, kind: str, target: str, options: dict[str, Any]) -> Link:
    """Attaches to ``category:event``, to all that match a pattern with ``*``, or to each of ``targets``.

    Options: ``cookie`` (a number that ``bpf_get_attach_cookie`` gives, Linux 5.15), ``targets``.

    :raises AttachError: HOOK002 (no such tracepoint), HOOK003, HOOK006, HOOK015; permission errors.
    """
    names: list[str] = []
    for item in options.get("targets") or (target,):
        if "*" in item or "?" in item or "[" in item:
            found = tracefs.tracepoints(item)
            if not found:
                raise tracefs.no_such_tracepoint(*tracefs.split(item))
            names += found
        else:
            names.append(item)
    cookie = int(options.get("cookie") or 0)
    if len(names) == 1:
        return _attach_one(program, names[0], cookie)
    from functools import partial

    return attach_all(program, kind, target, [partial(_attach_one, program, name, cookie) for name in names])


def _attach_one(program: Program, target: str, cookie: int) -> Link:
    number = tracefs.tracepoint_id(*tracefs.split(target))
    attr = syscall.perf_attr(PERF_TYPE_TRACEPOINT, number, period=1)
    try:
        fd = syscall.perf_event_open(attr, -1, 0)
    except OSError as error:
        from osmia.kernel.attach.problems import perf_refused

        raise perf_refused(f"open tracepoint {target}", error) from None
    # The event stays disabled: its programs run all the same, and the kernel does not look for samples to write.
    return carry(program, "tracepoint", target, fd, cookie)


def carry(program: Program, kind: str, target: str, perf_fd: int, cookie: int = 0, *, enable: bool = False) -> Link:
    """Puts a program on a perf event, whose descriptor this takes over.

    :raises AttachError: HOOK015, HOOK016 (a cookie needs Linux 5.15), HOOK017.
    """
    link: Link
    try:
        fd = -1
        if release.has((5, 15)):
            fd = syscall.link_create(program.fileno(), perf_fd, _ATTACH_PERF_EVENT, 0, pack("=Q", cookie))
        elif cookie:
            raise UnsupportedFeature(
                "HOOK016",
                f"attach cookies need Linux 5.15; this is {release.text(release.running()[:2])}",
                errno=errno.EOPNOTSUPP,
            )
        else:
            syscall.ioctl(perf_fd, PERF_EVENT_IOC_SET_BPF, program.fileno())
        if enable:
            syscall.ioctl(perf_fd, PERF_EVENT_IOC_ENABLE)
    except OSError as error:
        if fd >= 0:
            os.close(fd)
        os.close(perf_fd)
        from osmia.kernel.attach.problems import refused

        raise refused(program, kind, target, error) from None
    except BaseException:
        os.close(perf_fd)
        raise
    if fd < 0:
        return PerfLink(program, kind, target, perf_fd)
    os.close(perf_fd)  # the link holds the event
    link = BpfLink(program, kind, target, fd)
    return link
