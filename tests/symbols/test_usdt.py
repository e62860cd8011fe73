import struct
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from osmia.diagnostics import SymbolError
from osmia.symbols.elf import ElfSymbols
from osmia.symbols.image import EM_386, EM_AARCH64, EM_X86_64
from osmia.symbols.usdt import find_probe, list_probes, read_probes
from osmia.symbols.usdt_args import AARCH64_REGS, X86_64_REGS, parse_arguments

# A probe as sys/sdt.h writes it, without that header: a nop, a note, the base section, a semaphore.
PROBE = r"""
#define PROBE(provider, name, semaphore, args, ...) __asm__ __volatile__( \
    "990: nop\n" \
    ".pushsection .note.stapsdt,\"?\",\"note\"\n" \
    ".balign 4\n" \
    ".4byte 992f-991f, 994f-993f, 3\n" \
    "991: .asciz \"stapsdt\"\n" \
    "992: .balign 4\n" \
    "993: .8byte 990b\n" \
    ".8byte _.stapsdt.base\n" \
    ".8byte " semaphore "\n" \
    ".asciz \"" provider "\"\n" \
    ".asciz \"" name "\"\n" \
    ".asciz \"" args "\"\n" \
    "994: .balign 4\n" \
    ".popsection\n" \
    ".ifndef _.stapsdt.base\n" \
    ".pushsection .stapsdt.base,\"aG\",\"progbits\",.stapsdt.base,comdat\n" \
    ".weak _.stapsdt.base\n" \
    ".hidden _.stapsdt.base\n" \
    "_.stapsdt.base: .space 1\n" \
    ".size _.stapsdt.base, 1\n" \
    ".popsection\n" \
    ".endif\n" :: __VA_ARGS__)
"""
PROGRAM = (
    PROBE
    + r"""
unsigned short shop_sale_semaphore __attribute__((section(".probes"))) = 0;
int counter = 7;
__attribute__((noinline)) int sell(int amount, long customer) {
    PROBE("shop", "sale", "shop_sale_semaphore", "-4@%[a] -8@%[b] 4@$5", [a] "nor" (amount), [b] "nor" (customer));
    return amount;
}
__attribute__((noinline)) int restock(void) {
    PROBE("shop", "restock", "0", "-4@counter(%%rip)", "m" (counter));
    return counter;
}
int main(int argc, char **argv) {
    (void)argv;
    PROBE("shop", "sale", "shop_sale_semaphore", "-4@%[a] -8@$-3 4@$6", [a] "nor" (argc));
    PROBE("till", "open", "0", "");
    return sell(argc, 12) + restock();
}
"""
)

needs_x86 = pytest.mark.skipif(
    "x86_64" not in subprocess.run(["uname", "-m"], capture_output=True, text=True, check=False).stdout,
    reason="the test program is written for x86-64",
)


@pytest.fixture(scope="module", params=["-pie", "-no-pie"])
def shop(request, cc):
    return cc(PROGRAM, request.param, "-fPIE" if request.param == "-pie" else "-fno-pie")


@needs_x86
def test_probes_of_a_program(shop, run):
    probes = {f"{probe.provider}:{probe.name}": probe for probe in list_probes(shop)}
    assert sorted(probes) == ["shop:restock", "shop:sale", "till:open"]
    sale = probes["shop:sale"]
    assert len(sale.locations) == 2
    symbols = ElfSymbols.open(shop)
    inside = [symbols.lookup(location.address)[0] for location in sale.locations]
    assert inside == ["sell", "main"]
    semaphore = symbols.find("shop_sale_semaphore", objects=True)
    with open(shop, "rb") as file:
        for location in [*sale.locations, *probes["till:open"].locations]:
            file.seek(location.offset)
            assert file.read(1) == b"\x90"
    assert {location.semaphore for location in sale.locations} == {semaphore.address}
    assert {location.semaphore_offset for location in sale.locations} == {semaphore.offset}
    assert probes["till:open"].locations[0].semaphore_offset == 0
    assert probes["till:open"].locations[0].arguments() == []
    # readelf reads the same notes.
    listed = run("readelf", "-n", shop)
    for location in sale.locations:
        assert f"Location: {location.address:#018x}" in listed
        assert f"Arguments: {location.arguments_text}" in listed


