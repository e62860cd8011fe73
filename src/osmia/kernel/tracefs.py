"""Tracepoints as tracefs describes them: ids, record formats, names. Leaves no mount behind.

Where tracefs is mounted it is read there. Elsewhere a private instance is opened that is attached to no directory
(Linux 5.2) and goes away with the process.
"""

from __future__ import annotations

import errno
import os

from osmia.diagnostics.errors import AttachError
from osmia.kernel import syscall

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

MOUNT_POINTS = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")

_root = -1


class TracepointField:
    """A field of a tracepoint's record: ``const char *``-style C type, place in bytes.

    Fields of kind ``__data_loc T[]`` hold, in 4 bytes, the offset (low half) and size (high half) of data that lies
    in the record's variable part; ``__rel_loc`` counts the offset from the end of the field itself.
    """

    __slots__ = ("ctype", "name", "offset", "signed", "size")

    def __init__(self, name: str, ctype: str, offset: int, size: int, signed: bool) -> None:
        self.name = name
        self.ctype = ctype
        self.offset = offset
        self.size = size
        self.signed = signed

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TracepointField) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        return f"TracepointField({self.name!r}, {self.ctype!r}, {self.offset}, {self.size}, {self.signed})"

    def _key(self) -> tuple[str, str, int, int, bool]:
        return (self.name, self.ctype, self.offset, self.size, self.signed)


def root() -> int:
    """A directory descriptor of tracefs, opened once per process.

    :raises AttachError: HOOK003 when it can neither be found nor opened.
    """
    global _root
    if _root >= 0:
        return _root
    for path in MOUNT_POINTS:
        try:
            found = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            os.stat("events", dir_fd=found)
        except OSError:
            os.close(found)
            continue
        _root = found
        return found
    try:
        _root = syscall.detached_mount("tracefs")
    except OSError as error:
        raise _no_tracefs(error) from None
    return _root


def close() -> None:
    """Gives the descriptor back; the next use opens it again."""
    global _root
    if _root >= 0:
        os.close(_root)
    _root = -1


def _no_tracefs(error: OSError) -> AttachError:
    hint = "mount it: mount -t tracefs tracefs /sys/kernel/tracing"
    if error.errno in (errno.EPERM, errno.EACCES):
        hint = "run as root (tracefs is for root alone), or mount it where this user may read it"
    elif error.errno == errno.ENODEV:
        hint = "this kernel was built without tracing (CONFIG_TRACING)"
    return AttachError("HOOK003", f"tracefs cannot be read: {error.strerror}", errno=error.errno or 0, hint=hint)


def read(path: str) -> bytes:
    """A file of tracefs, such as ``available_events``.

    :raises OSError: as opening and reading do. :raises AttachError: HOOK003 without tracefs.
    """
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=root())
    try:
        parts = []
        while data := os.read(file, 1 << 16):
            parts.append(data)
        return b"".join(parts)
    finally:
        os.close(file)


def split(target: str) -> tuple[str, str]:
    """``sched:sched_switch`` or ``sched/sched_switch`` as a pair.

    :raises AttachError: HOOK006 for anything else.
    """
    category, colon, event = target.partition(":")
    if not colon:
        category, colon, event = target.partition("/")
    if not category or not event or "/" in category + event or ":" in event or ".." in (category, event):
        raise AttachError(
            "HOOK006",
            f"{target!r} is no tracepoint: it has a category and a name",
            hint="write it as CATEGORY:NAME, for example sched:sched_switch",
        )
    return category, event


def tracepoint_id(category: str, event: str) -> int:
    """The number that perf_event_open(2) takes for a tracepoint.

    :raises AttachError: HOOK002 (there is none; the hint has the nearest names), HOOK003.
    """
    return int(_event_file(category, event, "id"))


def tracepoint_format(category: str, event: str) -> list[TracepointField]:
    """The fields of a tracepoint's record in their order, the ``common_`` ones first.

    :raises AttachError: as :func:`tracepoint_id`.
    """
    return parse_format(_event_file(category, event, "format").decode("utf-8", "replace"))


def parse_format(text: str) -> list[TracepointField]:
    """The fields of a ``format`` file's text."""
    fields = []
    for line in text.splitlines():
        parts = line.strip().split(";")
        if not parts[0].startswith("field:"):
            continue
        values = dict(item.strip().split(":", 1) for item in parts[1:] if ":" in item)
        ctype, name = _declaration(parts[0][len("field:") :])
        signed = values.get("signed", "0") == "1"
        fields.append(TracepointField(name, ctype, int(values["offset"]), int(values["size"]), signed))
    return fields


def _declaration(text: str) -> tuple[str, str]:
    """``char prev_comm[16]`` as ``("char[16]", "prev_comm")``."""
    text = text.strip()
    bounds = ""
    # The dimensions stand behind the name; those of `__data_loc char[] name` belong to the type already.
    while text.endswith("]"):
        at = text.rindex("[")
        bounds = text[at:] + bounds
        text = text[:at].rstrip()
    split_at = len(text)
    while split_at and (text[split_at - 1].isalnum() or text[split_at - 1] == "_"):
        split_at -= 1
    return text[:split_at].strip() + bounds, text[split_at:]


def tracepoints(pattern: str = "*") -> list[str]:
    """All tracepoints as ``category:event``, sorted; ``pattern`` is a shell pattern of the whole.

    :raises AttachError: HOOK003.
    """
    try:
        names = read("available_events").decode("ascii", "replace").split()
    except OSError as error:
        raise _no_tracefs(error) from None
    if pattern not in ("*", "*:*"):
        import re
        from fnmatch import translate

        matches = re.compile(translate(pattern.replace("/", ":"))).match
        names = [name for name in names if matches(name)]
    return sorted(names)


def _event_file(category: str, event: str, name: str) -> bytes:
    try:
        return read(f"events/{category}/{event}/{name}")
    except FileNotFoundError:
        raise no_such_tracepoint(category, event) from None
    except OSError as error:
        raise _no_tracefs(error) from None


def no_such_tracepoint(category: str, event: str) -> AttachError:
    """The error for a tracepoint that does not exist, with the nearest names."""
    from osmia.diagnostics.text import clean, suggest

    known = tracepoints()
    near = suggest(f"{category}:{event}", known) or _same_event(event, known)
    hint = "did you mean " + ", ".join(near) + "?" if near else "available_events in tracefs lists all of them"
    return AttachError("HOOK002", clean(f"there is no tracepoint {category}:{event}"), errno=errno.ENOENT, hint=hint)


def _same_event(event: str, known: Iterable[str]) -> list[str]:
    from osmia.diagnostics.text import suggest

    full = {name.partition(":")[2]: name for name in known}
    return [full[name] for name in suggest(event, full)]
