from __future__ import annotations

import random

import pytest

from osmia.isa import generate
from osmia.isa.assembler import assemble
from osmia.isa.effects import effects, requirements
from osmia.isa.table import BY_NAME, TABLE


@pytest.mark.parametrize(
    ("text", "reads", "writes", "clobbers"),
    [
        ("r1 = 5", "", "1", ""),
        ("r1 = r2", "2", "1", ""),
        ("w1 = (s8)w2", "2", "1", ""),
        ("r1 += r2", "12", "1", ""),
        ("r1 = -r1", "1", "1", ""),
        ("r1 = be16 r1", "1", "1", ""),
        ("r1 = 5 ll", "", "1", ""),
        ("r1 = *(u8 *)(r2 + 0)", "2", "1", ""),
        ("*(u8 *)(r2 + 0) = r3", "23", "", ""),
        ("*(u8 *)(r2 + 0) = 3", "2", "", ""),
        ("lock *(u64 *)(r2 + 0) += r3", "23", "", ""),
        ("r3 = atomic_fetch_add((u64 *)(r2 + 0), r3)", "23", "3", ""),
        ("r3 = xchg_64(r2 + 0, r3)", "23", "3", ""),
        ("r0 = cmpxchg_64(r2 + 0, r0, r3)", "023", "0", ""),
        ("r3 = load_acquire((u64 *)(r2 + 0))", "2", "3", ""),
        ("store_release((u64 *)(r2 + 0), r3)", "23", "", ""),
        ("if r4 > 5 goto +0", "4", "", ""),
        ("if r4 > r5 goto +0", "45", "", ""),
        ("goto +0", "", "", ""),
        ("call 5", "12345", "0", "12345"),
        ("callx r7", "123457", "0", "12345"),
        ("r0 = *(u8 *)skb[3]", "6", "0", "12345"),
        ("r0 = *(u8 *)skb[r8 + 3]", "68", "0", "12345"),
        ("exit", "0", "", ""),
    ],
)
def test_registers(text: str, reads: str, writes: str, clobbers: str) -> None:
    [insn] = assemble(text, check=False)
    found = effects(insn)
    assert found.reads == {int(digit) for digit in reads}
    assert found.writes == {int(digit) for digit in writes}
    assert found.clobbers == {int(digit) for digit in clobbers}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("r1 = *(u16 *)(r2 - 4)", "r 2 bytes at r2-4"),
        ("*(u64 *)(r10 - 8) = 1", "w 8 bytes at r10-8"),
        ("lock *(u32 *)(r3 + 4) += r1", "rw 4 bytes at r3+4"),
        ("r1 = load_acquire((u8 *)(r2 + 0))", "r 1 bytes at r2+0"),
        ("store_release((u8 *)(r2 + 0), r1)", "w 1 bytes at r2+0"),
        ("r1 = r2", "None"),
        ("r0 = *(u8 *)skb[0]", "None"),
    ],
)
def test_memory(text: str, expected: str) -> None:
    [insn] = assemble(text, check=False)
    assert expected in repr(effects(insn).memory)


def test_every_row_has_effects_and_requirements() -> None:
    choose = random.Random(1).randint
    for row in TABLE:
        insn = generate.instruction(row, choose)
        found = effects(insn)
        assert found.reads | found.writes <= set(range(11))
        assert not found.clobbers & found.writes
        assert (found.memory is not None) == (row.off == "memory"), row.name
        assert requirements([insn]).cpu == row.cpu or row.high == "fd" or row.off == "fd"


def test_requirements_name_what_asks_for_them() -> None:
    need = requirements(assemble("r0 = 0\nif w0 == 0 goto +0\nr0 s/= 3\nr1 = 1\nexit"))
    assert (need.cpu, need.kernel) == (4, (6, 6))
    assert need.cpu_row is BY_NAME["sdiv64_imm"]
    assert need.kernel_row is BY_NAME["sdiv64_imm"]
    assert need.groups == {"base32", "base64", "divmul64"}
    plain = requirements(assemble("r0 = 0\nexit"))
    assert (plain.cpu, plain.kernel, plain.cpu_row) == (1, (3, 18), None)


def test_what_no_kernel_takes_has_no_kernel_version() -> None:
    need = requirements(assemble("callx r1\nr0 s/= 3\nexit"))
    assert need.kernel is None
    assert need.kernel_row is BY_NAME["callx"]


def test_extensions_are_listed_by_name() -> None:
    need = requirements(assemble("may_goto +0\nr1 = load_acquire((u64 *)(r2 + 0))\nexit"))
    assert need.extensions == {"may_goto", "load_acquire64"}
    assert need.kernel == (6, 15)
