"""Where objects have names in the file system: pins, and the folders of cgroups."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_ID_KEYS = {"program": "prog_id", "map": "map_id", "link": "link_id"}
_ESCAPES = (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\"))


def mounts_of(kind: str) -> list[str]:
    """Where file systems of a type (``cgroup2``, ``bpf``, ``tracefs``) are mounted, in the order of mounting.

    Of a file system that is mounted in several places, every place is told.
    """
    found = []
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            for line in file:
                left, _, right = line.partition(" - ")
                if right.split(" ", 1)[0] == kind:
                    place = left.split(" ")[4]
                    for escape, char in _ESCAPES:
                        place = place.replace(escape, char)
                    found.append(place)
    except OSError:
        pass
    return found


def cgroup_name(number: int) -> str:
    """A cgroup in words, by its id, which is the inode number of its folder: ``cgroup /user.slice``."""
    for place in mounts_of("cgroup2"):
        for folder, below, _ in os.walk(place):
            try:
                found = os.stat(folder).st_ino == number
            except OSError:
                below.clear()
                continue
            if found:
                return "cgroup " + folder.removeprefix(place.rstrip("/")) if folder != place else "cgroup /"
    return f"cgroup {number}"


def pinned() -> dict[tuple[str, int], list[str]]:
    """Where objects are pinned: paths by (``program``, ``map`` or ``link``, id).

    Looks through all bpf file systems that are mounted here; pins that this user may not open are left out.
    """
    found: dict[tuple[str, int], list[str]] = {}
    for path in _pins():
        key = _identity(path)
        if key is not None and path not in found.setdefault(key, []):
            found[key].append(path)
    return found


def _pins() -> Iterator[str]:
    for place in mounts_of("bpf"):
        for folder, _, names in os.walk(place):
            for name in names:
                yield os.path.join(folder, name)


def _identity(path: str) -> tuple[str, int] | None:
    from osmia.kernel import syscall
    from osmia.kernel.inspect_objects import fdinfo, number_of
    from osmia.kernel.pins import object_kind

    read_only = 1 << 3  # BPF_F_RDONLY: enough to ask, and allowed to those who may only read
    for flags in (0, read_only):
        try:
            fd = syscall.obj_get(path, flags)
        except OSError:
            continue
        try:
            kind = object_kind(fd)
            number = number_of(fdinfo(fd), _ID_KEYS.get(kind, ""))
            return (kind, number) if number else None
        finally:
            os.close(fd)
    return None
