"""The table against others: the running kernel's verifier, LLVM's disassembler, LLVM's BPF back end."""

from __future__ import annotations

import ctypes
import io
import os
import platform
import random
import re
import shutil
import struct
import subprocess

import pytest

from osmia.isa import generate
from osmia.isa.assembler import assemble
from osmia.isa.check import check_instruction
from osmia.isa.disassembler import format_instruction
from osmia.isa.instruction import Instruction, InstructionError, encode_program
from osmia.isa.table import BY_NAME, TABLE, Row

EXIT = Instruction(0x95)
ZERO = [Instruction(0xB7, number) for number in range(10)]
# Not printed by the verifier: it needs a real map, BTF id or array, or does not know the instruction at all.
UNPRINTED = {row.name for row in TABLE if row.kind == "wide" and row.name != "load_imm64"} | {
    "gotox", "callx", "call_kfunc", "call_module_kfunc", "exit", "call_local",
}  # fmt: skip
REFUSED_AS_MALFORMED = re.compile(
    r"reserved|unknown opcode|BPF_\w+ uses|invalid BPF_|R1\d is invalid|frame pointer is read only|invalid bpf_ld_imm64"
    r"|unrecognized bpf_ld|invalid atomic|unknown insn|incorrect|invalid may_goto"
)


def load(program: list[Instruction]) -> tuple[bool, str]:
    """Ask the kernel to load a socket filter: whether it did, and the verifier's log. The program is closed at once."""
    number = {"x86_64": 321, "aarch64": 280}.get(platform.machine())
    if number is None:
        pytest.skip("the number of bpf(2) is not known here")
    data = encode_program(program)
    code = ctypes.create_string_buffer(data, len(data))
    log = ctypes.create_string_buffer(1 << 16)
    gpl = ctypes.create_string_buffer(b"GPL")
    attributes = struct.pack(
        "<IIQQIIQ", 1, len(data) // 8, ctypes.addressof(code), ctypes.addressof(gpl), 3, len(log), ctypes.addressof(log)
    ).ljust(128, b"\0")
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.syscall(number, 5, ctypes.create_string_buffer(attributes, 128), 128)
    if descriptor >= 0:
        os.close(descriptor)
    return descriptor >= 0, log.value.decode()


@pytest.mark.kernel
def test_the_verifier_prints_what_we_print() -> None:
    choose = random.Random(20240229).randint
    compared = 0
    for row in TABLE:
        if row.name in UNPRINTED or (row.kernel or (99, 0)) > kernel_version():
            continue
        insn = generate.instruction(row, choose)
        _, log = load([Instruction(0xB7), insn, Instruction(0xB7), EXIT])
        printed = re.search(r"^1: \([0-9a-f]{2}\) (.*?)\s*(?:;.*)?$", log, re.MULTILINE)
        assert printed is not None, (row.name, log)
        assert format_instruction(insn, style="kernel") == printed[1].strip(), row.name
        compared += 1
    assert compared > 140


@pytest.mark.kernel
def test_the_verifier_prints_local_calls_so() -> None:
    _, log = load([Instruction(0xB7), Instruction(0x85, 0, 1, 0, 1), EXIT, Instruction(0xB7), EXIT])
    assert "(85) call pc+1" in log
    assert format_instruction(Instruction(0x85, 0, 1, 0, 1)) == "call pc+1"


@pytest.mark.kernel
def test_what_we_refuse_the_kernel_refuses_and_the_other_way_round() -> None:
    """Instructions with one field changed: the kernel's judgement of the encoding is ours."""
    chooser = random.Random(9669)
    refused = accepted = 0
    for _ in range(600):
        insn = changed(chooser)
        try:
            row: Row | None = check_instruction(insn)
        except InstructionError:
            row = None
        if row is not None and (row.name in UNPRINTED or row.kind in ("goto", "jump")):
            continue
        if row is not None and (row.kernel or (99, 0)) > kernel_version():
            continue
        loaded, log = load([*ZERO, insn, Instruction(0xB7), EXIT])
        if row is None:
            refused += 1
            assert not loaded, (insn, log)
        else:
            accepted += 1
            assert not REFUSED_AS_MALFORMED.search(log), (insn, log)
    assert refused > 100
    assert accepted > 100


def changed(chooser: random.Random) -> Instruction:
    insn = generate.instruction(chooser.choice(TABLE), chooser.randint)
    field = chooser.choice(["dst", "src", "off", "imm", "opcode", "none"])
    values = {
        "dst": range(16),
        "src": range(16),
        "off": (0, 1, 2, 3, 8, 16, 32, 64, -1),
        "imm": (0, 1, 2, 16, 32, 64, 0x10000, 0x10001, 0xE1, 0xF1, 0x100, 0x101, 0x110, -1),
        "opcode": range(256),
        "none": (0,),
    }[field]
    if field != "none":
        setattr(insn, field, chooser.choice(values))
    if insn.slots == 1:
        insn.high = 0
    return insn


def kernel_version() -> tuple[int, int]:
    major, minor = re.findall(r"\d+", platform.release())[:2]
    return int(major), int(minor)


