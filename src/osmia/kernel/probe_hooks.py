"""Probing hooks: whether a program could be attached, without attaching it to anything that others use.

Links are asked for with a target that cannot exist (no such function, file or descriptor): a kernel that knows the
hook complains about the target, another one about the request. Where that does not tell, the program is attached to
something of our own: a perf event that is switched off, a socket, a socket map.
"""

from __future__ import annotations

import errno
import os
from struct import pack

from osmia.kernel import refusals, release, syscall
from osmia.kernel.probe_programs import ENOTSUPP, OPTIONS, Loader, no_target, program_type
from osmia.kernel.probe_rows import HOOK, NO, UNKNOWN, Row, absent, answered, config, forbidden, yes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Version = tuple[int, int]

_NOWHERE = 0xFFFFFFFF
_PMU = "/sys/bus/event_source/devices"
_HARDWARE, _SOFTWARE, _TRACEPOINT_EVENT = 0, 1, 2
_SET_BPF = 0x40042408  # PERF_EVENT_IOC_SET_BPF
_SO_ATTACH_BPF = 50
_NAMES = {"cgroup/dev": "device", "sockops": "sockops"}


def hooks(loader: Loader) -> list[Row]:
    """A row per hook."""
    from osmia.kernel import probe_network

    return [
        tracepoint(loader), raw_tracepoint(loader), btf_tracepoint(loader), *_kernel_probes(loader),
        *_user_probes(loader), *_trampolines(loader), *_security(loader), *_events(loader), *_once(loader),
        *iterators(loader), *probe_network.hooks(loader), *_cgroups(loader), *_sockets(loader), *_others(loader),
    ]  # fmt: skip


def of_type(loader: Loader, name: str, kind: str, version: Version | None = None) -> Row:
    """The row of a program type as that of a hook."""
    from osmia.abi import prog_types

    row = program_type(loader, prog_types.prog_type(kind))
    return Row(HOOK, name, row.status, version or row.version, row.reason, row.remedy, row.cause)


def since(feature: str) -> Version:
    """The release a feature came in."""
    from osmia.abi.kernel_versions import feature as find

    return find(feature).version


def attached(
    loader: Loader,
    name: str,
    version: Version,
    kind: str,
    attach: str,
    ask: Callable[[int], int | None],
    good: Sequence[int],
    options: Sequence[str] = (),
    needs: Sequence[str] = (),
) -> Row:
    """Loads a program and asks the kernel to attach it where it cannot be attached.

    :param ask: is given the program's descriptor. :param good: errors that a kernel gives that knows the hook.
    """
    fd, _ = loader.open(kind, attach)
    if fd < 0:
        return unloaded(loader, name, version, kind, -fd, options)
    try:
        number = asked(ask, fd)
    finally:
        os.close(fd)
    return answered(
        HOOK, name, version, number, what=f"cannot attach to a {name}", needs=needs or refusals.needs_of(kind),
        options=options, good=good,
    )  # fmt: skip


def unloaded(loader: Loader, name: str, version: Version, kind: str, number: int, options: Sequence[str] = ()) -> Row:
    """The row for a hook whose program did not load."""
    options = (*OPTIONS.get(kind, ()), *options)
    if number == errno.ENOENT:
        return no_target(HOOK, name, version, loader, options)
    return answered(
        HOOK, name, version, number, what=f"cannot load a program of type {kind}", needs=refusals.needs_of(kind),
        options=options, kind=kind,
    )  # fmt: skip


def asked(ask: Callable[[int], int | None], fd: int) -> int:
    """0, or the number of the error that asking gives; a descriptor that comes out is closed."""
    try:
        result = ask(fd)
    except OSError as error:
        return error.errno or 0
    if result is not None:
        os.close(result)
    return 0


# Tracepoints