@needs_x86
def test_arguments_of_a_program(shop):
    sell, main = find_probe(shop, "shop:sale").locations
    amount, customer, five = sell.arguments()
    assert (amount.size, amount.signed, customer.size, customer.signed) == (4, True, 8, True)
    assert (five.kind, five.value, five.signed) == ("constant", 5, False)
    assert [argument.value for argument in main.arguments()[1:]] == [-3, 6]
    (location,) = find_probe(shop, "restock").locations
    (counter,) = location.arguments()
    assert (counter.kind, counter.base) == ("memory", "rip")
    symbol = ElfSymbols.open(shop).find("counter", objects=True)
    for bias in (0, 0x5555_5555_4000):
        assert counter.address({"rip": location.address + bias}) == symbol.address + bias


@needs_x86
def test_patterns_and_missing_probes(shop):
    assert [probe.name for probe in list_probes(shop, "till:*")] == ["open"]
    assert [probe.name for probe in list_probes(shop, "s*")] == ["sale"]
    assert len(list_probes(shop, "shop:")) == 2
    assert list_probes(shop, "no:*") == []
    with pytest.raises(SymbolError) as caught:
        find_probe(shop, "shop:sail")
    assert caught.value.code == "SYM012" and "shop:sale" in caught.value.hint
    with pytest.raises(SymbolError) as caught:
        find_probe(shop, "xyzzy")
    assert caught.value.hint.startswith("it has shop:restock")


@needs_x86
def test_a_program_without_probes(cc):
    with pytest.raises(SymbolError) as caught:
        find_probe(cc("int main(void) { return 0; }"), "a:b")
    assert caught.value.code == "SYM012" and "no USDT probes" in caught.value.message


def note(address, base, semaphore, texts, *, size=None, wide="<QQQ"):
    body = struct.pack(wide, address, base, semaphore) + b"".join(text + b"\0" for text in texts)
    head = struct.pack("<III", 8, len(body) if size is None else size, 3) + b"stapsdt\0"
    return head + body + b"\0" * (-len(body) % 4)


def test_moved_sections_are_corrected_by_the_base(elf, tmp_path):
    notes = note(0x1100, 0x9000, 0x1200, [b"p", b"n", b""])
    path = elf.file(tmp_path / "made", notes=notes, sections=[(".stapsdt.base", 1, 2, 0x9100, b"\0")])
    (location,) = find_probe(path, "p:n").locations
    assert (location.address, location.semaphore) == (0x1200, 0x1300)


def test_32_bit_notes(elf, tmp_path):
    notes = note(0x1100, 0, 0, [b"p", b"n", b"4@%eax"], wide="<III")
    path = elf.file(tmp_path / "made", notes=notes, bits=32, machine=EM_386)
    (location,) = find_probe(path, "p:n").locations
    assert location.offset == 0x1100
    with pytest.raises(SymbolError) as caught:
        location.arguments()
    assert caught.value.code == "SYM014"


def test_the_same_name_of_two_providers_needs_the_provider(elf, tmp_path):
    notes = note(0x1100, 0, 0, [b"p", b"n", b""]) + note(0x1104, 0, 0, [b"q", b"n", b""])
    path = elf.file(tmp_path / "made", notes=notes)
    assert find_probe(path, "q:n").locations[0].offset == 0x1104
    with pytest.raises(SymbolError) as caught:
        find_probe(path, "n")
    assert caught.value.code == "SYM005"


@pytest.mark.parametrize(
    "notes",
    [
        note(0x1100, 0, 0, [b"p", b"n"]),
        note(0x1100, 0, 0, [b"p", b"n", b""], size=10),
        note(0x1100, 0, 0, [b"p", b"n", b""])[:-8],
        note(0x1100, 0, 0, [b"p", b"n", b""]) + b"\1\2\3\4",
        note(0x9100, 0, 0, [b"p", b"n", b""]),
        note(0x1100, 0, 0x9000, [b"p", b"n", b""]),
    ],
    ids=["no texts", "short", "cut off", "rest", "probe outside", "semaphore outside"],
)
def test_damaged_notes(elf, tmp_path, notes):
    with pytest.raises(SymbolError) as caught:
        read_probes(ElfSymbols.open(elf.file(tmp_path / "made", notes=notes)))
    assert caught.value.code in ("SYM003", "SYM013")


