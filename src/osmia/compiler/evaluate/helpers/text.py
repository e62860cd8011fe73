"""Helpers that compare, parse and format text."""

from __future__ import annotations

import errno
import re

from osmia.compiler.evaluate.faults import bad_argument
from osmia.compiler.evaluate.helpers.registry import helper
from osmia.compiler.evaluate.memory import ORDER, Pointer
from osmia.compiler.evaluate.printf import Argument, format_message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from osmia.compiler.evaluate.frame import Run

_E2BIG_LENGTH = 96


@helper("strncmp", args="ptr u32 ptr")
def strncmp(run: Run, text: Pointer, size: int, constant: Pointer) -> int:
    """Below 0, 0 or above 0, as C's ``strncmp``."""
    a = run.read(text, size)
    region = constant.region
    if region is None or region.dead:
        raise bad_argument("strncmp wants a constant string as third argument")
    b = bytes(region.data[constant.offset :]).partition(b"\0")[0] + b"\0"
    for index in range(size):
        left, right = a[index], b[index] if index < len(b) else 0
        if left != right:
            return -1 if left < right else 1
        if not left:
            break
    return 0


def _parse(run: Run, text: Pointer, size: int, flags: int) -> tuple[bool, int, int] | int:
    """Whether there is a minus, the number without it, how many bytes both took; or -errno."""
    base = flags & 0x1F
    if base not in (0, 8, 10, 16) or flags & ~0x1F or not size:
        return -errno.EINVAL
    data = run.read(text, size).partition(b"\0")[0]
    at = len(data) - len(data.lstrip(b" \t\n\v\f\r"))
    negative = data[at : at + 1] == b"-"
    at += negative
    if base == 0 and data[at : at + 1] == b"0":
        base = 16 if re.compile(rb"0[xX][0-9a-fA-F]").match(data, at) else 8
    elif base == 0:
        base = 10
    if base == 16 and data[at : at + 2].lower() == b"0x":
        at += 2
    digits = {8: rb"[0-7]*", 10: rb"[0-9]*", 16: rb"[0-9a-fA-F]*"}[base]
    found = re.compile(digits).match(data, at)
    if found is None or not found[0]:
        return -errno.EINVAL
    number = int(found[0], base)
    if number >> 64:
        return -errno.ERANGE
    return negative, number, found.end()


@helper("strtol", args="ptr u64 u64 ptr")
def strtol(run: Run, text: Pointer, size: int, flags: int, target: Pointer) -> int:
    """How many bytes the number took, or -errno."""
    found = _parse(run, text, size, flags)
    if isinstance(found, int):
        run.write(target, bytes(8))
        return found
    negative, number, taken = found
    number = -number if negative else number
    if not -(1 << 63) <= number < 1 << 63:
        run.write(target, bytes(8))
        return -errno.ERANGE
    run.write(target, number.to_bytes(8, ORDER, signed=True))
    return taken


@helper("strtoul", args="ptr u64 u64 ptr")
def strtoul(run: Run, text: Pointer, size: int, flags: int, target: Pointer) -> int:
    """How many bytes the number took, or -errno."""
    found = _parse(run, text, size, flags)
    if isinstance(found, int):
        run.write(target, bytes(8))
        return found
    negative, number, taken = found
    if negative:
        run.write(target, bytes(8))
        return -errno.EINVAL
    run.write(target, number.to_bytes(8, ORDER))
    return taken


def _array(run: Run, place: Pointer, size: int) -> list[Argument] | None:
    if size % 8 or size > _E2BIG_LENGTH:
        return None
    data = run.read(place, size) if size else b""
    return [int.from_bytes(data[at : at + 8], ORDER) for at in range(0, size, 8)]


def _format(run: Run, place: Pointer, size: int) -> bytes | None:
    """A format that must end with its NUL."""
    data = run.read(place, size)
    return data.partition(b"\0")[0] if data[-1:] == b"\0" else None


def _message(run: Run, format: bytes | None, values: list[Argument] | None) -> bytes | None:
    return None if format is None or values is None else format_message(run, format, values, exact=False)


@helper("trace_printk", args="ptr u32 u64 u64 u64", optional=3)
def trace_printk(run: Run, format: Pointer, size: int, *values: int) -> int:
    """Bytes of the message, or -errno."""
    found = _message(run, _format(run, format, size), list(values))
    if found is None:
        return -errno.EINVAL
    run.say(found)
    return len(found)


@helper("trace_vprintk", args="ptr u32 ptr u32")
def trace_vprintk(run: Run, format: Pointer, size: int, data: Pointer, length: int) -> int:
    """Bytes of the message, or -errno."""
    found = _message(run, _format(run, format, size), _array(run, data, length))
    if found is None:
        return -errno.EINVAL
    run.say(found)
    return len(found)


@helper("snprintf", args="ptr u32 ptr ptr u32")
def snprintf(run: Run, target: Pointer, size: int, format: Pointer, data: Pointer, length: int) -> int:
    """Bytes that the whole text takes with its NUL, or -errno."""
    region = format.region
    if region is None or region.dead:
        raise bad_argument("snprintf wants a constant string as format")
    text = bytes(region.data[format.offset :]).partition(b"\0")[0]
    found = _message(run, text, _array(run, data, length))
    if found is None:
        return -errno.EINVAL
    run.room(target, size)
    if size:
        run.write(target, (found[: size - 1] + b"\0"))
    return len(found) + 1


@helper("seq_printf", args="ptr ptr u32 ptr u32")
def seq_printf(run: Run, seq: Pointer, format: Pointer, size: int, data: Pointer, length: int) -> int:
    """0 or -errno; the text goes to the result's output."""
    found = _message(run, _format(run, format, size), _array(run, data, length))
    if found is None:
        return -errno.EINVAL
    run.output += found
    return 0


@helper("seq_write", args="ptr ptr u32")
def seq_write(run: Run, seq: Pointer, data: Pointer, size: int) -> int:
    """0; the bytes go to the result's output."""
    run.output += run.read(data, size)
    return 0
