"""Network namespaces: devices have names and numbers only within one."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager

from osmia.diagnostics.errors import AttachError
from osmia.diagnostics.text import clean
from osmia.kernel import syscall

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_CLONE_NEWNET = 0x40000000
_OWN = "/proc/thread-self/ns/net"
_NAMED = ("/run/netns", "/var/run/netns")


def open_netns(where: Any = None) -> int:
    """A descriptor of a network namespace: this thread's, or that of a path, a name of ``ip netns``, a descriptor.

    :raises AttachError: HOOK019 when there is none.
    """
    if isinstance(where, int):
        return os.dup(where)
    path = str(where or _OWN)
    if "/" not in path:
        path = f"{_NAMED[0]}/{path}"
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise AttachError(
            "HOOK019",
            f"there is no network namespace {clean(str(where))}: {getattr(error, 'strerror', error)}",
            errno=getattr(error, "errno", 0) or errno.ENOENT,
            hint="a name that `ip netns list` shows, or a path such as /proc/PID/ns/net",
        ) from None


@contextmanager
def inside(where: Any = None) -> Iterator[None]:
    """This thread is in another network namespace inside of the ``with`` block; nothing changes without ``where``.

    :raises AttachError: HOOK019; the permission errors of entering one.
    """
    if where is None or where == "":
        yield
        return
    target = open_netns(where)
    own = open_netns()
    try:
        if inode(target) == inode(own):
            yield
            return
        _enter(target, where)
        try:
            yield
        finally:
            _enter(own, _OWN)
    finally:
        os.close(target)
        os.close(own)


def _enter(fd: int, where: Any) -> None:
    try:
        syscall.setns(fd, _CLONE_NEWNET)
    except OSError as error:
        if error.errno == errno.EPERM:
            from osmia.kernel import refusals

            raise refusals.not_permitted(f"cannot enter network namespace {where}", ("sys_admin",)) from None
        raise AttachError(
            "HOOK019", f"cannot enter network namespace {where}: {error.strerror}", errno=error.errno or 0
        ) from None


def inode(fd: int) -> int:
    """The number that tells a namespace from others."""
    return os.fstat(fd).st_ino


def own_inode() -> int:
    """The number of this thread's network namespace."""
    return os.stat(_OWN).st_ino


def find(number: int) -> str | None:
    """A path to the network namespace with that number, None when no name and no process leads to it."""
    if own_inode() == number:
        return _OWN
    for folder in _NAMED:
        try:
            names = os.listdir(folder)
        except OSError:
            continue
        for name in names:
            if _is(f"{folder}/{name}", number):
                return f"{folder}/{name}"
    for entry in os.listdir("/proc"):
        if entry.isdigit() and _is(f"/proc/{entry}/ns/net", number):
            return f"/proc/{entry}/ns/net"
    return None


def _is(path: str, number: int) -> bool:
    try:
        return os.stat(path).st_ino == number
    except OSError:
        return False