def test_notes_of_other_owners_are_skipped(elf, tmp_path):
    other = struct.pack("<III", 4, 4, 3) + b"GNU\0" + b"1234"
    path = elf.file(tmp_path / "made", notes=other + note(0x1100, 0, 0, [b"p", b"n", b""]))
    assert len(list_probes(path)) == 1


# Arguments

REGISTERS = {name: 0x1111_2222_3333_0000 + 0x101 * number for number, name in enumerate(X86_64_REGS)}
REGISTERS |= {"rax": 0xFFFF_FFFF_8000_9AFE, "rbx": 3, "rbp": 0x7FFF_0000, "rsp": 0x7FFE_0000, "rip": 0x1108}
MEMORY = {}


def read(address, size):
    return MEMORY[address].to_bytes(8, "little")[:size]


def value(text, machine=EM_X86_64, registers=REGISTERS, address=0x1108):
    (argument,) = parse_arguments(text, machine=machine, address=address)
    return argument.evaluate(registers, read)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("4@$5", 5),
        ("-4@$-5", -5),
        ("4@$-5", 0xFFFF_FFFB),
        ("8@$0x10", 16),
        ("-1@$255", -1),
        ("8@%rax", 0xFFFF_FFFF_8000_9AFE),
        ("-8@%rax", 0xFFFF_FFFF_8000_9AFE - (1 << 64)),
        ("4@%eax", 0x8000_9AFE),
        ("-4@%eax", 0x8000_9AFE - (1 << 32)),
        ("2@%ax", 0x9AFE),
        ("-2@%ax", 0x9AFE - 0x10000),
        ("1@%al", 0xFE),
        ("-1@%al", -2),
        ("1@%ah", 0x9A),
        ("-1@%ah", 0x9A - 0x100),
        ("8@%rbx", 3),
        ("%eax", 0x8000_9AFE),
        ("4@%rax", 0x8000_9AFE),
    ],
)
def test_x86_constants_and_registers(text, expected):
    assert value(text) == expected


def test_every_name_of_every_x86_register():
    for number in range(8, 16):
        full = REGISTERS[f"r{number}"]
        for suffix, bits in (("", 64), ("d", 32), ("w", 16), ("b", 8)):
            assert value(f"{bits // 8}@%r{number}{suffix}") == full & (1 << bits) - 1
    for short in ("si", "di", "bp", "sp"):
        full = REGISTERS[f"r{short}"]
        for name, bits in ((f"r{short}", 64), (f"e{short}", 32), (short, 16), (f"{short}l", 8)):
            assert value(f"{bits // 8}@%{name}") == full & (1 << bits) - 1
    for letter in "abcd":
        full = REGISTERS[f"r{letter}x"]
        assert value(f"1@%{letter}h") == full >> 8 & 0xFF


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("-4@-20(%rbp)", 0x7FFF_0000 - 20),
        ("-4@(%rbp)", 0x7FFF_0000),
        ("-4@0x10(%rsp)", 0x7FFE_0010),
        ("-4@8+4(%rsp)", 0x7FFE_000C),
        ("-4@-8+4(%rsp)", 0x7FFE_0000 - 4),
        ("-4@(%rsp,%rbx,8)", 0x7FFE_0000 + 24),
        ("-4@16(%rsp,%rbx,4)", 0x7FFE_0000 + 28),
        ("-4@(%rsp,%rbx)", 0x7FFE_0003),
        ("-4@0x7000(,%rbx,2)", 0x7006),
        ("-4@0x601040", 0x601040),
        ("-4@(%rsp, %rbx, 8)", 0x7FFE_0000 + 24),
    ],
)
def test_x86_memory(text, address):
    MEMORY.clear()
    MEMORY[address] = 0xDEAD_BEEF_FFFF_FFF6
    assert value(text) == -10
    assert value(text.replace("-4@", "8@", 1)) == 0xDEAD_BEEF_FFFF_FFF6
    assert value(text.replace("-4@", "1@", 1)) == 0xF6