def tracepoint(loader: Loader) -> Row:
    """Programs at tracepoints: the program type, tracefs, and the right to open such an event."""
    from osmia.diagnostics.errors import AttachError
    from osmia.kernel import tracefs

    name, version = "tracepoint", since("tracepoint")
    row = of_type(loader, name, "tracepoint")
    if not row.ok:
        return row
    try:
        number = tracefs.tracepoint_id("sched", "sched_switch")
    except AttachError as error:
        if error.errno in (errno.EPERM, errno.EACCES):
            return forbidden(HOOK, name, version, error.message, ("sys_admin",))
        return absent(
            HOOK, name, version, options=("CONFIG_TRACING", "CONFIG_FTRACE"), reason=error.message,
            remedy=error.hint or "",
        )  # fmt: skip
    return _event_row(name, version, _TRACEPOINT_EVENT, number, everyone=True)


def raw_tracepoint(loader: Loader) -> Row:
    """Programs at tracepoints with raw arguments."""
    return attached(
        loader, "raw_tracepoint", since("raw_tracepoint"), "raw_tracepoint", "",
        lambda fd: syscall.raw_tracepoint_open(fd, "osmia_no_such_tracepoint"), (errno.ENOENT,),
    )  # fmt: skip


def btf_tracepoint(loader: Loader) -> Row:
    """Programs at tracepoints with typed arguments."""
    name, version = "btf_tracepoint", since("btf_tracepoint")
    number, _ = loader.load("tracing", "trace_raw_tp")
    return unloaded(loader, name, version, "tracing", number) if number else yes(HOOK, name, version)


# Probes


def _kernel_probes(loader: Loader) -> list[Row]:
    options = ("CONFIG_KPROBES", "CONFIG_KPROBE_EVENTS")
    version = since("perf_kprobe_pmu")
    rows = []
    for name in ("kprobe", "kretprobe"):
        row = of_type(loader, name, "kprobe", version)
        if row.ok:
            text = bytearray(b"osmia_no_such_function\0")
            row = _probe_event(name, version, "kprobe", text, options)
        rows.append(row)
    for name, attach in (("kprobe_multi", "trace_kprobe_multi"), ("kprobe_session", "trace_kprobe_session")):
        rows.append(_kprobe_multi(loader, name, attach))
    return rows


def _probe_event(name: str, version: Version, pmu: str, text: bytearray, options: Sequence[str]) -> Row:
    """Asks a probe's PMU for an event at a place that does not exist."""
    try:
        with open(f"{_PMU}/{pmu}/type", encoding="ascii") as file:
            kind = int(file.read())
    except (OSError, ValueError):
        return absent(HOOK, name, version, options=options)
    attr = syscall.perf_attr(kind, 0, config1=syscall.address(text))
    number = asked(lambda _: syscall.perf_event_open(attr, os.getpid(), -1), 0)
    good = (errno.ENOENT, errno.EINVAL, errno.EADDRNOTAVAIL)
    return answered(
        HOOK, name, version, number, what=f"cannot make a {name}", needs=("perfmon",), options=options, good=good
    )


def _kprobe_multi(loader: Loader, name: str, attach: str) -> Row:
    text = bytearray(b"osmia_no_such_function\0")
    names = bytearray(pack("=Q", syscall.address(text)))
    extra = pack("=IIQQQ", 0, 1, syscall.address(names), 0, 0)
    return attached(
        loader, name, since(name), "kprobe", attach, lambda fd: _link(fd, 0, attach, extra),
        (errno.ESRCH, errno.ENOENT), ("CONFIG_FPROBE",),
    )  # fmt: skip


def _user_probes(loader: Loader) -> list[Row]:
    options = ("CONFIG_UPROBES", "CONFIG_UPROBE_EVENTS")
    version = since("perf_uprobe_pmu")
    rows = []
    for name in ("uprobe", "uretprobe"):
        row = of_type(loader, name, "kprobe", version)
        if row.ok:
            row = _probe_event(name, version, "uprobe", bytearray(b"/osmia/no/such/file\0"), options)
        rows.append(row)
    plain = rows[0]
    counted = os.path.exists(f"{_PMU}/uprobe/format/ref_ctr_offset")
    rows.append(Row(HOOK, "usdt", plain.status, plain.version, plain.reason, plain.remedy, plain.cause))
    if plain.ok and not counted:
        rows[-1].reason = "without the kernel's counters (Linux 4.20): probes with a semaphore stay off"
    for name, attach in (("uprobe_multi", "trace_uprobe_multi"), ("uprobe_session", "trace_uprobe_session")):
        rows.append(_uprobe_multi(loader, name, attach, options))
    return rows


