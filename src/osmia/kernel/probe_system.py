"""Probing what all programs need: rights of this process, settings of the machine, file systems, the JIT compiler."""

from __future__ import annotations

import errno
import mmap
import os

from osmia.kernel import permissions, release, syscall
from osmia.kernel.inspect_mounts import mounts_of
from osmia.kernel.probe_hooks import since
from osmia.kernel.probe_rows import FORBIDDEN, KERNEL, NO, RIGHT, SETTING, UNKNOWN, Row, absent, answered, config, yes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from osmia.kernel.permissions import Permissions
    from osmia.kernel.probe_programs import Loader

# What each capability is for, among those that BPF takes.
_CAPABILITIES = {
    "bpf": "to load programs and make maps",
    "perfmon": "to trace: probes, tracepoints, perf events, kernel memory",
    "net_admin": "to attach programs to devices, sockets and cgroups",
    "sys_admin": "to list and open what others loaded, to enter namespaces, and for all of it before Linux 5.8",
    "sys_resource": "to lift the limit of locked memory, against which maps and programs count",
    "syslog": "to see addresses of kernel functions",
}
_LIMITS_LIFTED = (5, 11)


# Rights


def rights() -> list[Row]:
    """What this process is allowed, and by whom."""
    now = permissions.current()
    rows = [
        _capability(now, name, purpose)
        for name, purpose in _CAPABILITIES.items()
        if name != "sys_resource" or not release.has(_LIMITS_LIFTED)
    ]
    rows += [_namespace(now), _lockdown(now), _seccomp(), _unprivileged(now), _paranoid(now), _addresses(now)]
    rows.append(_memory(now))
    return rows


def _capability(now: Permissions, name: str, purpose: str) -> Row:
    title = "CAP_" + name.upper()
    bit, version = permissions.CAPABILITIES[name]
    if version is not None and not release.has(version):
        return absent(RIGHT, title, version, remedy="CAP_SYS_ADMIN stands for it")
    if now.has(name):
        own = now.effective >> bit & 1
        return yes(RIGHT, title, version, purpose if own else f"{purpose} (CAP_SYS_ADMIN includes it)")
    return Row(
        RIGHT, title, NO, version, f"missing; it is needed {purpose}",
        f"run as root (sudo), or give the interpreter the capability: setcap cap_{name}+ep", "not held",
    )  # fmt: skip


def _namespace(now: Permissions) -> Row:
    if now.initial_userns:
        return yes(RIGHT, "user namespace", reason="the machine's own")
    return Row(
        RIGHT, "user namespace", FORBIDDEN, None,
        "this process is in a user namespace of its own, where capabilities do not count for BPF",
        "run it outside of the container, or as real root",
    )  # fmt: skip


def _lockdown(now: Permissions) -> Row:
    name = "lockdown"
    if now.lockdown == "confidentiality":
        return Row(
            RIGHT, name, FORBIDDEN, (5, 4), "confidentiality: no program may read kernel memory",
            "boot without secure boot or lockdown=confidentiality",
        )  # fmt: skip
    if now.lockdown == "integrity":
        return yes(RIGHT, name, (5, 4), "integrity: programs may read, but not write to user memory")
    return yes(RIGHT, name, (5, 4), "off" if now.lockdown else "this kernel has none")


def _seccomp() -> Row:
    status = _status("Seccomp")
    if status == "2":
        return yes(RIGHT, "seccomp", reason="a filter is active; it may refuse system calls with EPERM or ENOSYS")
    return yes(RIGHT, "seccomp", reason="no filter")


def _status(key: str) -> str:
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:
            return next((line.partition(":")[2].strip() for line in file if line.startswith(key + ":")), "")
    except OSError:
        return ""


def _unprivileged(now: Permissions) -> Row:
    name, version = "unprivileged BPF", (4, 4)
    setting = now.sysctls.get("unprivileged_bpf")
    if setting == 0:
        return yes(SETTING, name, version, "any user may load socket_filter and cgroup_skb programs")
    if setting is None:
        return Row(
            SETTING, name, UNKNOWN, version, "kernel.unprivileged_bpf_disabled cannot be read",
            "mount /proc, or ask the machine's owner",
        )  # fmt: skip
    locked = setting == 1
    return Row(
        SETTING, name, NO, version, f"kernel.unprivileged_bpf_disabled={setting}: programs are for the privileged",
        "it holds until the next boot; programs need CAP_BPF" if locked
        else "root does not need it; sysctl -w kernel.unprivileged_bpf_disabled=0 allows it to all users",
        "kernel.unprivileged_bpf_disabled",
    )  # fmt: skip


