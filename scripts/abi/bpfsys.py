"""The bpf(2) system call for the generators: loading throw-away programs, nothing else.

The library has its own, complete one in ``osmia.kernel``; these scripts must run when the tables that it
stands on do not exist yet, so they bring the few lines that they need.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct

BPF_MAP_CREATE = 0
BPF_PROG_LOAD = 5
_NUMBERS = {"x86_64": 321, "aarch64": 280}
_LIBC = ctypes.CDLL(None, use_errno=True)


def bpf(command: int, attr: bytes | bytearray) -> int:
    """One system call; returns its result or ``-errno``."""
    buffer = ctypes.create_string_buffer(bytes(attr), len(attr))
    result: int = _LIBC.syscall(_NUMBERS[platform.machine()], command, buffer, len(attr))
    return result if result >= 0 else -ctypes.get_errno()


def insn(code: int, dst: int = 0, src: int = 0, off: int = 0, imm: int = 0) -> bytes:
    """One instruction."""
    return struct.pack("<BBhi", code, src << 4 | dst, off, imm)


EXIT = insn(0x95)


def call(helper: int) -> bytes:
    """``call helper``."""
    return insn(0x85, imm=helper)


def map_create(kind: int, key: int, value: int, entries: int, flags: int = 0) -> int:
    """A map's descriptor or ``-errno``."""
    attr = struct.pack("<IIIII", kind, key, value, entries, flags).ljust(72, b"\0")
    return bpf(BPF_MAP_CREATE, attr)


def prog_load(
    prog_type: int,
    code: bytes,
    *,
    licence: str = "GPL",
    flags: int = 0,
    expected: int = 0,
    btf_id: int = 0,
    target_fd: int = 0,
    level: int = 1,
) -> tuple[int, str]:
    """Load a program and close it again; returns 0 or ``-errno`` and the verifier's words."""
    log = ctypes.create_string_buffer(1 << 16)
    text = ctypes.create_string_buffer(code, len(code))
    name = ctypes.create_string_buffer(licence.encode() + b"\0")
    attr = struct.pack(
        "<IIQQIIQII16sIIIIQIIQIIQQII",
        prog_type, len(code) // 8, ctypes.addressof(text), ctypes.addressof(name), level, len(log),
        ctypes.addressof(log), 0, flags, b"osmia_probe", 0, expected, 0, 0, 0, 0, 0, 0, 0, btf_id, target_fd, 0, 0, 0,
    )  # fmt: skip
    for _ in range(5):
        result = bpf(BPF_PROG_LOAD, attr)
        if result != -errno.EAGAIN:
            break
    if result >= 0:
        os.close(result)
        result = 0
    return result, log.value.decode("utf-8", "replace")
