"""What this machine can do, found out by trying: program types, map types, helpers, hooks, rights.

Every answer is a row that says yes or no and, for a no, how to get it. Nothing stays behind: programs and maps are made
and closed again. Each group is asked for by itself; helpers, of which there are many, take a second.
"""

from __future__ import annotations

import errno
import os
from struct import pack

from osmia.abi import attach_types, map_types, prog_types
from osmia.diagnostics.errors import BtfError, LoadError, OsmiaError
from osmia.kernel import permissions, release, syscall, verifier_log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from osmia.abi.helpers import Helper
    from osmia.abi.kernel_versions import Feature as KernelFeature

YES, NO, FORBIDDEN, UNKNOWN = "yes", "no", "forbidden", "unknown"
_RETURN_0 = bytes.fromhex("b7000000000000009500000000000000")
_PMU = "/sys/bus/event_source/devices"


class Row:
    """One answer.

    :ivar area: ``right``, ``setting``, ``program type``, ``map type``, ``helper``, ``hook`` or ``feature``.
    :ivar status: ``yes``, ``no`` (the kernel does not have it), ``forbidden`` (it has, but not for this process) or
        ``unknown``. :ivar detail: what was found. :ivar how: how to get it, ``""`` where nothing can be said.
    """

    __slots__ = ("area", "detail", "how", "name", "status")

    def __init__(self, area: str, name: str, status: str, detail: str = "", how: str = "") -> None:
        self.area = area
        self.name = name
        self.status = status
        self.detail = detail
        self.how = how

    def __repr__(self) -> str:
        return f"Row({self.area} {self.name}: {self.status}{', ' + self.detail if self.detail else ''})"


def _needs(version: release.Version) -> str:
    if release.has(version):
        return f"Linux {release.text(version)} brought it; this kernel was built without it"
    return f"Linux {release.text(version)} or later"


# Rights and settings


def rights() -> list[Row]:
    """Capabilities, lockdown and the settings that matter."""
    held = permissions.current()
    rows = []
    for name, what in (
        ("bpf", "load programs and make maps"),
        ("perfmon", "trace: read kernel memory, open perf events"),
        ("net_admin", "attach to the network"),
        ("sys_admin", "list what others loaded"),
        ("syslog", "see addresses of kernel symbols"),
        ("sys_ptrace", "look into processes of others"),
    ):
        status = YES if held.has(name) else NO
        rows.append(Row("right", f"CAP_{name.upper()}", status, what, "" if status == YES else "run as root (sudo)"))
    if not held.initial_userns:
        rows.append(
            Row(
                "right", "initial user namespace", NO, "rights count only inside of this container", "run outside of it"
            )
        )
    locked = held.lockdown not in ("", "none")
    how = "boot without secure boot, or without lockdown= on the command line" if locked else ""
    state = held.lockdown or "not built in"
    rows.append(Row("right", "no lockdown", FORBIDDEN if locked else YES, f"lockdown: {state}", how))
    return rows + _settings(held)


def _settings(held: permissions.Permissions) -> list[Row]:
    rows = []
    values = held.sysctls
    for name, good, what, how in (
        ("unprivileged_bpf", (0,), "BPF for users without rights", "sysctl kernel.unprivileged_bpf_disabled=0"),
        ("paranoid", (-1, 0, 1), "perf events for users without rights", "sysctl kernel.perf_event_paranoid=1"),
        ("kptr_restrict", (0,), "kernel addresses shown", "sysctl kernel.kptr_restrict=0"),
        ("yama", (0,), "other processes of the same user may be traced", "sysctl kernel.yama.ptrace_scope=0"),
        ("bpf_jit", (1, 2), "programs are compiled to machine code", "sysctl net.core.bpf_jit_enable=1"),
        ("bpf_stats", (1,), "run statistics kept all the time", "sysctl kernel.bpf_stats_enabled=1"),
    ):
        value = values.get(name)
        if value is None:
            absent = YES if name in ("yama",) else UNKNOWN
            rows.append(Row("setting", what, absent, "no such setting"))
            continue
        fine = value in good
        rows.append(Row("setting", what, YES if fine else NO, f"set to {value}", "" if fine else how))
    return rows


# Program types