ARM = {name: 0x1111_2222_3333_0000 + 0x101 * number for number, name in enumerate(AARCH64_REGS)}
ARM |= {"x0": 0xFFFF_FFFF_8000_0005, "x1": 0x1000, "x2": 0x0000_0001_FFFF_FFFF, "sp": 0x7000}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("8@x0", 0xFFFF_FFFF_8000_0005),
        ("4@w0", 0x8000_0005),
        ("-4@w0", 0x8000_0005 - (1 << 32)),
        ("-4@5", 5),
        ("-8@-5", -5),
        ("4@#7", 7),
        ("8@sp", 0x7000),
        ("8@xzr", 0),
        ("4@wzr", 0),
        ("2@x30", (0x1111_2222_3333_0000 + 0x101 * 30) & 0xFFFF),
    ],
)
def test_aarch64_constants_and_registers(text, expected):
    assert value(text, EM_AARCH64, ARM) == expected


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("-4@[sp]", 0x7000),
        ("-4@[sp, 12]", 0x700C),
        ("-4@[sp, #-16]", 0x6FF0),
        ("-4@[sp,0x10]", 0x7010),
        ("-4@[x1, sp]", None),
        ("-4@[sp, x1]", 0x8000),
        ("-4@[sp, x1, lsl #3]", 0x7000 + 0x8000),
        ("-4@[sp, x1, lsl 3]", 0x7000 + 0x8000),
        ("-4@[x1, w2, sxtw 2]", 0x1000 - 4),
        ("-4@[x1, w2, sxtw]", 0x1000 - 1),
        ("-4@[x1, w2, uxtw]", 0x1000 + 0xFFFF_FFFF),
        ("-4@[x1, xzr]", 0x1000),
    ],
)
def test_aarch64_memory(text, address):
    if address is None:
        with pytest.raises(SymbolError) as caught:
            value(text, EM_AARCH64, ARM)
        assert caught.value.code == "SYM014"
        return
    MEMORY.clear()
    MEMORY[address] = 0xFFFF_FFF6
    assert value(text, EM_AARCH64, ARM) == -10


def test_several_arguments():
    texts = "-4@%edi 8@(%rax,%rbx,8) 4@$1"
    assert [argument.text for argument in parse_arguments(texts, machine=EM_X86_64)] == texts.split()
    arm = "-4@w0 8@[sp, 16] 4@[x0, w1, sxtw 2] -8@3"
    kinds = [argument.kind for argument in parse_arguments(arm, machine=EM_AARCH64)]
    assert kinds == ["register", "memory", "memory", "constant"]
    assert parse_arguments("  ", machine=EM_X86_64) == []
    floating = parse_arguments("8f@(%rsp)", machine=EM_X86_64)[0]
    assert floating.floating and floating.kind == "memory"


@pytest.mark.parametrize(
    "text",
    [
        "8f@%xmm0",
        "4@%fs:40",
        "4@%fs:(%rax)",
        "3@%eax",
        "16@%rax",
        "0@%rax",
        "4@",
        "4@$",
        "4@$x+y",
        "4@$-x",
        "4@$08",
        "4@(%eax)",
        "4@(%rax,%rsp,8)",
        "4@(%rax,%rbx,3)",
        "4@4(%rip)",
        "4@0xab(%rip)",
        "4@(%rip)",
        "4@()",
        "4@(,%rbx",
        "4@foo@GOTPCREL(%rip)",
        "4@unknown(%rip)",
        "4@unknown",
        "garbage here",
        "-@%eax",
        "4@%%eax",
    ],
)
def test_x86_operands_that_are_refused(text):
    with pytest.raises(SymbolError) as caught:
        parse_arguments(text, machine=EM_X86_64, where="p:n")
    assert caught.value.code == "SYM014"
    assert "p:n" in caught.value.message


