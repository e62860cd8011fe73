"""Pins: names of maps, programs and links in a bpf file system, under which they outlive processes."""

from __future__ import annotations

import errno
import os

from osmia.diagnostics.errors import LoadError
from osmia.kernel import syscall
from osmia.kernel.words import clean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from osmia.kernel.journal import Entry

DEFAULT_FOLDER = "/sys/fs/bpf"
_KINDS = {"bpf-map": "map", "bpf-prog": "program", "bpf_link": "link"}


def pin(fd: int, path: str, what: str, *, temporary: bool = False) -> Entry | None:
    """Pins an object; a temporary pin is journalled, and the entry that removes it returned.

    :param what: the object in words, for errors.
    :raises LoadError: KRN025, KRN024; the permission errors.
    """
    entry = None
    if temporary:
        from osmia.kernel import journal

        entry = journal.record("pin", path=os.path.abspath(path), object=_object_id(fd))
    try:
        syscall.obj_pin(fd, path)
    except OSError as error:
        if entry is not None:
            entry.forget()
        raise _pin_error(path, what, error) from None
    return entry


def unpin(path: str) -> None:
    """Removes a pin.

    :raises LoadError: KRN025 when there is none, or it is an ordinary file.
    """
    if not in_bpf_file_system(os.path.dirname(path) or "."):
        raise LoadError("KRN025", f"{clean(path)} is no pin: it is not in a bpf file system", hint=_mount_hint())
    try:
        os.unlink(path)
    except OSError as error:
        raise LoadError(
            "KRN025", f"cannot remove the pin {clean(path)}: {error.strerror}", errno=error.errno or 0
        ) from None


def open_pin(path: str, kind: str, flags: int = 0) -> int:
    """A descriptor of the object pinned at ``path``.

    :param kind: what it must be: ``map``, ``program`` or ``link``.
    :raises LoadError: KRN025.
    """
    try:
        fd = syscall.obj_get(path, flags)
    except OSError as error:
        if error.errno == errno.EPERM:
            from osmia.kernel import permissions

            raise permissions.refusal(f"cannot open {clean(path)}", ("bpf",)) from None
        words = {
            errno.ENOENT: "nothing is pinned there",
            errno.EACCES: "its permissions do not allow it",
        }.get(error.errno or 0, "it is no pinned object")
        raise LoadError(
            "KRN025", f"cannot open {clean(path)}: {words}", errno=error.errno or 0, hint=_mount_hint(path)
        ) from None
    found = object_kind(fd)
    if found != kind:
        os.close(fd)
        raise LoadError("KRN025", f"{clean(path)} is a {found}, not a {kind}", errno=errno.EINVAL)
    return fd


def object_kind(fd: int) -> str:
    """``map``, ``program`` or ``link`` for a descriptor of the kernel's BPF objects, else ``""``."""
    try:
        target = os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return ""
    return _KINDS.get(target.removeprefix("anon_inode:").strip("[]"), "")


def _object_id(fd: int) -> int:
    """The kernel's number of a map, program or link; their records have it in the same place."""
    from struct import unpack_from

    info = bytearray(80)
    syscall.object_info(fd, info)
    number: int = unpack_from("=I", info, 4)[0]
    return number


def pinned_id(path: str) -> int:
    """The number of the object pinned at a path, 0 when there is none."""
    try:
        fd = syscall.obj_get(path)
    except OSError:
        return 0
    try:
        return _object_id(fd)
    finally:
        os.close(fd)


def in_bpf_file_system(folder: str) -> bool:
    """Whether a folder is in a bpf file system."""
    try:
        wanted = os.stat(folder).st_dev
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                left, _, right = line.partition(" - ")
                if right.split(" ", 1)[0] == "bpf":
                    major, _, minor = left.split(" ")[2].partition(":")
                    if os.makedev(int(major), int(minor)) == wanted:
                        return True
    except (OSError, ValueError, IndexError):
        return False
    return False


def _pin_error(path: str, what: str, error: OSError) -> LoadError:
    shown = clean(path)
    number = error.errno or 0
    if number == errno.EEXIST:
        return LoadError(
            "KRN024",
            f"cannot pin {what}: {shown} exists already",
            errno=number,
            hint="choose another name, or remove the pin with `rm` if nobody needs it",
        )
    if number == errno.ENOENT:
        return LoadError(
            "KRN025", f"cannot pin {what}: the folder of {shown} does not exist", errno=number, hint=_mount_hint(path)
        )
    if number == errno.EPERM and in_bpf_file_system(os.path.dirname(path) or "."):
        from osmia.kernel import permissions

        return permissions.refusal(f"cannot pin {what} to {shown}", ("bpf",), number)
    if number in (errno.EPERM, errno.EINVAL) and not in_bpf_file_system(os.path.dirname(path) or "."):
        return LoadError(
            "KRN025", f"cannot pin {what}: {shown} is not in a bpf file system", errno=number, hint=_mount_hint(path)
        )
    return LoadError("KRN025", f"cannot pin {what} to {shown}: {error.strerror}", errno=number, hint=_mount_hint(path))


def _mount_hint(path: str = "") -> str:
    if path.startswith(DEFAULT_FOLDER) and not in_bpf_file_system(DEFAULT_FOLDER):
        return f"nothing is mounted there: mount -t bpf bpf {DEFAULT_FOLDER}"
    return f"pins live in a bpf file system, usually {DEFAULT_FOLDER}; names hold no dots"
