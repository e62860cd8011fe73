"""Programs on control groups."""

from __future__ import annotations

import errno
import os
from struct import pack

from osmia.abi import attach_types, prog_types
from osmia.abi.uapi_bpf import BPF_F_ALLOW_MULTI, BPF_F_ALLOW_OVERRIDE
from osmia.diagnostics.errors import AttachError
from osmia.diagnostics.text import clean
from osmia.kernel import release, syscall
from osmia.kernel.attach.link import BpfLink, CalledLink, Link
from osmia.kernel.attach.problems import refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from osmia.kernel.journal import Entry
    from osmia.kernel.program import Program

# Targets of the cgroup hook by the attach type's name, where it cannot be made from the target.
_NAMES = {
    "skb/ingress": "cgroup_inet_ingress", "skb/egress": "cgroup_inet_egress", "sock_create": "cgroup_inet_sock_create",
    "sock_release": "cgroup_inet_sock_release", "post_bind4": "cgroup_inet4_post_bind",
    "post_bind6": "cgroup_inet6_post_bind", "sockops": "cgroup_sock_ops", "device": "cgroup_device",
    "sysctl": "cgroup_sysctl", "getsockopt": "cgroup_getsockopt", "setsockopt": "cgroup_setsockopt",
    "connect_unix": "cgroup_unix_connect", "sendmsg_unix": "cgroup_unix_sendmsg",
    "recvmsg_unix": "cgroup_unix_recvmsg", "getpeername_unix": "cgroup_unix_getpeername",
    "getsockname_unix": "cgroup_unix_getsockname",
}  # fmt: skip
_FAMILY = {
    "bind": "cgroup_inet{}_bind", "connect": "cgroup_inet{}_connect", "getpeername": "cgroup_inet{}_getpeername",
    "getsockname": "cgroup_inet{}_getsockname", "sendmsg": "cgroup_udp{}_sendmsg", "recvmsg": "cgroup_udp{}_recvmsg",
}  # fmt: skip
_NEEDS = ("bpf", "net_admin")
MODES = {"multi": BPF_F_ALLOW_MULTI, "override": BPF_F_ALLOW_OVERRIDE, "exclusive": 0}


def attach(program: Program, kind: str, target: str, options: dict[str, Any]) -> Link:
    """Attaches to a cgroup.

    Options: ``path`` (of the cgroup's folder, or a descriptor; needed), ``mode``: ``link`` (Linux 5.7, beside what
    others attach; the default where the kernel has it), or without a link, undone when closed and journalled:
    ``multi`` (beside others), ``override`` (a child's program takes this one's place), ``exclusive`` (no others in the
    subtree).

    :raises AttachError: HOOK006, HOOK009, HOOK012 (no such cgroup), HOOK015, HOOK017; permission errors.
    """
    number = attach_type_of(program, target)
    path = options.get("path") or ""
    if path == "":
        raise AttachError(
            "HOOK012", f"no cgroup is given for '{clean(program.name)}'", hint="give its folder as path=, or --cgroup"
        )
    mode = str(options.get("mode") or ("link" if release.has((5, 7)) else "multi"))
    if mode != "link" and mode not in MODES:
        raise AttachError("HOOK006", f"{clean(mode)!r} is no mode of a cgroup hook", hint="link, " + ", ".join(MODES))
    folder = os.dup(path) if isinstance(path, int) else open_cgroup(program, str(path))
    where = f"{target} of {path}"
    entry: Entry | None = None
    try:
        if mode == "link":
            fd = syscall.link_create(program.fileno(), folder, number, 0, pack("=IIQ", 0, 0, 0))
            return BpfLink(program, kind, where, fd)
        from osmia.kernel import journal

        real = os.readlink(f"/proc/self/fd/{folder}")
        entry = journal.record("cgroup", path=real, attach_type=number, prog_id=program.id)
        syscall.prog_attach(folder, program.fileno(), number, MODES[mode])
    except OSError as error:
        if entry is not None:
            entry.forget()
        hint = "a cgroup above or below it has an exclusive program, or this one has programs of another mode"
        raise refused(program, kind, where, error, needs=_NEEDS, since=_since(number, mode), hint=hint) from None
    finally:
        os.close(folder)
    keeper = program.fileno()

    def undo() -> None:
        undo_attachment(real, number, keeper)

    return CalledLink(program, kind, where, undo, entry)


def undo_attachment(path: str, number: int, prog_fd: int) -> None:
    """Detaches a program from a cgroup; a cgroup or attachment that is gone is fine."""
    try:
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        syscall.prog_detach(folder, prog_fd, number)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.EINVAL):
            raise AttachError(
                "HOOK017", f"cannot detach a program from {clean(path)}: {error.strerror}", errno=error.errno or 0
            ) from None
    finally:
        os.close(folder)


def _since(number: int, mode: str) -> release.Version | None:
    row = attach_types.TABLE.find(number)
    if row is None:
        return None
    found: release.Version | None = row.link_version if mode == "link" else row.version
    return found


def attach_type_of(program: Program, target: str) -> int:
    """The number of the attach type that a program and the hook's target mean.

    :raises AttachError: HOOK006 for an unknown target, HOOK015 when the program is for another one.
    """
    row = prog_types.TABLE.find(program.prog_type)
    name = _NAMES.get(target) or (attach_types.TABLE.find(target) and target)
    if not name and target[-1:] in ("4", "6") and target[:-1] in _FAMILY:
        name = _FAMILY[target[:-1]].format(target[-1])
    if not name and target == "skb" and program.attach_type:
        name = attach_types.attach_type(program.attach_type).name
    if not name and program.attach_type:
        return program.attach_type
    if not name and row is not None and len(row.attach_types) == 1:
        name = row.attach_types[0]
    if not name:
        known = [*_NAMES, *(f"{stem}{version}" for stem in _FAMILY for version in (4, 6))]
        from osmia.diagnostics.text import did_you_mean

        raise AttachError(
            "HOOK006",
            f"there is no cgroup hook {clean(target)!r}",
            hint=did_you_mean(target, known) or ", ".join(known),
        )
    found = attach_types.attach_type(str(name))
    if row is not None and row.name not in found.prog_types:
        raise AttachError(
            "HOOK015",
            f"'{clean(program.name)}' is a program of type {row.name}; cgroup hook {clean(target)} takes "
            + " or ".join(found.prog_types),
            errno=errno.EINVAL,
        )
    return int(found.number)


def open_cgroup(program: Program, path: str) -> int:
    """A descriptor of a cgroup's folder, which must be in a cgroup2 file system. :raises AttachError: HOOK012."""
    try:
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        os.stat("cgroup.controllers", dir_fd=folder)
    except FileNotFoundError:
        raise AttachError(
            "HOOK012",
            f"{clean(path)} is no cgroup for '{clean(program.name)}'",
            errno=errno.ENOENT,
            hint="programs attach to cgroups of version 2" + _mounted(),
        ) from None
    except (OSError, ValueError) as error:
        raise AttachError(
            "HOOK012", f"cannot open cgroup {clean(path)}: {error}", errno=getattr(error, "errno", 0) or 0
        ) from None
    return folder


def _mounted() -> str:
    try:
        with open("/proc/mounts", encoding="utf-8", errors="replace") as file:
            places = [line.split()[1] for line in file if line.split()[2:3] == ["cgroup2"]]
    except OSError:
        places = []
    return ": " + ", ".join(places) if places else "; none is mounted (mount -t cgroup2 none /sys/fs/cgroup)"