def _try_load(
    prog_type: int, code: bytes = _RETURN_0, *, attach_type: int = 0, flags: int = 0, btf_id: int = 0
) -> tuple[int, str]:
    """0 or the error's number, and the verifier's words."""
    log = bytearray(1 << 16)
    result, _ = syscall.prog_load(
        prog_type, code, "GPL", name=b"osmia_probe", attach_type=attach_type,
        kernel_version=release.code(), attach_btf_id=btf_id, log_level=1, log=log,
    )  # fmt: skip
    if result >= 0:
        os.close(result)
        return 0, ""
    return -result, bytes(log[: max(log.find(0), 0)]).decode("utf-8", "replace")


def _target_id(name: str, kind: str) -> int:
    """The BTF id of something in the kernel to load a probe for, 0 when there is none."""
    from osmia.btf.kernel import kernel_btf
    from osmia.btf.types import Func, Typedef

    try:
        found = kernel_btf().ids_by_name(name, Typedef if kind == "typedef" else Func)
    except BtfError:
        return 0
    return found[0] if found else 0


def _simple_program(row: prog_types.ProgType, attach_type: str = "") -> tuple[int, str]:
    """Loads the least program of a type (and attach type); 0 or the error's number, and the log."""
    attach = attach_types.attach_type(attach_type) if attach_type else None
    if attach is None and row.needs_attach_type:
        attach = attach_types.attach_type(row.attach_types[0])
    if row.name == "tracing" and attach is None:
        attach = attach_types.attach_type("trace_iter")
    if row.name == "lsm" and attach is None:
        attach = attach_types.attach_type("lsm_mac")
    least = row.returns[0] if row.returns else 0
    if attach is not None and attach.returns:
        least = attach.returns[0]
    code = pack("<BBhi", 0xB7, 0, 0, max(least, 0)) + _RETURN_0[8:]
    btf_id = 0
    if row.attach_btf and attach is not None:
        name, kind = {
            "trace_raw_tp": ("btf_trace_sched_switch", "typedef"),
            "trace_iter": ("bpf_iter_task", "func"),
            "lsm_mac": ("bpf_lsm_file_open", "func"),
            "lsm_cgroup": ("bpf_lsm_socket_bind", "func"),
            "modify_return": ("security_file_open", "func"),
        }.get(attach.name, ("vfs_read", "func"))
        btf_id = _target_id(name, kind)
        if not btf_id:
            return errno.ENOENT, ""
    return _try_load(row.number, code, attach_type=attach.number if attach else 0, btf_id=btf_id)


def prog_type(name: str) -> Row:
    """Whether programs of a type can be loaded."""
    row = prog_types.prog_type(name)
    number, log = _simple_program(row)
    if not number or (log and row.name not in ("lsm", "tracing")):
        return Row("program type", row.name, YES, row.summary)
    return _no("program type", row.name, number, row.version, row.summary, log)


def _no(area: str, name: str, number: int, version: release.Version, summary: str, log: str = "") -> Row:
    if number == errno.EPERM:
        if permissions.current().missing("bpf", "perfmon", "net_admin"):
            return Row(area, name, FORBIDDEN, summary, "run as root (sudo)")
        return Row(area, name, FORBIDDEN, summary, "the machine's owner or its security policy forbids it")
    words = verifier_log.parse(log).message if log else ""
    return Row(area, name, NO, words or summary, _needs(version))


def prog_type_rows() -> list[Row]:
    """All program types."""
    return [prog_type(row.name) for row in prog_types.prog_types() if row.name != "unspec"]


def attach_type(name: str) -> Row:
    """Whether a program can be loaded for an attach type. Says nothing of attaching it."""
    row = attach_types.attach_type(name)
    if not row.prog_types:
        return Row("attach type", row.name, YES if release.has(row.version) else NO, "by version", _needs(row.version))
    number, log = _simple_program(prog_types.prog_type(row.prog_types[0]), row.name)
    if not number:
        # Kernels ignore the attach type of some types: only a version can say whether it means anything.
        owner = prog_types.prog_type(row.prog_types[0])
        if not owner.needs_attach_type and not owner.attach_btf and not release.has(row.version):
            return Row("attach type", row.name, NO, "by version", _needs(row.version))
        return Row("attach type", row.name, YES)
    return _no("attach type", row.name, number, row.version, "", log)


# Map types


