"""How values look: one row per display format, and the columns made from them.

A column turns a field's Python value into text for a table, and into plain data for JSON and CSV. Formats that
give a number another unit keep the raw number in JSON; formats that give it a name (an address, a signal, a system
call) use the name there too.
"""

from __future__ import annotations

from osmia.diagnostics import UsageError
from osmia.object.layout import Array, Bool, Bytes, Char, Enum, Int, Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from osmia.object.layout import Layout

_TCP_STATES = (
    "", "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT", "CLOSE", "CLOSE_WAIT",
    "LAST_ACK", "LISTEN", "CLOSING", "NEW_SYN_RECV",
)  # fmt: skip


class Column:
    """One column of a table.

    :ivar name: the field's name, the key in JSON. :ivar header: the table's heading. :ivar width: least width in
        characters.
    :ivar right: aligned to the right. :ivar text: value -> str. :ivar plain: value -> JSON value.
    :ivar layout: the field's layout, ``None`` where nothing is known but the values.
    :ivar display: the display format's name, "" for none.
    """

    __slots__ = ("display", "header", "layout", "name", "plain", "right", "text", "width")

    def __init__(
        self,
        name: str,
        header: str,
        width: int,
        right: bool,
        text: Callable[[Any], str],
        plain: Callable[[Any], Any],
        layout: Layout | None = None,
        display: str = "",
    ) -> None:
        self.name = name
        self.header = header
        self.width = max(width, len(header))
        self.right = right
        self.text = text
        self.plain = plain
        self.layout = layout
        self.display = display


def unchanged(value: Any) -> Any:
    """The plain form of values that are plain already."""
    return value