LLVM_MC = shutil.which("llvm-mc-14")
# Instructions that LLVM 14 does not print or prints without a field.
LLVM_14_LACKS = ("mod", "jset", "may_goto", "cast", "load_ind", "callx", "store8_imm", "store16_imm", "store32_imm",
                 "store64_imm")  # fmt: skip


@pytest.mark.skipif(LLVM_MC is None, reason="no llvm-mc-14")
def test_llvm_reads_our_bytes_as_our_text() -> None:
    choose = random.Random(14).randint
    rows = [
        row
        for row in TABLE
        if row.cpu < 4 and row.kind not in ("wide", "call") and not row.name.startswith(LLVM_14_LACKS)
    ]
    insns = [generate.instruction(row, choose) for row in [*rows, BY_NAME["load_imm64"], BY_NAME["call_helper"]]]
    words = " ".join(f"0x{byte:02x}" for byte in encode_program(insns))
    finished = subprocess.run(
        [str(LLVM_MC), "--disassemble", "-triple=bpfel", "-mattr=+alu32"],
        input=words, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    lines = [line.strip() for line in finished.stdout.splitlines() if line.strip() and ".text" not in line]
    assert len(lines) == len(insns) > 110
    different = []
    for insn, line in zip(insns, lines, strict=True):
        assert assemble(line, check=False) == [insn]
        if line != format_instruction(insn):
            different.append(line)
    # LLVM prints narrow loads and stores with w registers and wide loads in decimal; everything else is the same.
    assert all(re.search(r"w\d+ = \*\(u|\*\(u\d+ \*\).* = w|ll$", line) for line in different)


IR = """
target triple = "bpfel"
define i64 @f(i64 %a, i64 %b, ptr %p, ptr %q) {
entry:
  %d = sdiv i64 %a, %b                              ; 4
  %m = srem i64 %d, 7                               ; 4
  %d = udiv i64 %a, %b                              ; -
  %m = urem i64 %d, 7                               ; -
  %t8 = trunc i64 %a to i8
  %s8 = sext i8 %t8 to i64
  %t16 = trunc i64 %b to i16
  %s16 = sext i16 %t16 to i32
  %x = call i64 @llvm.bswap.i64(i64 %m)
  %y = call i32 @llvm.bswap.i32(i32 %s16)
  store i32 %y, ptr %q
  %o1 = atomicrmw add ptr %p, i64 %x seq_cst        ; 3
  %o2 = atomicrmw xchg ptr %p, i64 %o1 seq_cst      ; 3
  %c = cmpxchg ptr %q, i64 %o2, i64 %s8 seq_cst seq_cst ; 3
  %cv = extractvalue {i64, i1} %c, 0                ; 3
  %o3 = atomicrmw and ptr %q, i32 %y seq_cst        ; 3
  %o4 = atomicrmw or ptr %q, i32 5 monotonic        ; 3
  store volatile i32 %o3, ptr %q                    ; 3
  %la = load atomic i32, ptr %q acquire, align 4    ; 4
  store atomic i16 %t16, ptr %p release, align 2    ; 4
  store volatile i32 %la, ptr %q                    ; 4
  %l = load i8, ptr %p
  %ls = sext i8 %l to i64
  %z = ashr i64 %x, 5
  %cond = icmp sgt i64 %z, %ls
  br i1 %cond, label %yes, label %no
yes:
  %w = urem i32 %y, %s16
  store volatile i32 %w, ptr %q
  store volatile i64 17, ptr %p
  %narrow = icmp ult i32 %w, 77
  br i1 %narrow, label %no, label %last
last:
  %called = call i64 inttoptr (i64 5 to ptr)(i64 %z)
  br label %no
no:
  %r = phi i64 [ %m, %entry ], [ 81985529216486895, %yes ], [ %called, %last ]
  %r2 = mul i64 %r, %z
  %r3 = sub i64 0, %r2
  ret i64 %r3
}
declare i64 @llvm.bswap.i64(i64)
declare i32 @llvm.bswap.i32(i32)
"""


@pytest.mark.parametrize("cpu", [1, 2, 3, 4])
def test_the_text_of_the_back_end_assembles_to_its_object(cpu: int) -> None:
    llvm = pytest.importorskip("llvmlite.binding")
    elffile = pytest.importorskip("elftools.elf.elffile")
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()

    def wanted(line: str) -> bool:
        mark = line.rpartition(";")[2].strip()
        return cpu < 4 if mark == "-" else not mark.isdigit() or int(mark) <= cpu

    source = "\n".join(line for line in IR.splitlines() if wanted(line))
    machine = llvm.Target.from_triple("bpfel").create_target_machine(cpu=f"v{cpu}", opt=2)
    text = machine.emit_assembly(llvm.parse_assembly(source))
    section = elffile.ELFFile(io.BytesIO(machine.emit_object(llvm.parse_assembly(source)))).get_section_by_name(".text")
    lines = [line for line in text.splitlines() if not re.match(r"\s*\.", line) and "-- " not in line]
    program = assemble("\n".join(lines))
    assert encode_program(program) == section.data()
    assert max(check_instruction(insn).cpu for insn in program) <= cpu
    assert len(program) >= 25