def map_type(name: str) -> Row:
    """Whether maps of a type can be made."""
    row = map_types.map_type(name)
    if row.name == "struct_ops":
        status = prog_type("struct_ops").status
        return Row("map type", row.name, status, row.summary, "" if status == YES else _needs(row.version))
    from osmia.kernel.create import create_map
    from osmia.object.spec import MapSpec

    page = os.sysconf("SC_PAGE_SIZE")
    entries = {"zero": 0, "bytes": page}.get(row.entries, 1)
    spec = MapSpec(
        "osmia_probe", row.name, key_size=row.key[0], value_size=row.value[0], max_entries=entries,
        inner=MapSpec("inner", "array", key_size=4, value_size=4, max_entries=1) if row.inner else None,
    )  # fmt: skip
    try:
        create_map(spec).close()
    except LoadError as error:
        return _no("map type", row.name, error.errno, row.version, row.summary)
    return Row("map type", row.name, YES, row.summary)


def map_type_rows() -> list[Row]:
    """All map types."""
    return [map_type(row.name) for row in map_types.map_types() if row.name != "unspec"]


# Helpers


def helper(name: str, prog_type: str) -> bool | None:
    """Whether programs of a type may call a helper; None when nobody here may load such programs."""
    from osmia.abi import helpers

    row = helpers.helper(name)
    owner = prog_types.prog_type(prog_type)
    attach = 0
    if owner.needs_attach_type:
        attach = attach_types.number((row.attach_types.get(owner.name) or owner.attach_types)[0])
    number, log = _try_load(owner.number, pack("<BBhi", 0x85, 0, 0, row.number) + _RETURN_0, attach_type=attach)
    if not number:
        return True
    if not log:
        return None
    found = verifier_log.unknown_helper(verifier_log.parse(log).message)
    return found != row.number


# Types whose programs need no target, the likely ones first: a helper that any of them may call is there.
_CARRIERS = (
    "kprobe", "tracepoint", "perf_event", "raw_tracepoint", "sched_cls", "xdp", "socket_filter", "cgroup_skb",
    "sock_ops", "sk_msg", "sk_skb", "cgroup_sock_addr", "cgroup_sock", "cgroup_sysctl", "cgroup_sockopt", "lwt_xmit",
    "lwt_in", "lwt_seg6local", "lirc_mode2", "sk_reuseport", "sk_lookup", "syscall", "flow_dissector", "cgroup_device",
)  # fmt: skip


def _helper_row(row: Helper) -> Row:
    carriers = [name for name in _CARRIERS if name in row.prog_types]
    answer: bool | None = None
    for name in carriers:
        answer = helper(row.name, name)
        if answer:
            return Row("helper", row.name, YES, row.summary)
    if answer is None:
        # Only for typed tracing and security programs, which this machine may not let us load: the version decides.
        status = YES if release.has(row.version) and not row.needs else UNKNOWN if release.has(row.version) else NO
        return Row(
            "helper", row.name, status, "by version; " + row.summary, "" if status == YES else _needs(row.version)
        )
    how = f"needs {row.needs}" if row.needs and release.has(row.version) else _needs(row.version)
    return Row("helper", row.name, NO, row.summary, how)


def helper_rows() -> list[Row]:
    """All helpers; some hundred programs are loaded for it."""
    from osmia.abi import helpers

    return [_helper_row(row) for row in helpers.helpers()]


# Hooks


def hooks() -> list[Row]:
    """Every kind of hook that programs can be attached to."""
    return [
        _tracepoint(),
        _by_type("raw_tracepoint", "raw_tracepoint", (4, 17)),
        _by_attach("btf_tracepoint", "trace_raw_tp"),
        _pmu("uprobe", "CONFIG_UPROBE_EVENTS"),
        _many("uprobe (many at once)", "trace_uprobe_multi"),
        _pmu("kprobe", "CONFIG_KPROBE_EVENTS"),
        _many("kprobe (many at once)", "trace_kprobe_multi"),
        _by_attach("fentry", "trace_fentry"),
        _by_attach("fmod_ret", "modify_return"),
        _by_type("lsm", "lsm", (5, 7)),
        _perf("software event", 1, 0, "perf events (CONFIG_PERF_EVENTS)"),
        _perf("hardware event", 0, 0, "a CPU whose counters this machine may use; many virtual machines have none"),
        _by_attach("iter", "trace_iter"),
        _by_type("xdp", "xdp", (4, 8)),
        _link("tc (tcx)", "sched_cls", "tcx_ingress"),
        _clsact(),
        _link("cgroup", "cgroup_skb", "cgroup_inet_ingress"),
        _by_type("socket_filter", "socket_filter", (3, 19)),
        _link("sk_lookup", "sk_lookup", "sk_lookup"),
        _link("flow_dissector", "flow_dissector", "flow_dissector"),
        _by_type("sk_skb", "sk_skb", (4, 14)),
        _by_type("sk_msg", "sk_msg", (4, 17)),
        _by_type("netfilter", "netfilter", (6, 4)),
        _link("netkit", "sched_cls", "netkit_primary"),
        _by_type("syscall (on demand)", "syscall", (5, 14)),
    ]


