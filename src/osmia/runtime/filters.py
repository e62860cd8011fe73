"""Which processes a program looks at: from a run's options to the constants its filter reads in the kernel."""

from __future__ import annotations

import os

from osmia.diagnostics import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from osmia.runtime.options import RunOptions

SELF, PID, TID, CGROUP, COMM, TREE, PIDNS = (1 << bit for bit in range(7))
"""Bits of ``osmia_filter.flags``; ``lang`` compiles the tests of these bits into every filtered program."""

VARIABLE = "osmia_filter"
"""The constant that every filtered program reads."""
TREE_MAP = "osmia_tree"
"""Map of the processes that belong to the traced command."""
OPTION_PREFIX = "osmia_option_"
"""Constants of a program's own options are named so."""

_INITIAL_PID_NAMESPACE = 0xEFFFFFFC
"""Inode of the first pid namespace (``PROC_PID_INIT_INO``)."""


def settings(options: RunOptions) -> dict[str, Any]:
    """The fields of ``osmia_filter`` for a run, by name.

    :raises UsageError: RUN005 for a process, RUN006 for a cgroup, RUN007 for a name that cannot be.
    """
    flags = 0
    fields: dict[str, Any] = {}
    if not options.include_self:
        flags |= SELF
        fields["self_tgid"] = os.getpid()
    if options.pid:
        flags |= PID
        fields["pid"] = _alive(options.pid)
    if options.tid:
        flags |= TID
        fields["tid"] = _alive(options.tid)
    if options.cgroup:
        flags |= CGROUP
        fields["cgroup_id"], fields["cgroup_level"] = cgroup_id(options.cgroup)
    if options.comm:
        flags |= COMM
        raw = options.comm.encode()
        if len(raw) > 15:
            raise UsageError(
                "RUN007", f"no task can be named {options.comm!r}", hint="the kernel keeps 15 bytes of a name"
            )
        fields["comm"] = options.comm
    if options.command:
        flags |= TREE
    namespace = pid_namespace()
    if namespace is not None:
        flags |= PIDNS
        fields["pidns_dev"], fields["pidns_ino"] = namespace
    fields["flags"] = flags
    return fields


def pid_namespace() -> tuple[int, int] | None:
    """Device and inode of the caller's pid namespace; ``None`` in the first one, where no translation is needed."""
    try:
        status = os.stat("/proc/self/ns/pid")
    except OSError:
        return None
    return None if status.st_ino == _INITIAL_PID_NAMESPACE else (status.st_dev, status.st_ino)


def cgroup_id(path: str) -> tuple[int, int]:
    """Id and depth of a cgroup v2 folder; a relative name is looked up below the cgroup v2 mount."""
    root = cgroup_root()
    full = path if path.startswith("/") and os.path.isdir(path) else os.path.join(root, path.lstrip("/"))
    full = os.path.realpath(full)
    if not os.path.isfile(os.path.join(full, "cgroup.procs")) or not (full + "/").startswith(root + "/"):
        raise UsageError(
            "RUN006", f"{path} is no cgroup", hint=f"cgroups (v2) are folders below {root or '/sys/fs/cgroup'}"
        )
    relative = os.path.relpath(full, root)
    level = 0 if relative == "." else relative.count("/") + 1
    return os.stat(full).st_ino, level


def cgroup_root() -> str:
    """Where cgroup v2 is mounted, ``""`` when it is not."""
    try:
        with open("/proc/self/mounts", encoding="utf-8", errors="surrogateescape") as mounts:
            for line in mounts:
                _, where, kind, *_ = line.split()
                if kind == "cgroup2":
                    return where
    except OSError:
        return ""
    return ""


def _alive(pid: int) -> int:
    if not os.path.exists(f"/proc/{pid}"):
        raise UsageError("RUN005", f"there is no process {pid}", hint="see ps for the running processes")
    return pid
