"""Programs that attach through types: raw and BTF tracepoints, kernel functions, security hooks, iterators."""

from __future__ import annotations

import errno
import os
from functools import partial
from struct import pack

from osmia.diagnostics.errors import AttachError
from osmia.kernel import syscall
from osmia.kernel.attach.link import BpfLink, Link, attach_all
from osmia.kernel.attach.problems import refused
from osmia.kernel.words import clean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from osmia.kernel.program import Program

_SINCE = {
    "raw_tracepoint": (4, 17), "btf_tracepoint": (5, 5), "fentry": (5, 5), "fexit": (5, 5), "fmod_ret": (5, 7),
    "lsm": (5, 7), "iter": (5, 8), "freplace": (5, 5), "fsession": (7, 0),
}  # fmt: skip


def attach(program: Program, kind: str, target: str, options: dict[str, Any]) -> Link:
    """Attaches to a tracepoint by its name, or to what the program was loaded for.

    Options: ``cookie`` (raw tracepoints: Linux 6.10, others: 5.18), ``targets`` (several raw tracepoints); iterators:
    ``map`` (a live map or descriptor, for ``bpf_map_elem`` and the like), ``pid`` or ``tid`` (Linux 6.1),
    ``cgroup`` (path) and ``order``; security hooks: ``cgroup`` with ``path``.

    :raises AttachError: HOOK004 (no such raw tracepoint), HOOK006, HOOK012, HOOK015, HOOK016, HOOK017.
    """
    if kind == "iter":
        return _attach_iter(program, target, options)
    if kind == "lsm" and options.get("cgroup"):
        from osmia.kernel.attach.control import attach as attach_cgroup

        return attach_cgroup(program, kind, target, options)
    cookie = int(options.get("cookie") or 0)
    if kind == "raw_tracepoint":
        names = [name.rpartition(":")[2] for name in options.get("targets") or (target,)]
        return attach_all(program, kind, target, [partial(_raw, program, name, cookie) for name in names])
    try:
        if cookie:
            fd = syscall.link_create(program.fileno(), 0, program.attach_type, 0, pack("=QQ", 0, cookie))
        else:
            fd = syscall.raw_tracepoint_open(program.fileno(), None)
    except OSError as error:
        raise refused(program, kind, target, error, since=(5, 18) if cookie else _SINCE[kind]) from None
    return BpfLink(program, kind, target, fd)


def _raw(program: Program, name: str, cookie: int) -> Link:
    try:
        fd = syscall.raw_tracepoint_open(program.fileno(), name, cookie)
    except OSError as error:
        if error.errno == errno.ENOENT:
            raise _no_raw_tracepoint(name) from None
        since = (6, 10) if cookie else _SINCE["raw_tracepoint"]
        raise refused(program, "raw_tracepoint", name, error, since=since) from None
    return BpfLink(program, "raw_tracepoint", name, fd)


def _no_raw_tracepoint(name: str) -> AttachError:
    from osmia.diagnostics.errors import BtfError
    from osmia.diagnostics.text import did_you_mean

    hint = None
    try:
        from osmia.btf.kernel import kernel_btf
        from osmia.btf.types import Typedef
        from osmia.kernel.targets import names

        hint = did_you_mean(name, names(kernel_btf(), "btf_trace_", Typedef))
    except BtfError:
        pass  # a kernel without BTF cannot say what it has
    return AttachError(
        "HOOK004", f"there is no raw tracepoint {clean(name)!r}", errno=errno.ENOENT,
        hint=hint or "raw tracepoints have no category: sched_switch, sys_enter, sys_exit",
    )  # fmt: skip


class IterLink(BpfLink):
    """An iterator: every descriptor that :meth:`open` gives runs the program over all objects while it is read."""

    def open(self) -> int:
        """A descriptor to read the program's output from; the caller closes it."""
        try:
            return syscall.iter_create(self.fileno())
        except OSError as error:
            raise refused(self.program, self.kind, self.target, error, since=(5, 8)) from None

    def read(self) -> bytes:
        """Everything that the program prints in one pass.

        :raises AttachError: HOOK017 when the program gives up with an error.
        """
        fd = self.open()
        parts: list[bytes] = []
        try:
            while True:
                try:
                    data = os.read(fd, 1 << 16)
                except BlockingIOError:
                    continue  # the program asked to be called again
                if not data:
                    return b"".join(parts)
                parts.append(data)
        except OSError as error:
            raise refused(self.program, self.kind, self.target, error) from None
        finally:
            os.close(fd)

    def text(self) -> str:
        """What :meth:`read` gives, as text."""
        return self.read().decode("utf-8", "backslashreplace")


def _attach_iter(program: Program, target: str, options: dict[str, Any]) -> IterLink:
    from osmia.kernel.maps.descriptors import descriptor_of

    info = b""
    opened = -1
    if options.get("map") is not None:
        try:
            info = pack("=I12x", descriptor_of(options["map"]))
        except (TypeError, ValueError):
            raise AttachError(
                "HOOK006", f"iterator {clean(target)} needs a live map, not {options['map']!r}", errno=errno.EINVAL
            ) from None
    elif options.get("pid") or options.get("tid"):
        pid, tid = int(options.get("pid") or 0), int(options.get("tid") or 0)
        if not os.path.exists(f"/proc/{pid or tid}"):  # the kernel would walk over nothing, without a word
            raise AttachError("HOOK020", f"there is no process {pid or tid}", errno=errno.ESRCH)
        info = pack("=III4x", tid, 0 if tid else pid, 0)
    elif options.get("cgroup"):
        from osmia.kernel.attach.control import open_cgroup

        opened = open_cgroup(program, str(options["cgroup"]))
        orders = {"self": 1, "descendants": 2, "descendants_post": 3, "ancestors": 4}
        info = pack("=IIQ", orders.get(str(options.get("order", "descendants")), 2), opened, 0)
    try:
        room = bytearray(info)
        extra = pack("=QI", syscall.address(room), len(room))
        fd = syscall.link_create(program.fileno(), 0, program.attach_type, 0, extra)
    except OSError as error:
        hint = "this iterator takes other options" if info else "this iterator needs an option, such as map="
        since = (6, 1) if options.get("pid") or options.get("tid") or options.get("cgroup") else _SINCE["iter"]
        raise refused(program, "iter", target, error, since=since, hint=hint) from None
    finally:
        if opened >= 0:
            os.close(opened)
    return IterLink(program, "iter", target, fd)