def _tracepoint() -> Row:
    from osmia.kernel import tracefs

    try:
        number = tracefs.tracepoint_id("sched", "sched_switch")
        os.close(syscall.perf_event_open(syscall.perf_attr(2, number, period=1), -1, 0))
    except OsmiaError as error:
        return Row("hook", "tracepoint", NO, error.message, error.hint or "")
    except OSError as error:
        return _no("hook", "tracepoint", error.errno or 0, (4, 7), "perf events refuse it")
    where = next((path for path in tracefs.MOUNT_POINTS if os.path.isdir(f"{path}/events")), "a private mount")
    return Row("hook", "tracepoint", YES, f"tracefs: {where}")


def _by_type(hook: str, kind: str, version: release.Version) -> Row:
    found = prog_type(kind)
    return Row("hook", hook, found.status, "" if found.status == YES else found.detail, found.how)


def _by_attach(hook: str, kind: str) -> Row:
    found = attach_type(kind)
    return Row("hook", hook, found.status, found.detail, found.how)


def _pmu(name: str, config: str) -> Row:
    if os.path.exists(f"{_PMU}/{name}/type"):
        return Row("hook", name, YES)
    how = f"a kernel with {config}" if release.has((4, 17)) else "Linux 4.17 or later"
    return Row("hook", name, NO, f"no {name} PMU", how)


def _many(hook: str, kind: str) -> Row:
    """The kernel answers a request with nothing to attach to differently when it knows the kind of link."""
    row = attach_types.attach_type(kind)
    result = _loaded("kprobe", row.number)
    if isinstance(result, Row):
        return Row("hook", hook, result.status, result.detail, result.how)
    try:
        path = bytearray(b"/\0")
        offsets = bytearray(8)
        if kind == "trace_uprobe_multi":
            extra = pack("=QQQQIII", syscall.address(path), syscall.address(offsets), 0, 0, 1, 0, 0)
        else:
            name = bytearray(b"osmia_no_such_function\0")
            names = bytearray(pack("=Q", syscall.address(name)))
            extra = pack("=IIQQQ", 0, 1, syscall.address(names), 0, 0)
        os.close(syscall.link_create(result, 0, row.number, 0, extra))
    except OSError as error:
        if error.errno in (errno.EBADF, errno.ESRCH, errno.ENOENT):
            return Row("hook", hook, YES)
        return _no("hook", hook, error.errno or 0, row.version, "")
    finally:
        os.close(result)
    return Row("hook", hook, YES)


def _loaded(kind: str, attach: int) -> int | Row:
    row = prog_types.prog_type(kind)
    least = row.returns[0] if row.returns else 0
    code = pack("<BBhi", 0xB7, 0, 0, max(least, 0)) + _RETURN_0[8:]
    result, _ = syscall.prog_load(row.number, code, "GPL", name=b"osmia_probe", attach_type=attach)
    return result if result >= 0 else _no("hook", kind, -result, row.version, "")


def _link(hook: str, kind: str, attach: str) -> Row:
    """As :func:`_many`: a bad target (descriptor or device) is looked at only where the kind of link is known."""
    row = attach_types.attach_type(attach)
    result = _loaded(kind, row.number if prog_types.prog_type(kind).needs_attach_type else 0)
    if isinstance(result, Row):
        return Row("hook", hook, result.status, result.detail, result.how)
    bad = (1 << 31) - 1
    version = row.link_version or row.version
    try:
        os.close(syscall.link_create(result, bad, row.number, 0, b""))
    except OSError as error:
        if error.errno in (errno.EBADF, errno.ENODEV):
            return Row("hook", hook, YES)
        if row.prog_attach and row.target == "cgroup" and release.has(row.version):
            return Row("hook", hook, YES, "without links", _needs(version))
        return _no("hook", hook, error.errno or 0, version, "")
    finally:
        os.close(result)
    return Row("hook", hook, YES)