def _hex(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else f"{value:#x}"


def _size(value: Any) -> str:
    number = float(value)
    for unit in ("", "K", "M", "G", "T"):
        if abs(number) < 1024 or unit == "T":
            return f"{number:.0f}{unit}" if not unit else f"{number:.1f}{unit}"
        number /= 1024
    return str(value)


def _ip(value: Any) -> str:
    """An address in network byte order: a 32-bit field is IPv4, 16 bytes are IPv6 (or IPv4-mapped)."""
    import socket
    import sys

    if isinstance(value, int):
        return socket.inet_ntop(socket.AF_INET, value.to_bytes(4, sys.byteorder))
    raw = bytes(value)
    if len(raw) == 4:
        return socket.inet_ntop(socket.AF_INET, raw)
    if raw[:12] == bytes(10) + b"\xff\xff":
        return socket.inet_ntop(socket.AF_INET, raw[12:])
    if not any(raw[4:]):
        return socket.inet_ntop(socket.AF_INET, raw[:4])
    return socket.inet_ntop(socket.AF_INET6, raw)


def _syscall(value: Any) -> str:
    from osmia.abi.syscalls import name_of

    return name_of(value) or f"syscall_{value}"


def _errno(value: Any) -> str:
    import errno

    return errno.errorcode.get(-value, str(value)) if value < 0 else "0"


def _signal(value: Any) -> str:
    import signal

    try:
        return signal.Signals(value).name
    except ValueError:
        return str(value)


def _dev(value: Any) -> str:
    return f"{value >> 20}:{value & 0xFFFFF}"


def _wall(value: Any) -> str:
    """A CLOCK_MONOTONIC time in ns as local wall-clock time."""
    import time

    offset = time.time_ns() - time.monotonic_ns()
    seconds, rest = divmod(value + offset, 1_000_000_000)
    return f"{time.strftime('%H:%M:%S', time.localtime(seconds))}.{rest // 1_000_000:03d}"


def _tcp_state(value: Any) -> str:
    return _TCP_STATES[value] if 0 < value < len(_TCP_STATES) else str(value)


def _argv(value: Any) -> str:
    """NUL-separated arguments as a shell would take them; an unfinished last one ends in an ellipsis."""
    import shlex

    raw = bytes(value)
    whole = raw.endswith(b"\0")
    words = raw.rstrip(b"\0").split(b"\0")
    text = " ".join(shlex.quote(word.decode("utf-8", "backslashreplace")) for word in words)
    return text if whole else text + "..."


_ETHER_TYPES = {0x0800: "IPv4", 0x0806: "ARP", 0x86DD: "IPv6", 0x8100: "VLAN", 0x88CC: "LLDP"}
_IP_PROTOCOLS = {1: "ICMP", 2: "IGMP", 6: "TCP", 17: "UDP", 47: "GRE", 50: "ESP", 58: "ICMPv6", 132: "SCTP"}


def _ether_type(value: Any) -> str:
    return _ETHER_TYPES.get(value, f"{value:#06x}")


def _ip_protocol(value: Any) -> str:
    return _IP_PROTOCOLS.get(value, str(value) if value else "-")


def _mac(value: Any) -> str:
    return bytes(value).hex(":")


# name: (text, whether JSON gets the text too, heading's unit, width)
FORMATS: dict[str, tuple[Callable[[Any], str], bool, str, int]] = {
    "hex": (_hex, True, "", 10),
    "octal": (lambda value: f"{value:#o}", False, "", 6),
    "us": (lambda value: f"{value / 1_000:.1f}", False, "us", 10),
    "ms": (lambda value: f"{value / 1_000_000:.3f}", False, "ms", 10),
    "s": (lambda value: f"{value / 1_000_000_000:.6f}", False, "s", 12),
    "size": (_size, False, "", 8),
    "ip": (_ip, True, "", 15),
    "mac": (_mac, True, "", 17),
    "syscall": (_syscall, True, "", 16),
    "errno": (_errno, True, "", 8),
    "signal": (_signal, True, "", 9),
    "dev": (_dev, True, "", 7),
    "time": (_wall, True, "", 12),
    "tcp_state": (_tcp_state, True, "", 12),
    "argv": (_argv, True, "", 8),
    "ether_type": (_ether_type, True, "", 6),
    "ip_protocol": (_ip_protocol, True, "", 8),
}
"""The display formats. ``us``, ``ms`` and ``s`` take nanoseconds. A column shown as ``hidden`` is left out."""


def _default(layout: Layout) -> tuple[Callable[[Any], str], Callable[[Any], Any], int, bool]:
    """Text, plain, width and alignment for a layout without a display format."""
    if isinstance(layout, Bool):
        return (lambda value: "yes" if value else "no"), unchanged, 3, False
    if isinstance(layout, Int):
        return str, unchanged, {8: 4, 16: 6, 32: 7, 64: 12}[layout.bits], True
    if isinstance(layout, Enum):
        name_of = layout.name_of

        def enum_text(value: Any) -> str:
            return name_of(value) or str(value)

        return enum_text, enum_text, max((len(name) for name, _ in layout.members), default=8), False
    if isinstance(layout, Char):
        return str, unchanged, min(layout.size, 16), False
    if isinstance(layout, Bytes):
        return (lambda value: value.hex()), (lambda value: value.hex()), min(layout.size * 2, 32), False
    if isinstance(layout, Array):
        text, plain, _, _ = _default(layout.element)
        return (
            (lambda value: "[" + ", ".join(text(item) for item in value) + "]"),
            (lambda value: [plain(item) for item in value]),
            12,
            False,
        )
    if isinstance(layout, Struct):
        return _struct_text(layout), _struct_plain(layout), 16, False
    raise UsageError("RUN010", f"no way to show a value of {layout}")


def _struct_values(layout: Struct, value: Any) -> list[Any]:
    if isinstance(value, tuple):
        return list(value)
    return [getattr(value, field.name) for field in layout.fields]


def _struct_text(layout: Struct) -> Callable[[Any], str]:
    parts = [(field.name, _default(field.type)[0]) for field in layout.fields]
    positional = all(field.name.lstrip("_").isdigit() for field in layout.fields)

    def text(value: Any) -> str:
        values = _struct_values(layout, value)
        if positional:
            return ", ".join(render(item) for (_, render), item in zip(parts, values, strict=True))
        return " ".join(f"{name}={render(item)}" for (name, render), item in zip(parts, values, strict=True))

    return text


def _struct_plain(layout: Struct) -> Callable[[Any], Any]:
    parts = [(field.name, _default(field.type)[1]) for field in layout.fields]

    def plain(value: Any) -> Any:
        values = _struct_values(layout, value)
        return {name: render(item) for (name, render), item in zip(parts, values, strict=True)}

    return plain


def column(name: str, layout: Layout, display: str = "", header: str = "") -> Column:
    """The column of a field: its layout and display format decide how it looks.

    :raises UsageError: RUN011 when the display format does not exist.
    """
    if not display:
        text, plain, width, right = _default(layout)
        return Column(name, header or name.upper(), width, right, text, plain, layout)
    row = FORMATS.get(display)
    if row is None:
        from osmia.diagnostics.text import suggest

        near = suggest(display, FORMATS)
        raise UsageError(
            "RUN011",
            f"no display format {display!r} for column {name!r}",
            hint=f"did you mean {', '.join(near)}?" if near else f"the formats are {', '.join(FORMATS)}",
        )
    text, named, unit, width = row
    title = name
    if unit:
        title = f"{name.removesuffix('_ns')}({unit})"
    right = isinstance(layout, (Int, Enum)) and not named
    return Column(name, header or title.upper(), width, right, text, text if named else unchanged, layout, display)