def _paranoid(now: Permissions) -> Row:
    name = "perf events"
    setting = now.sysctls.get("paranoid")
    if setting is None:
        return absent(SETTING, name, None, options=("CONFIG_PERF_EVENTS",), reason="this kernel has no perf events")
    words = f"kernel.perf_event_paranoid={setting}"
    if now.has("perfmon"):
        return yes(SETTING, name, reason=f"{words} does not bind this process")
    if setting <= 0:
        return yes(SETTING, name, reason=f"{words}: any user may watch whole CPUs")
    most = {1: "its own processes, kernel included", 2: "its own processes, user code only"}
    return Row(
        SETTING, name, FORBIDDEN, None, f"{words}: this user may watch {most.get(setting, 'nothing')}",
        "run with CAP_PERFMON (sudo), or sysctl -w kernel.perf_event_paranoid=-1",
    )  # fmt: skip


def _addresses(now: Permissions) -> Row:
    """Stacks and probes by name need the kernel's addresses."""
    name = "kernel addresses"
    setting = now.sysctls.get("kptr_restrict")
    words = f"kernel.kptr_restrict={setting}" if setting is not None else "kernel.kptr_restrict is unknown"
    try:
        with open("/proc/kallsyms", "rb") as file:
            shown = any(line.split(b" ", 1)[0].strip(b"0") for line in file.readlines(1 << 14))
    except OSError:
        return absent(SETTING, name, None, options=("CONFIG_KALLSYMS",), reason="there is no /proc/kallsyms")
    if shown:
        return yes(SETTING, name, reason=words)
    remedy = "run with CAP_SYSLOG (sudo)"
    if setting == 2:
        remedy = "sysctl -w kernel.kptr_restrict=1, and run with CAP_SYSLOG (sudo): 2 hides them from everybody"
    return Row(SETTING, name, FORBIDDEN, None, f"{words}: the kernel hides its addresses from this process", remedy)


def _memory(now: Permissions) -> Row:
    import resource

    name = "locked memory"
    if release.has(_LIMITS_LIFTED):
        return yes(SETTING, name, reason="maps count against the cgroup's memory (Linux 5.11)")
    limit, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if limit == resource.RLIM_INFINITY or now.has("sys_resource"):
        return yes(SETTING, name, reason="without limit, or this process may lift it")
    return Row(
        SETTING, name, FORBIDDEN, None, f"limited to {limit // 1024} KiB, against which maps and programs count",
        "ulimit -l unlimited (as root), or LimitMEMLOCK=infinity in a systemd unit",
    )  # fmt: skip


# The kernel


def system(loader: Loader) -> list[Row]:
    """What the kernel offers beside hooks, program types and map types."""
    return [
        _bpf(), _btf(), _module_btf(), _jit(loader), _ring_buffer(), _statistics(), _tracefs(), _mount("cgroup2"),
        _mount("bpf"), _configuration(),
    ]  # fmt: skip


def _bpf() -> Row:
    """The system call itself: a command that cannot exist is refused as unknown, or for want of rights."""
    try:
        syscall.bpf(0x7FFFFFFF, bytearray(8))
    except OSError as error:
        if error.errno == errno.ENOSYS:
            return answered(KERNEL, "bpf", since("bpf_syscall"), errno.ENOSYS, what="")
    return yes(KERNEL, "bpf", since("bpf_syscall"), f"Linux {os.uname().release}")


def _btf() -> Row:
    version = since("vmlinux_btf")
    path = "/sys/kernel/btf/vmlinux"
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
    except PermissionError:
        return Row(KERNEL, "btf", FORBIDDEN, version, f"{path} cannot be read", "have it made readable for this user")
    except OSError:
        return absent(
            KERNEL, "btf", version, options=("CONFIG_DEBUG_INFO_BTF",), reason=f"{path} does not exist",
            remedy="run a kernel with CONFIG_DEBUG_INFO_BTF=y (most distributions since 2020), with /sys mounted",
        )  # fmt: skip
    return yes(KERNEL, "btf", version, f"{size / 1e6:.1f} MB of types")


def _module_btf() -> Row:
    from osmia.btf.kernel import module_names

    name, version = "module btf", since("module_btf")
    count = len(module_names())
    if count:
        return yes(KERNEL, name, version, f"of {count} loaded modules")
    if config.get("CONFIG_DEBUG_INFO_BTF_MODULES") == "y":
        return yes(KERNEL, name, version, "no module is loaded")
    if config.get("CONFIG_DEBUG_INFO_BTF_MODULES") is None and release.has(version):
        return Row(KERNEL, name, UNKNOWN, version, "no loaded module has any", "load a module and run this again")
    return absent(KERNEL, name, version, options=("CONFIG_MODULES", "CONFIG_DEBUG_INFO_BTF_MODULES"))