def _uprobe_multi(loader: Loader, name: str, attach: str, options: Sequence[str]) -> Row:
    text = bytearray(b"/osmia/no/such/file\0")
    offsets = bytearray(pack("=Q", 16))
    extra = pack("=QQQQIII", syscall.address(text), syscall.address(offsets), 0, 0, 1, 0, 0)
    return attached(
        loader, name, since(name), "kprobe", attach, lambda fd: _link(fd, 0, attach, extra), (errno.ENOENT,), options
    )


def _link(fd: int, target: int, attach: str, extra: bytes = b"") -> int:
    from osmia.abi import attach_types

    return syscall.link_create(fd, target, attach_types.number(attach), 0, extra)


# Trampolines and security hooks


def _trampolines(loader: Loader) -> list[Row]:
    options = ("CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS", "CONFIG_DEBUG_INFO_BTF")
    rows = []
    for name, attach, feature in (
        ("fentry", "trace_fentry", "fentry"), ("fexit", "trace_fexit", "fentry"),
        ("fmod_ret", "modify_return", "fmod_ret"), ("fsession", "trace_fsession", "fsession"),
    ):  # fmt: skip
        number, _ = loader.load("tracing", attach)
        version = since(feature)
        if number:
            rows.append(unloaded(loader, name, version, "tracing", number, options))
        elif off := config.missing(options):
            rows.append(absent(HOOK, name, version, options=(off,)))
        else:
            rows.append(yes(HOOK, name, version))
    return rows


def _security(loader: Loader) -> list[Row]:
    rows = []
    for name, attach in (("lsm", "lsm_mac"), ("lsm_cgroup", "lsm_cgroup")):
        number, _ = loader.load("lsm", attach)
        version = since(name)
        if number:
            rows.append(unloaded(loader, name, version, "lsm", number))
        elif "bpf" not in _security_modules():
            rows.append(
                Row(
                    HOOK, name, NO, version, "programs load, but the security module bpf is not active",
                    "boot with lsm=...,bpf on the kernel command line (/sys/kernel/security/lsm has the present list)",
                    "lsm= without bpf",
                )
            )  # fmt: skip
        else:
            rows.append(yes(HOOK, name, version))
    return rows


def _security_modules() -> list[str]:
    """The active security modules; ``bpf`` alone where the kernel does not tell."""
    try:
        with open("/sys/kernel/security/lsm", encoding="ascii", errors="replace") as file:
            return file.read().strip().split(",")
    except OSError:
        return ["bpf"]


# Perf events


def _events(loader: Loader) -> list[Row]:
    rows = []
    for name, kind, everyone in (
        ("perf_event", _SOFTWARE, False), ("software", _SOFTWARE, False), ("profile", _SOFTWARE, True),
        ("interval", _SOFTWARE, True), ("hardware", _HARDWARE, False),
    ):  # fmt: skip
        row = of_type(loader, name, "perf_event")
        rows.append(_event_row(name, row.version, kind, 0, everyone, loader) if row.ok else row)
    return rows


def _event_row(
    name: str, version: Version | None, kind: int, config_number: int, everyone: bool, loader: Loader | None = None
) -> Row:
    """Opens a perf event that is switched off; with a loader, a program is attached to it until it is closed."""
    attr = syscall.perf_attr(kind, config_number, period=1 << 30)

    def ask(prog: int) -> None:
        syscall.ioctl(event, _SET_BPF, prog)

    try:
        event = syscall.perf_event_open(attr, -1 if everyone else 0, _first_cpu() if everyone else -1)
    except OSError as error:
        return _no_event(name, version, kind, error.errno or 0)
    try:
        if loader is None:
            return yes(HOOK, name, version)
        fd, _ = loader.open("perf_event")
        if fd < 0:
            return of_type(loader, name, "perf_event")
        try:
            number = asked(ask, fd)
        finally:
            os.close(fd)
    finally:
        os.close(event)
    return answered(
        HOOK, name, version, number, what=f"cannot attach to a {name} event", needs=("bpf", "perfmon"),
        options=("CONFIG_BPF_EVENTS",),
    )  # fmt: skip


