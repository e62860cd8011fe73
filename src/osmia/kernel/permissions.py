"""What this process may do with BPF, and whose decision that is: capabilities, lockdown, sysctls, policies."""

from __future__ import annotations

import errno

from osmia.diagnostics.errors import PermissionMissing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from osmia.diagnostics.errors import LoadError

# Capabilities by name: bit, and the kernel release that split it off CAP_SYS_ADMIN.
CAPABILITIES = {
    "net_admin": (12, None),
    "sys_ptrace": (19, None),
    "sys_admin": (21, None),
    "sys_resource": (24, None),
    "syslog": (34, None),
    "perfmon": (38, (5, 8)),
    "bpf": (39, (5, 8)),
}

_SYSCTLS = {
    "unprivileged_bpf": "/proc/sys/kernel/unprivileged_bpf_disabled",
    "paranoid": "/proc/sys/kernel/perf_event_paranoid",
    "kptr_restrict": "/proc/sys/kernel/kptr_restrict",
    "yama": "/proc/sys/kernel/yama/ptrace_scope",
    "bpf_jit": "/proc/sys/net/core/bpf_jit_enable",
    "bpf_jit_harden": "/proc/sys/net/core/bpf_jit_harden",
    "bpf_stats": "/proc/sys/kernel/bpf_stats_enabled",
}
UNPRIVILEGED_TYPES = frozenset(("socket_filter", "cgroup_skb"))
"""Program types that an unprivileged user may load where ``kernel.unprivileged_bpf_disabled`` is 0."""


class Permissions:
    """A snapshot of what the process is allowed.

    :ivar effective: effective capabilities as a mask. :ivar initial_userns: whether they count for the whole machine
        (in a user namespace of its own, as in rootless containers, they do not).
    :ivar lockdown: ``none``, ``integrity``, ``confidentiality``, ``""`` where the kernel has no lockdown.
    :ivar sysctls: values by name, None where there is no such setting: ``unprivileged_bpf`` (0 allowed, 1 and 2
        not), ``paranoid``, ``kptr_restrict``, ``yama``, ``bpf_jit``, ``bpf_jit_harden``, ``bpf_stats``.
    """

    __slots__ = ("effective", "initial_userns", "lockdown", "sysctls")

    def __init__(self, effective: int, initial_userns: bool, lockdown: str, sysctls: dict[str, int | None]) -> None:
        self.effective = effective
        self.initial_userns = initial_userns
        self.lockdown = lockdown
        self.sysctls = sysctls

    def has(self, name: str) -> bool:
        """Whether the process has a capability (``bpf``), or ``sys_admin``, which includes ``bpf`` and ``perfmon``."""
        bit, _ = CAPABILITIES[name]
        held = self.effective >> bit & 1
        if not held and name in ("bpf", "perfmon", "syslog"):
            held = self.effective >> CAPABILITIES["sys_admin"][0] & 1
        return bool(held) and self.initial_userns

    def missing(self, *names: str) -> list[str]:
        """Those of the capabilities that are not there, in the kernel's spelling."""
        return ["CAP_" + name.upper() for name in names if not self.has(name)]


def current() -> Permissions:
    """What the process is allowed now."""
    effective = 0
    for line in _read("/proc/self/status").splitlines():
        if line.startswith("CapEff:"):
            effective = int(line[7:], 16)
    ids = _read("/proc/self/uid_map").split()
    initial = not ids or ids[:3] == ["0", "0", "4294967295"]
    return Permissions(effective, initial, lockdown(), {name: sysctl(name) for name in _SYSCTLS})


def lockdown(text: str | None = None) -> str:
    """The kernel lockdown mode, ``""`` where there is none. ``text`` is for tests: what the kernel's file says."""
    words = (_read("/sys/kernel/security/lockdown") if text is None else text).split()
    return next((word[1:-1] for word in words if word.startswith("[")), "")


def sysctl(name: str) -> int | None:
    """A setting's number, None where the kernel does not have it."""
    text = _read(_SYSCTLS[name]).strip()
    return int(text) if text.lstrip("-").isdigit() else None


def refusal(
    what: str, needs: Sequence[str], number: int = errno.EPERM, *, rights: Permissions | None = None, kind: str = ""
) -> LoadError:
    """The error for an ``EPERM``: which right is missing, or who forbids it.

    :param what: what could not be done, in words. :param needs: capabilities that it takes, as ``bpf``.
    :param kind: the program type, if one was loaded: some may be loaded without any rights.
    """
    rights = rights or current()
    missing = rights.missing(*needs)
    if missing:
        return _without_capability(what, missing, rights, kind, number)
    if rights.lockdown in ("integrity", "confidentiality"):
        return PermissionMissing(
            "KRN003",
            f"{what}: the kernel is locked down ({rights.lockdown})",
            errno=number,
            hint="lockdown is set at boot (secure boot, or lockdown= on the kernel command line): "
            + (
                "confidentiality forbids programs that read kernel memory"
                if rights.lockdown == "confidentiality"
                else "integrity forbids programs that write to kernel or user memory"
            ),
        )
    return PermissionMissing(
        "KRN002",
        f"{what}: the kernel forbids it although every right is there",
        errno=number,
        hint="a security policy of the machine's owner (a security module, seccomp, or the kernel's build) refuses "
        "this operation; ask them, or use another kind of hook",
    )


def _without_capability(
    what: str, missing: list[str], rights: Permissions, kind: str, number: int
) -> PermissionMissing:
    if kind in UNPRIVILEGED_TYPES and rights.sysctls.get("unprivileged_bpf"):
        setting = rights.sysctls["unprivileged_bpf"]
        return PermissionMissing(
            "KRN004",
            f"{what}: unprivileged use of BPF is switched off",
            errno=number,
            hint=f"run as root, or have the administrator set kernel.unprivileged_bpf_disabled=0 (now {setting})"
            if setting != 1
            else "run as root; kernel.unprivileged_bpf_disabled=1 holds until the next boot",
        )
    listed = " and ".join(missing)
    if rights.effective and not rights.initial_userns:
        hint = "this process is root only in its user namespace; run it outside of the container, or as real root"
    else:
        hint = (
            "run it as root (sudo), or give the interpreter the capability: setcap "
            + ",".join(name.lower() for name in missing)
            + "+ep"
        )
    return PermissionMissing("KRN001", f"{what}: {listed} missing", errno=number, hint=hint)


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
