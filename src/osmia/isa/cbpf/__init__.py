"""Classic BPF: the machine of 1992 that packet sockets and seccomp still take, and its translation to eBPF."""

from __future__ import annotations

from osmia.isa.cbpf.check import check
from osmia.isa.cbpf.interpreter import Packet, run, run_seccomp
from osmia.isa.cbpf.program import (
    ANCILLARIES,
    CLASSIC_TABLE,
    ClassicInstruction,
    ClassicRow,
    decode,
    encode,
    format_numbers,
    parse_numbers,
)
from osmia.isa.cbpf.text import assemble, disassemble
from osmia.isa.cbpf.translate import translate

__all__ = [
    "ANCILLARIES",
    "CLASSIC_TABLE",
    "ClassicInstruction",
    "ClassicRow",
    "Packet",
    "assemble",
    "check",
    "decode",
    "disassemble",
    "encode",
    "format_numbers",
    "parse_numbers",
    "run",
    "run_seccomp",
    "translate",
]