def _no_event(name: str, version: Version | None, kind: int, number: int) -> Row:
    if number in (errno.EACCES, errno.EPERM):
        return forbidden(HOOK, name, version, "cannot open a perf event", ("perfmon",))
    if kind == _HARDWARE and number in (errno.ENOENT, errno.EOPNOTSUPP, errno.ENODEV, errno.EINVAL):
        return Row(
            HOOK, name, NO, version, "the CPU's counters are not available, as in most virtual machines",
            "run on the machine itself, or have the hypervisor pass the counters through (vPMU)",
            "no hardware counters",
        )  # fmt: skip
    if number == errno.ENOSYS:
        return absent(HOOK, name, version, options=("CONFIG_PERF_EVENTS",), reason="there is no perf_event_open")
    return answered(HOOK, name, version, number, what="cannot open a perf event", options=("CONFIG_PERF_EVENTS",))


def _first_cpu() -> int:
    from osmia.kernel.cpu import online

    return (online() or [0])[0]


def _once(loader: Loader) -> list[Row]:
    """``begin`` and ``end`` run a raw tracepoint's program by hand (Linux 5.10)."""

    def ask(prog: int) -> None:
        syscall.prog_test_run(prog)

    fd, _ = loader.open("raw_tracepoint")
    if fd < 0:
        return [unloaded(loader, name, (5, 10), "raw_tracepoint", -fd) for name in ("begin", "end")]
    try:
        number = asked(ask, fd)
    finally:
        os.close(fd)
    return [
        answered(HOOK, name, (5, 10), number, what="cannot run a program by hand", needs=("bpf", "perfmon"))
        for name in ("begin", "end")
    ]


# Iterators


def iterators(loader: Loader) -> list[Row]:
    """The hook ``iter``, and a row ``iter KIND`` for each kind of object that this kernel lets programs walk."""
    from osmia.btf.types import Struct
    from osmia.kernel.targets import names

    version = since("iterators")
    types = loader.btf()
    if types is None:
        return [no_target(HOOK, "iter", version, loader, OPTIONS["tracing"])]
    rows = []
    for kind in names(types, "bpf_iter__", Struct):  # the programs' contexts
        number, _ = loader.load("tracing", "trace_iter", target=f"bpf_iter_{kind}")
        if number in (errno.ENOENT, errno.EINVAL, ENOTSUPP):
            continue  # a context whose iterator this kernel was built without
        row = unloaded(loader, f"iter {kind}", version, "tracing", number) if number else yes(HOOK, f"iter {kind}")
        row.version = None
        rows.append(row)
    working = [row.name.removeprefix("iter ") for row in rows if row.ok]
    if working:
        first = yes(HOOK, "iter", version, "over " + ", ".join(working))
    elif rows:
        first = Row(HOOK, "iter", rows[0].status, version, rows[0].reason, rows[0].remedy, rows[0].cause)
    else:
        first = absent(HOOK, "iter", version, options=OPTIONS["tracing"])
    return [first, *rows]


# cgroups


def _cgroups(loader: Loader) -> list[Row]:
    from osmia.abi import prog_types
    from osmia.kernel.inspect_mounts import mounts_of

    mounted = bool(mounts_of("cgroup2"))
    rows = []
    for kind in prog_types.prog_types():
        for section, attach, _, _ in kind.sections:
            if not attach.startswith("cgroup_") or section == "cgroup/sock":
                continue
            name = "cgroup " + _NAMES.get(section, section.removeprefix("cgroup/").removeprefix("cgroup_"))
            row = _cgroup(loader, name, str(kind.name), attach)
            if row.ok and not mounted:
                row = Row(
                    HOOK, name, NO, row.version, "no cgroup file system of version 2 is mounted",
                    "mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified (any empty folder will do)", "no cgroup2 mount",
                )  # fmt: skip
            rows.append(row)
    return rows