def _jit(loader: Loader) -> Row:
    """The proof is a loaded program with machine code; without the right to load one, the setting must do."""
    from osmia.diagnostics.errors import LoadError
    from osmia.kernel.inspect_objects import read_program

    name, version = "jit", (3, 18)
    on = "sysctl -w net.core.bpf_jit_enable=1"
    fd, _ = loader.open("socket_filter")
    if fd >= 0:
        try:
            size = read_program(fd).jited_size
        except LoadError:
            size = -1
        finally:
            os.close(fd)
        if size > 0:
            always = config.get("CONFIG_BPF_JIT_ALWAYS_ON") == "y"
            return yes(KERNEL, name, version, "always on" if always else "on")
        if size == 0 and permissions.current().has("bpf"):
            if config.missing(("CONFIG_BPF_JIT",)):
                return absent(KERNEL, name, version, options=("CONFIG_BPF_JIT",))
            return Row(
                KERNEL, name, NO, version, "switched off: programs are interpreted", on, "net.core.bpf_jit_enable"
            )
    setting = permissions.sysctl("bpf_jit")
    if setting is None and config.get("CONFIG_BPF_JIT_ALWAYS_ON") == "y":
        return yes(KERNEL, name, version, "always on")
    if setting is None:
        return Row(
            KERNEL, name, UNKNOWN, version, "net.core.bpf_jit_enable cannot be read by this user", "run as root (sudo)"
        )  # fmt: skip
    if setting:
        return yes(KERNEL, name, version, f"net.core.bpf_jit_enable={setting}")
    return Row(KERNEL, name, NO, version, "net.core.bpf_jit_enable=0: programs are interpreted", on, "switched off")


def _ring_buffer() -> Row:
    """A ring buffer of the smallest size, with its pages mapped."""
    from osmia.abi import map_types

    name, version, page = "ring buffer", since("ringbuf"), mmap.PAGESIZE
    number = 0
    try:
        fd = syscall.map_create(map_types.number("ringbuf"), 0, 0, page, name=b"osmia_probe")
        try:
            with mmap.mmap(fd, page, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE):
                pass
            with mmap.mmap(fd, page + 2 * page, mmap.MAP_SHARED, mmap.PROT_READ, offset=page):
                pass
        finally:
            os.close(fd)
    except OSError as error:
        number = error.errno or 0
    found = answered(KERNEL, name, version, number, what="cannot make a ring buffer")
    if found.status == NO and not release.has(version):
        found.remedy += "; Osmia uses perf buffers instead"
    return found


def _statistics() -> Row:
    name, version = "run statistics", since("run_statistics")
    number = 0
    try:
        os.close(syscall.enable_stats())
    except OSError as error:
        number = error.errno or 0
    always = permissions.sysctl("bpf_stats") == 1
    if always:
        return yes(KERNEL, name, version, "kernel.bpf_stats_enabled=1: always kept")
    if number == errno.EINVAL and release.has(version) and not release.has((5, 8)):
        return Row(
            KERNEL, name, NO, version, "switched off", "sysctl -w kernel.bpf_stats_enabled=1", "switched off"
        )  # fmt: skip
    return answered(KERNEL, name, version, number, what="cannot keep run statistics", needs=("sys_admin",))


def _tracefs() -> Row:
    from osmia.diagnostics.errors import AttachError
    from osmia.kernel import tracefs

    mounted = [place for place in mounts_of("tracefs") if os.path.isdir(f"{place}/events")]
    try:
        tracefs.root()
    except AttachError as error:
        status = FORBIDDEN if error.errno in (errno.EPERM, errno.EACCES) else NO
        cause = "" if status == FORBIDDEN else config.missing(("CONFIG_TRACING",)) or "not mounted"
        return Row(KERNEL, "tracefs", status, (4, 1), error.message, error.hint or "", cause)
    words = f"mounted at {mounted[0]}" if mounted else "not mounted; Osmia opens an instance of its own"
    return yes(KERNEL, "tracefs", (4, 1), words)


_MOUNTS = {
    "cgroup2": ("cgroup2", (4, 5), "/sys/fs/cgroup", "CONFIG_CGROUPS", "to attach programs to cgroups"),
    "bpf": ("bpffs", (4, 4), "/sys/fs/bpf", "CONFIG_BPF_SYSCALL", "to pin programs and maps"),
}


def _mount(kind: str) -> Row:
    name, version, place, option, purpose = _MOUNTS[kind]
    mounted = mounts_of(kind)
    if mounted:
        return yes(KERNEL, name, version, f"mounted at {mounted[0]}")
    if not _known_file_system(kind):
        return absent(KERNEL, name, version, options=(option,))
    return Row(
        KERNEL,
        name,
        NO,
        version,
        f"not mounted; it is needed {purpose}",
        f"mount -t {kind} {kind} {place}",
        "not mounted",
    )


def _known_file_system(kind: str) -> bool:
    try:
        with open("/proc/filesystems", encoding="ascii", errors="replace") as file:
            return any(line.split()[-1:] == [kind] for line in file)
    except OSError:
        return True


def _configuration() -> Row:
    if config.get("CONFIG_BPF_SYSCALL") is not None:
        return yes(KERNEL, "configuration", None, "of this kernel can be read")
    return Row(
        KERNEL, "configuration", NO, None, "this kernel's build options are neither in /proc/config.gz nor in /boot",
        f"install /boot/config-{os.uname().release}, or run a kernel with CONFIG_IKCONFIG_PROC=y", "no file",
    )  # fmt: skip
