"""Errors of map operations: what an errno means for which kind of map, and the way out."""

from __future__ import annotations

import errno
import os

from osmia.diagnostics.errors import MapError
from osmia.diagnostics.text import clean
from osmia.kernel.maps.base import ENOTSUPP, EmptyMap, MissingKey

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from osmia.diagnostics.errors import LoadError
    from osmia.kernel.maps.base import Map

_ARRAYS = frozenset(
    ("array", "percpu_array", "prog_array", "perf_event_array", "cgroup_array", "array_of_maps", "sockmap", "devmap",
     "cpumap", "xskmap", "reuseport_sockarray")
)  # fmt: skip
_QUEUES = frozenset(("queue", "stack"))


def map_error(map_: Map, number: int, doing: str, key: Any = None) -> LoadError:
    """The error for ``errno`` ``number`` when ``doing`` ("update", "look up") something with a map."""
    name = f"map '{clean(map_.name)}'"
    shown = "" if key is None else " " + _shown(key)
    what = f"cannot {doing}{shown} in {name}" if key is not None else f"cannot {doing} {name}"
    if number == errno.ENOENT:
        return _missing(map_, name, shown)
    if number == errno.EEXIST:
        return MapError(
            "MAP003", f"{name} has key{shown} already", errno=number, hint="assign with map[key] = value to replace it"
        )
    if number in (errno.E2BIG, errno.ENOSPC):
        return _full(map_, number, name, shown)
    if number in (errno.EINVAL, errno.EOPNOTSUPP, ENOTSUPP):
        return MapError(
            "MAP004",
            f"{what}: {_article(map_.kind)} map cannot do that",
            errno=number,
            hint=f"the kernel refused the operation, its flags or its value for the map type {map_.kind}",
        )
    if number == errno.EPERM:
        return _not_permitted(map_, number, what)
    hint = None
    if number == errno.EBUSY:
        hint = "the map or the entry is in use: mapped writable, locked, or attached; try again when it is not"
    elif number == errno.ENOMEM:
        hint = "the kernel has no memory for the entry, or every entry of an LRU map is busy; raise max_entries"
    elif number == errno.EBADF:
        hint = "the descriptor given as key or value is closed, or of another kind than the map holds"
    return MapError("MAP007", f"{what}: {_strerror(number)}", errno=number, hint=hint)


def _missing(map_: Map, name: str, shown: str) -> MapError:
    if map_.kind in _QUEUES:
        return EmptyMap("MAP002", f"{name} is empty", errno=errno.ENOENT)
    if map_.kind in _ARRAYS and map_.kind in ("array", "percpu_array"):
        return MissingKey(
            "MAP002",
            f"{name} has no index{shown}: its indexes end at {map_.max_entries - 1}",
            errno=errno.ENOENT,
            hint="raise max_entries where the map is declared",
        )
    return MissingKey(
        "MAP002", f"{name} has no key{shown}", errno=errno.ENOENT, hint="map.get(key) gives None instead of an error"
    )


def _full(map_: Map, number: int, name: str, shown: str) -> MapError:
    if map_.kind in _ARRAYS:
        return MissingKey(
            "MAP002",
            f"{name} has no index{shown}: its indexes end at {map_.max_entries - 1}",
            errno=number,
            hint="raise max_entries where the map is declared",
        )
    evict = ", or use an lru_hash, which drops what was not used for longest" if map_.kind == "hash" else ""
    if map_.kind in _QUEUES:
        evict = ", or push with replace_oldest=True"
    return MapError(
        "MAP001",
        f"{name} is full: it has room for {map_.max_entries} entries",
        errno=number,
        hint=f"raise max_entries (now {map_.max_entries}) where the map is declared{evict}",
    )


def _not_permitted(map_: Map, number: int, what: str) -> LoadError:
    from osmia.kernel import permissions

    missing = permissions.current().missing("bpf")
    if missing:
        return permissions.refusal(what, ("bpf",), number)
    if map_.flags & (1 << 3 | 1 << 4) or map_.spec is None or map_.spec.frozen:
        hint = "the map is frozen, was made read-only or write-only, or was opened that way; constants stay as loaded"
    else:
        hint = "the map was frozen: no more writes from user space"
    return MapError("MAP005", f"{what}: the map does not allow it", errno=number, hint=hint)


def wrong_data(map_: Map, what: str, value: Any, error: Exception) -> MapError:
    """The error for a key or value that does not fit its layout."""
    layout = map_.key if what == "key" else map_.value
    return MapError(
        "MAP006",
        f"{_shown(value)} is no {what} of map '{clean(map_.name)}': {clean(str(error))}",
        errno=errno.EINVAL,
        hint=f"a {what} is {layout}, {layout.size} bytes",
    )


def unsupported(map_: Map, what: str, hint: str | None = None) -> MapError:
    """The error for something that a kind of map cannot do by nature."""
    return MapError(
        "MAP004",
        f"{what} is not possible: '{clean(map_.name)}' is {_article(map_.kind)} map",
        errno=errno.EOPNOTSUPP,
        hint=hint,
    )


def _article(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aei" else f"a {kind}"


def _shown(key: Any) -> str:
    text = repr(key)
    return clean(text if len(text) <= 60 else text[:57] + "...")


def _strerror(number: int) -> str:
    return os.strerror(number) if number != ENOTSUPP else "operation not supported by this kind of map"