def _cgroup(loader: Loader, name: str, kind: str, attach: str) -> Row:
    from osmia.abi import attach_types

    row = attach_types.attach_type(attach)

    def ask(fd: int) -> int | None:
        try:
            return _link(fd, _NOWHERE, attach)
        except OSError as error:
            if error.errno != errno.EINVAL or release.has((5, 7)):
                raise
        syscall.prog_attach(_NOWHERE, fd, row.number)
        return None

    return attached(
        loader, name, row.version, kind, attach, ask, (errno.EBADF,), ("CONFIG_CGROUP_BPF",), ("bpf", "net_admin")
    )


# Sockets


def _sockets(loader: Loader) -> list[Row]:
    rows = [_socket_filter(loader)]
    for name, attach in (("sk_lookup", "sk_lookup"), ("flow_dissector", "flow_dissector")):
        version = since("sk_lookup") if name == "sk_lookup" else (4, 20)
        if name == "flow_dissector" and not release.has((5, 8)):
            rows.append(of_type(loader, name, name, version))
            continue

        def ask(fd: int, attach: str = attach) -> int:
            return _link(fd, _NOWHERE, attach)

        rows.append(
            attached(loader, name, version, name, attach, ask, (errno.EBADF,), ("CONFIG_INET",), ("bpf", "net_admin"))
        )
    for name, attach in (("sk_skb", "sk_skb_stream_verdict"), ("sk_msg", "sk_msg_verdict")):
        rows.append(_socket_map(loader, name, attach))
    rows.append(of_type(loader, "sk_reuseport", "sk_reuseport"))
    return rows


def _socket_filter(loader: Loader) -> Row:
    import socket

    def ask(fd: int) -> None:
        left, right = socket.socketpair()
        with left, right:
            left.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_BPF, fd)

    return attached(loader, "socket_filter", (3, 19), "socket_filter", "", ask, (), ("CONFIG_NET",))


def _socket_map(loader: Loader, name: str, attach: str) -> Row:
    """Attaches to a socket map of our own, which goes away with its descriptor."""
    from osmia.abi import attach_types, map_types

    row = attach_types.attach_type(attach)

    def ask(fd: int) -> None:
        sockets = syscall.map_create(map_types.number("sockmap"), 4, 4, 1, name=b"osmia_probe")
        try:
            syscall.prog_attach(sockets, fd, row.number)
            syscall.prog_detach(sockets, fd, row.number)
        finally:
            os.close(sockets)

    options = ("CONFIG_BPF_STREAM_PARSER",) if name == "sk_skb" else ("CONFIG_INET",)
    return attached(loader, name, row.version, name, attach, ask, (), options, ("bpf", "net_admin"))


# Others


def _others(loader: Loader) -> list[Row]:
    rows = [of_type(loader, "syscall", "syscall"), _struct_ops(loader), of_type(loader, "freplace", "ext")]
    rows += [of_type(loader, name, name) for name in ("lirc_mode2", "lwt_in", "lwt_out", "lwt_xmit", "lwt_seg6local")]
    return rows


def _struct_ops(loader: Loader) -> Row:
    from osmia.abi import map_types
    from osmia.kernel.probe_maps import MapMaker, map_type

    row = of_type(loader, "struct_ops", "struct_ops")
    if not row.ok:
        return row
    maker = MapMaker(loader)
    try:
        made = map_type(maker, map_types.map_type("struct_ops"))
    finally:
        maker.close()
    return Row(HOOK, "struct_ops", made.status, row.version, made.reason, made.remedy, made.cause)


def not_tried(name: str, version: Version | None, reason: str, remedy: str) -> Row:
    """The row for a hook that could not be tried."""
    return Row(HOOK, name, UNKNOWN, version, reason, remedy)
