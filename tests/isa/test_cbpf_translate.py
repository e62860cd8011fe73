"""Classic programs translated to eBPF do what the classic machine does: in an evaluator, and in the kernel."""

from __future__ import annotations

import ctypes
import json
import os
import platform
import random
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from osmia.diagnostics import IsaError
from osmia.isa.cbpf import ClassicInstruction, Packet, assemble, check, run, run_seccomp, translate
from osmia.isa.cbpf.program import ANCILLARY_OFFSET, CLASSIC_TABLE
from osmia.isa.check import check_instruction, check_program
from osmia.isa.disassembler import disassemble
from osmia.isa.effects import requirements
from osmia.isa.instruction import Instruction, InstructionError, decode_program, encode_program

SUITE = Path(os.environ.get("OSMIA_CONFORMANCE") or Path(__file__).parents[3] / "shared" / "conformance") / "isa"
M32, M64 = (1 << 32) - 1, (1 << 64) - 1
STACK, DATA = 0x1000_0000, 0x2000_0000


def signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> bits - 1 else value


class Evaluator:
    """Runs eBPF over the table's rows: no atomics, no local calls, the two helpers that translations use."""

    def __init__(self, data: bytes, packet: Packet | None = None, helpers: dict[int, int] | None = None) -> None:
        self.memory = {STACK: bytearray(512), DATA: bytearray(data)}
        self.packet = packet
        self.helpers = helpers or {}
        self.registers: list[int | None] = [None] * 11
        self.registers[1], self.registers[2], self.registers[10] = DATA, len(data), STACK + 512

    def value(self, number: int) -> int:
        value = self.registers[number]
        assert value is not None, f"r{number} is read and has no value"
        return value

    def place(self, address: int, size: int) -> tuple[bytearray, int]:
        for base, region in self.memory.items():
            if base <= address and address + size <= base + len(region):
                return region, address - base
        raise AssertionError(f"access of {size} bytes at {address:#x}")

    def run(self, program: list[Instruction]) -> int:
        code: list[Instruction | None] = []
        for insn in program:
            code += [insn] + [None] * (insn.slots - 1)
        pc = 0
        for _ in range(200_000):
            insn = code[pc]
            assert insn is not None
            pc += insn.slots
            row = check_instruction(insn)
            if row.kind == "exit":
                return self.value(0)
            if row.kind == "goto":
                pc += insn.off if row.off == "jump" else insn.imm
            elif row.kind == "jump":
                pc += insn.off if self.condition(insn) else 0
            elif row.kind == "packet":
                assert self.packet is not None
                assert self.value(6) == DATA
                index = insn.imm + (self.value(insn.src) if row.src else 0)
                loaded = self.packet.load(index & M32, row.size)
                if loaded is None:
                    return 0
                self.registers[:6] = [loaded, None, None, None, None, None]
            elif row.kind == "call":
                self.registers[:6] = [self.helpers[insn.imm], None, None, None, None, None]
            else:
                self.straight(insn)
        raise AssertionError("the program does not end")

    def straight(self, insn: Instruction) -> None:
        row = check_instruction(insn)
        if row.kind == "load":
            region, at = self.place(self.value(insn.src) + insn.off, row.size)
            loaded = int.from_bytes(region[at : at + row.size], "little", signed=row.signed)
            self.registers[insn.dst] = loaded & M64
        elif row.kind == "store":
            region, at = self.place(self.value(insn.dst) + insn.off, row.size)
            stored = insn.imm if row.src == 0 else self.value(insn.src)
            region[at : at + row.size] = (stored & (1 << row.size * 8) - 1).to_bytes(row.size, "little")
        elif row.kind == "wide":
            self.registers[insn.dst] = insn.imm64
        elif row.kind == "swap":
            low = self.value(insn.dst) & (1 << row.width) - 1
            swap = row.operation != "le"
            self.registers[insn.dst] = int.from_bytes(low.to_bytes(row.width // 8, "little"), "big") if swap else low
        else:
            self.registers[insn.dst] = self.compute(insn)

    def compute(self, insn: Instruction) -> int:
        row = check_instruction(insn)
        width = row.width
        mask = (1 << width) - 1
        b = (insn.imm if row.src == 0 else self.value(insn.src)) & mask
        if row.operation == "mov":
            return b
        if row.operation == "movsx":
            return signed(b, int(row.off)) & mask
        a = self.value(insn.dst) & mask
        shift = b & (width - 1)
        sa, sb = signed(a, width), signed(b, width)
        table = {
            "add": lambda: a + b,
            "sub": lambda: a - b,
            "mul": lambda: a * b,
            "or": lambda: a | b,
            "and": lambda: a & b,
            "xor": lambda: a ^ b,
            "neg": lambda: -a,
            "lsh": lambda: a << shift,
            "rsh": lambda: a >> shift,
            "arsh": lambda: sa >> shift,
            "div": lambda: a // b if b else 0,
            "mod": lambda: a % b if b else a,
            "sdiv": lambda: (abs(sa) // abs(sb)) * (1 if (sa < 0) == (sb < 0) else -1) if b else 0,
            "smod": lambda: (abs(sa) % abs(sb)) * (-1 if sa < 0 else 1) if b else sa,
        }
        return table[row.operation]() & mask

    def condition(self, insn: Instruction) -> bool:
        row = check_instruction(insn)
        mask = (1 << row.width) - 1
        a = self.value(insn.dst) & mask
        b = (insn.imm if row.src == 0 else self.value(insn.src)) & mask
        sa, sb = signed(a, row.width), signed(b, row.width)
        return {
            "jeq": a == b, "jne": a != b, "jgt": a > b, "jge": a >= b, "jlt": a < b, "jle": a <= b, "jset": bool(a & b),
            "jsgt": sa > sb, "jsge": sa >= sb, "jslt": sa < sb, "jsle": sa <= sb,
        }[row.operation]  # fmt: skip


@pytest.mark.skipif(not SUITE.is_dir(), reason="no conformance suite (OSMIA_CONFORMANCE)")
def test_the_evaluator_itself_agrees_with_the_suite() -> None:
    """The oracle of this file is right: it passes all vectors without atomics and calls."""
    agreed = 0
    for vector in json.loads((SUITE / "vectors.json").read_text()):
        program = decode_program(bytes.fromhex(vector["insns"]))
        if any(check_instruction(insn).kind in ("atomic", "call") for insn in program):
            continue
        result = Evaluator(bytes.fromhex(vector["mem"])).run(program)
        assert result == int(vector["expect"], 16), vector["name"]
        agreed += 1
    assert agreed > 250


SKB_FIELDS = {"type": 4, "mark": 8, "queue": 12, "vlan_avail": 20, "vlan_tci": 24, "ifidx": 40, "rxhash": 68}
REFUSED = {"nla", "nlan", "hatype", "poff"}


def sk_buff(packet: Packet) -> bytes:
    """A ``struct __sk_buff`` as the kernel shows it to filters, on a little-endian machine."""
    context = bytearray(192)

    def put(offset: int, value: int) -> None:
        context[offset : offset + 4] = value.to_bytes(4, "little")

    put(0, packet.length)
    for name, offset in SKB_FIELDS.items():
        put(offset, packet.ancillary.get(name, 0))
    for name, offset in (("proto", 16), ("vlan_tpid", 28)):
        put(offset, int.from_bytes(packet.ancillary.get(name, 0).to_bytes(2, "big"), "little"))
    return bytes(context)


def in_skb(program: list[ClassicInstruction], packet: Packet) -> int:
    translated = translate(program)
    check_program(translated)
    helpers = {7: packet.ancillary.get("rand", 0) | 5 << 32, 8: packet.ancillary.get("cpu", 0)}
    return Evaluator(sk_buff(packet), packet, helpers).run(translated)


FACTS = {
    "proto": 0x0800, "type": 3, "ifidx": 17, "mark": 0xDEADBEEF, "queue": 4, "rxhash": 0x12345678, "cpu": 3,
    "vlan_tci": 0x123, "vlan_avail": 1, "rand": 0xCAFEBABE, "vlan_tpid": 0x8100,
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(FACTS))
def test_facts_come_from_the_context(name: str) -> None:
    program = assemble(f"ld #{name}\nret a")
    packet = Packet(b"abcd", ancillary=FACTS)
    assert in_skb(program, packet) == run(program, packet) == FACTS[name]


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_facts_that_only_the_kernel_has_are_refused_by_name(name: str) -> None:
    with pytest.raises(InstructionError) as info:
        translate(assemble(f"ld #len\nld #{name}\nret a"))
    assert info.value.code == "ISA064"
    assert info.value.index == 1
    assert "SKF_AD_" in info.value.message


def test_the_translation_reads_well() -> None:
    program = assemble("ldh [12]\njeq #0x800, yes, no\nyes: ret #-1\nno: ret #0")
    assert disassemble(translate(program)).splitlines() == [
        "r6 = r1",
        "w0 = 0",
        "w7 = 0",
        "r0 = *(u16 *)skb[12]",
        "if r0 != 2048 goto +2",
        "w0 = -1",
        "exit",
        "w0 = 0",
        "exit",
    ]
    assert requirements(translate(program)).cpu == 1


def test_unreachable_instructions_are_left_out() -> None:
    program = assemble("ja end\nld #1\nst M[0]\nend: ret #7\nret #8")
    translated = translate(program)
    assert disassemble(translated).splitlines()[3:] == ["goto +0", "w0 = 7", "exit"]
    program = assemble("ld [-2147483648]\nldx #1\nret #1")
    assert disassemble(translate(program, "buffer")).splitlines()[-2:] == ["w0 = 0", "exit"]
    check_program(translate(program, "buffer"))


def test_header_areas_and_facts_do_not_exist_in_a_buffer() -> None:
    for text in ("ldb [-2097146]", "ldb [-1048574]", "ldxb 4*([-1048574]&0xf)", "ld #mark", "ld #rand"):
        with pytest.raises(InstructionError) as info:
            translate(assemble(text + "\nret a"), "buffer")
        assert info.value.code == "ISA064"
        assert "buffer" in info.value.message


def test_what_is_no_classic_program_is_not_translated() -> None:
    with pytest.raises(InstructionError) as info:
        translate(assemble("ld #1"))
    assert info.value.code == "ISA054"
    with pytest.raises(InstructionError) as info:
        translate(assemble("ldh [0]\nret a"), "seccomp")
    assert info.value.code == "ISA060"


def test_a_translation_beyond_the_reach_of_jumps_is_refused() -> None:
    loads = [ClassicInstruction(0x40, 0, 0, 0)] * 4090
    program = [ClassicInstruction(0x15, 0, 1, 5), ClassicInstruction(0x05, 0, 0, 4090), *loads]
    program.append(ClassicInstruction(0x16))
    check(program)
    with pytest.raises(InstructionError) as info:
        translate(program, "buffer")
    assert info.value.code == "ISA065"
    check_program(translate(program, "skb"))


def arbitrary(chooser: random.Random, length: int, allowed: str = "") -> list[ClassicInstruction]:
    """An acceptable program that mostly loads within a packet of 64 bytes and runs for a while."""
    rows = [row for row in CLASSIC_TABLE if row.kind != "ret" and (row.seccomp or allowed != "seccomp")]
    facts = [row for row in range(0, 64, 4) if row not in (12, 16, 28, 52)]
    program = [ClassicInstruction(0x00, 0, 0, chooser.randrange(1 << 32))]
    program += [ClassicInstruction(0x02, 0, 0, slot) for slot in range(16)]
    start = len(program)
    for position in range(length):
        row = chooser.choice(rows)
        room = length - position - 1
        insn = ClassicInstruction(row.code)
        number = chooser.choice([0, 1, 2, 31, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, chooser.randrange(1 << 32)])
        if row.kind == "goto":
            insn.k = chooser.randrange(min(room, 4) + 1)
        elif row.kind == "jump":
            insn.jt, insn.jf = chooser.randrange(min(room, 4) + 1), chooser.randrange(min(room, 4) + 1)
            insn.k = number
        elif row.operand == "mem":
            insn.k = chooser.randrange(16)
        elif row.operand in ("abs", "msh", "ind"):
            insn.k = chooser.choice([0, 4, 12, 20, 30, 40, 60, chooser.randrange(70), number & 0x8000FFFF])
            if allowed == "seccomp":
                insn.k = insn.k % 64 & ~3
            elif allowed == "skb" and row.operand == "abs" and chooser.random() < 0.3:
                insn.k = ANCILLARY_OFFSET + chooser.choice(facts)
        elif row.mnemonic in ("lsh", "rsh"):
            insn.k = number % 32
        elif row.operand == "imm":
            insn.k = number or 1
        program.append(insn)
    program += [ClassicInstruction(0x16)]
    # Small indexes, so that indexed loads also succeed.
    if chooser.random() < 0.5:
        program.insert(start, ClassicInstruction(0x01, 0, 0, chooser.randrange(40)))
    return program


PACKETS = st.binary(max_size=80)


@settings(max_examples=300, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(0, 25), PACKETS)
def test_random_filters_over_socket_buffers(chooser: random.Random, length: int, frame: bytes) -> None:
    program = arbitrary(chooser, length, "skb")
    packet = Packet(frame, ancillary=FACTS)
    assert in_skb(program, packet) == run(program, packet)


@settings(max_examples=300, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(0, 25), PACKETS)
def test_random_filters_over_buffers(chooser: random.Random, length: int, frame: bytes) -> None:
    program = arbitrary(chooser, length)
    try:
        translated = translate(program, "buffer")
    except IsaError as error:
        assert error.code == "ISA064"
        return
    check_program(translated)
    assert Evaluator(frame).run(translated) == run(program, frame)


@pytest.mark.parametrize("offset", [0, 32766, 32767, 32768, 0x7FFFFFF0, 0x7FFFFFFE, 0x7FFFFFFF])
@pytest.mark.parametrize("load", ["ld", "ldh", "ldb"])
def test_far_offsets_in_buffers(offset: int, load: str) -> None:
    program = assemble(f"{load} [{offset}]\nst M[0]\nldxb 4*([{offset}]&0xf)\nld M[0]\nadd x\nret a")
    frame = random.Random(offset).randbytes(40000)
    translated = translate(program, "buffer")
    check_program(translated)
    assert Evaluator(frame).run(translated) == run(program, frame)
    assert Evaluator(frame[:32768]).run(translated) == run(program, frame[:32768])


@settings(max_examples=150, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(0, 25), st.binary(min_size=64, max_size=64))
def test_random_seccomp_filters(chooser: random.Random, length: int, data: bytes) -> None:
    program = arbitrary(chooser, length, "seccomp")
    assert Evaluator(data).run(translate(program, "seccomp")) == run_seccomp(program, data)


class Kernel:
    """Loads socket filters and runs them by ``BPF_PROG_TEST_RUN``."""

    def __init__(self) -> None:
        number = {"x86_64": 321, "aarch64": 280}.get(platform.machine())
        if number is None:
            pytest.skip("the number of bpf(2) is not known here")
        self.number = number
        self.libc = ctypes.CDLL(None, use_errno=True)

    def call(self, command: int, attributes: bytes) -> tuple[int, bytes]:
        buffer = ctypes.create_string_buffer(attributes.ljust(128, b"\0"), 128)
        return self.libc.syscall(self.number, command, buffer, 128), buffer.raw

    def run(self, program: list[Instruction], frame: bytes) -> int:
        data = encode_program(program)
        code = ctypes.create_string_buffer(data, len(data))
        log = ctypes.create_string_buffer(1 << 20)
        gpl = ctypes.create_string_buffer(b"GPL")
        descriptor, _ = self.call(
            5,
            struct.pack(
                "<IIQQIIQ", 1, len(data) // 8, ctypes.addressof(code), ctypes.addressof(gpl), 1, len(log),
                ctypes.addressof(log),
            ),
        )  # fmt: skip
        assert descriptor >= 0, log.value.decode()[-2000:]
        try:
            packet = ctypes.create_string_buffer(frame, len(frame))
            status, raw = self.call(10, struct.pack("<IIIIQ", descriptor, 0, len(frame), 0, ctypes.addressof(packet)))
            assert status == 0, os.strerror(ctypes.get_errno())
            return int(struct.unpack_from("<I", raw, 4)[0])
        finally:
            os.close(descriptor)


@pytest.mark.kernel
def test_the_kernel_runs_translations_as_the_classic_machine() -> None:
    """The verifier accepts them, and they return what the interpreter says."""
    kernel = Kernel()
    chooser = random.Random(1992)
    returned = set()
    for _ in range(150):
        program = arbitrary(chooser, chooser.randrange(25))
        frame = bytes(12) + b"\x88\xb5" + chooser.randbytes(chooser.randrange(46, 90))
        # The kernel strips the Ethernet header, which stays in memory as the link layer.
        packet = Packet(frame, start=14, link=0, network=14)
        expected = run(program, packet)
        assert kernel.run(translate(program), frame) == expected, disassemble(translate(program))
        returned.add(expected)
    assert len(returned) > 30


@pytest.mark.kernel
def test_the_kernel_gives_facts_and_header_areas() -> None:
    kernel = Kernel()
    frame = bytes(range(12)) + b"\x88\xb5" + bytes(range(64))
    packet = Packet(frame, start=14, link=0, network=14, ancillary={"proto": 0x88B5})
    for text in ("ld #proto", "ldb [-2097147]", "ldh [-1048570]", "ld #vlan_avail", "ld #mark", "ld #len"):
        program = assemble(text + "\nret a")
        assert kernel.run(translate(program), frame) == run(program, packet), text
    cpu = kernel.run(translate(assemble("ld #cpu\nret a")), frame)
    assert cpu < (os.cpu_count() or 1)
    rand = {kernel.run(translate(assemble("ld #rand\nret a")), frame) for _ in range(8)}
    assert len(rand) > 1