@pytest.mark.parametrize(
    "text",
    [
        "8@d0",
        "8@v0.2d",
        "4@[w0]",
        "4@[x0], 8",
        "4@[x0, 8]!",
        "4@[x0, w1]",
        "4@[x0, x1, sxtw]",
        "4@[x0, x1, lsl 9]",
        "4@x31",
        "4@[",
    ],
)
def test_aarch64_operands_that_are_refused(text):
    with pytest.raises(SymbolError) as caught:
        parse_arguments(text, machine=EM_AARCH64)
    assert caught.value.code == "SYM014"


def test_symbols_as_operands(elf, tmp_path):
    symbols = [("counter", 0x1500, 4, 1, 1, 1), ("twin", 0x1600, 4, 1, 0, 1), ("twin", 0x1700, 4, 1, 0, 1)]
    moved = ElfSymbols.open(elf.file(tmp_path / "pie", symbols))
    fixed = ElfSymbols.open(elf.file(tmp_path / "fixed", symbols, kind=2))

    def parse(text, binary, machine=EM_X86_64):
        return parse_arguments(text, machine=machine, address=0x1108, symbols=binary)[0]

    for binary in (moved, fixed):
        assert parse("4@counter(%rip)", binary).displacement == 0x1500 - 0x1108
        assert parse("4@counter+8(%rip)", binary).displacement == 0x1508 - 0x1108
        assert parse("4@counter-4(%rip)", binary).address({"rip": 0x1108}) == 0x14FC
        assert parse("4@counter", binary).address({"rip": 0x1108}) == 0x1500
        assert parse("4@[x0, #:lo12:counter]", binary, EM_AARCH64).displacement == 0x500
        with pytest.raises(SymbolError):
            parse("4@twin(%rip)", binary)
    assert parse("8@$counter", fixed).value == 0x1500
    assert parse("4@counter(,%rax,4)", fixed).address({"rax": 2}) == 0x1508
    for text in ("8@$counter", "4@counter(,%rax,4)"):
        with pytest.raises(SymbolError) as caught:
            parse(text, moved)
        assert caught.value.code == "SYM014"


@given(
    st.text(st.sampled_from("0148-@%$()[],#:+ raxebpdsizwcolnuGO_.f!"), max_size=24),
    st.sampled_from([EM_X86_64, EM_AARCH64]),
)
@settings(max_examples=500, deadline=None)
def test_any_text_is_read_or_refused(text, machine):
    try:
        arguments = parse_arguments(text, machine=machine)
    except SymbolError as error:
        assert error.code == "SYM014"
        return
    registers = dict.fromkeys(X86_64_REGS | AARCH64_REGS, 5)
    for argument in arguments:
        assert argument.kind in ("constant", "register", "memory")
        assert isinstance(argument.evaluate(registers, lambda _, size: bytes(size)), int)


def test_register_offsets_are_those_of_the_kernel_headers(cc):
    """Compile the kernel's own struct, and compare."""
    source = """
    #include <stdio.h>
    #include <stddef.h>
    #include <asm/ptrace.h>
    int main(void) {
    #ifdef __x86_64__
    #define P(n) printf(#n " %zu\\n", offsetof(struct pt_regs, n));
    P(r15) P(r14) P(r13) P(r12) P(rbp) P(rbx) P(r11) P(r10) P(r9) P(r8) P(rax) P(rcx) P(rdx) P(rsi) P(rdi) P(rip) P(rsp)
    #elif defined(__aarch64__)
    #define P(n) printf(#n " %zu\\n", offsetof(struct user_pt_regs, n));
    P(sp) P(pc)
    #endif
    return 0; }
    """
    printed = subprocess.run([cc(source)], capture_output=True, text=True, check=True).stdout.split()
    offsets = dict(zip(printed[::2], map(int, printed[1::2]), strict=True))
    table = X86_64_REGS if "rax" in offsets else AARCH64_REGS
    assert offsets
    for name, offset in offsets.items():
        assert table[name] == offset