def _perf(hook: str, kind: int, config: int, how: str) -> Row:
    try:
        os.close(syscall.perf_event_open(syscall.perf_attr(kind, config, period=1_000_000), -1, 0))
    except OSError as error:
        if error.errno in (errno.EPERM, errno.EACCES):
            return _no("hook", hook, errno.EPERM, (4, 9), "")
        return Row("hook", hook, NO, os.strerror(error.errno or 0).lower(), how)
    return Row("hook", hook, YES)


def _clsact() -> Row:
    """Filters of tc need a scheduler and a classifier, which may be modules: only the configuration can say."""
    from osmia.diagnostics.errors import RelocationError
    from osmia.kernel import kconfig

    try:
        settings = kconfig.read()
    except RelocationError:
        return Row("hook", "tc (clsact)", UNKNOWN, "the kernel's configuration cannot be read")
    absent = [name for name in ("CONFIG_NET_SCH_INGRESS", "CONFIG_NET_CLS_BPF") if name not in settings]
    if absent:
        return Row("hook", "tc (clsact)", NO, "", "a kernel with " + " and ".join(absent))
    return Row("hook", "tc (clsact)", YES)


# Features by name, as `osmia.abi.kernel_versions` lists them


def features() -> Iterator[Row]:
    """All features that the versions' table knows, tried where a try can tell, else by version."""
    from osmia.abi import kernel_versions

    for item in kernel_versions.features():
        answer = _feature(item)
        if answer is None:
            status = YES if release.has(item.version) else NO
            yield Row("feature", item.name, status, "by version; " + item.summary, _how(status, item))
        else:
            yield Row("feature", item.name, answer, item.summary, _how(answer, item))


def _how(status: str, item: KernelFeature) -> str:
    if status == FORBIDDEN:
        return "the machine's owner or its security policy forbids it"
    return "" if status == YES else _needs(item.version)


def _feature(item: KernelFeature) -> str | None:
    """What a probe says, None for features that only the version tells."""
    kind, subject = item.probe, item.subject
    if kind == "prog_type":
        return prog_type(subject).status
    if kind == "map_type":
        return map_type(subject).status
    if kind == "attach_type":
        return attach_type(subject).status
    if kind == "helper":
        from osmia.abi import helpers

        return _helper_row(helpers.helper(subject)).status
    if kind == "file":
        return YES if os.path.exists(subject) else NO
    if kind in ("kfunc", "btf_type"):
        return _in_btf(subject, kind)
    if kind == "config":
        return _configured(subject)
    if kind == "map_flag":
        return _map_flag(subject)
    return None


def _in_btf(name: str, kind: str) -> str:
    from osmia.btf.kernel import kernel_btf

    try:
        types = kernel_btf()
        return YES if types.ids_by_name(name) or (kind == "btf_type" and types.find_enumerators(name)) else NO
    except BtfError:
        return UNKNOWN


def _configured(name: str) -> str:
    from osmia.diagnostics.errors import RelocationError
    from osmia.kernel import kconfig

    try:
        return YES if name in kconfig.read() else NO
    except RelocationError:
        return UNKNOWN


def _map_flag(name: str) -> str | None:
    value = next((bits for flag, bits, _ in map_types.FLAGS if flag == name), 0)
    kind = next((row for row in map_types.map_types() if row.flags & value and not row.btf_only), None)
    if kind is None or name in ("PATH_FD", "TOKEN_FD", "VTYPE_BTF_OBJ_FD", "LINK"):
        return None
    size = os.sysconf("SC_PAGE_SIZE") if kind.entries == "bytes" else 1
    value_size = max(kind.value[0], 32 if name == "STACK_BUILD_ID" else 0)
    try:
        os.close(syscall.map_create(kind.number, kind.key[0], value_size, size, value | kind.required))
    except OSError as error:
        return FORBIDDEN if error.errno == errno.EPERM else NO
    return YES


def can_run() -> tuple[bool, str]:
    """Whether programs can be loaded here by this process, and if not, why and what would help."""
    for row in (map_type("array"), prog_type("tracepoint")):
        if row.status == FORBIDDEN:
            missing = permissions.current().missing("bpf", "perfmon")
            return False, f"{' and '.join(missing)} missing; {row.how}" if missing else row.how
        if row.status != YES:
            return False, f"no {row.name} {row.area.split()[0]}s; {row.how}"
    return True, ""
