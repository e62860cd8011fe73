"""Formats of ``trace_printk``, ``snprintf`` and ``seq_printf``, as the kernel's ``bpf_bprintf_prepare`` takes them."""

from __future__ import annotations

import ipaddress
import re

from osmia.compiler.evaluate.memory import Pointer
from osmia.compiler.evaluate.values import signed, word

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from osmia.compiler.evaluate.frame import Run

_PIECE = re.compile(rb"%(?:(%)|([0+\- ]*)([1-9][0-9]*)?(p[KkuxsSBiI]?[46s]?|s|c|ll?[diuxX]|[diuxX]))")
_TEXT = 512
_WIDEST = 1 << 15
Argument = Pointer | int


def format_message(run: Run, text: bytes, values: Sequence[Argument], exact: bool = True) -> bytes | None:
    """The message, None where the kernel would answer ``-EINVAL``.

    Values are the 64 bits of each argument, or the pointer itself. More values than the format asks for are refused too
    when ``exact``.
    """
    if any(byte > 126 or (byte < 32 and byte not in b"\t\n\v\f\r") for byte in text):
        return None
    out = bytearray()
    rest = list(values)
    at = 0
    while at < len(text):
        percent = text.find(b"%", at)
        if percent < 0:
            out += text[at:]
            break
        out += text[at:percent]
        piece = _PIECE.match(text, percent)
        if piece is None or (piece[4] == b"p" and text[piece.end() : piece.end() + 1].isalnum()):
            return None
        at = piece.end()
        if piece[1]:
            out += b"%"
            continue
        if not rest:
            return None
        shown = _shown(run, piece[4], piece[2], rest.pop(0))
        if shown is None:
            return None
        width = int(piece[3]) if piece[3] and len(piece[3]) < 9 else _WIDEST if piece[3] else 0
        out += _padded(shown, piece[2], min(width, _WIDEST), piece[4])
    return None if rest and exact else bytes(out)


def _padded(shown: bytes, flags: bytes, width: int, kind: bytes) -> bytes:
    if b"-" in flags:
        return shown.ljust(width)
    if b"0" in flags and kind[-1:] in b"diuxX":
        sign = shown[:1] if shown[:1] in (b"-", b"+", b" ") else b""
        return sign + shown[len(sign) :].rjust(width - len(sign), b"0")
    return shown.rjust(width)


def _shown(run: Run, kind: bytes, flags: bytes, value: Argument) -> bytes | None:
    number = word(value)
    last = kind[-1:]
    if kind == b"c":
        return bytes([number & 0xFF])
    if kind == b"s" or kind in (b"pks", b"pus"):
        pointer = value if isinstance(value, Pointer) else Pointer(None, number)
        found = run.probe_text(pointer, _TEXT - 1, kind == b"pus")
        return found if found is not None else b""
    if kind[:1] == b"p":
        return _pointer(run, kind, value)
    bits = 32 if not kind.startswith(b"l") else 64
    if last in b"di":
        whole = signed(number, bits)
        plus = b"+" if b"+" in flags else b" " if b" " in flags else b""
        return (plus if whole >= 0 else b"") + str(whole).encode()
    number &= (1 << bits) - 1
    return (b"%x" if last == b"x" else b"%X" if last == b"X" else b"%d") % number


def _pointer(run: Run, kind: bytes, value: Argument) -> bytes | None:
    if kind in (b"pi4", b"pI4", b"pi6", b"pI6"):
        pointer = value if isinstance(value, Pointer) else Pointer(None, word(value))
        size = 4 if kind[2:] == b"4" else 16
        data = run.probe(pointer, size, False)
        data = data if data is not None else bytes(size)
        if size == 4:
            return b".".join(b"%03d" % byte if kind[1:2] == b"i" else b"%d" % byte for byte in data)
        if kind[1:2] == b"i":
            return data.hex().encode()
        return str(ipaddress.IPv6Address(data)).encode()
    if kind not in (b"p", b"px", b"pK", b"ps", b"pS", b"pB"):
        return None
    return b"%016x" % word(value)
