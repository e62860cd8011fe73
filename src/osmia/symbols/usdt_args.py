"""Where a USDT probe's arguments are: the assembler operands in its note.

Each argument is ``SIZE@OPERAND``: ``-4@$5``, ``8@%rax``, ``-4@-20(%rbp)``, ``8@counter(%rip)``,
``4@(%rax,%rbx,8)`` on x86-64; ``8@x0``, ``-4@[sp, 12]``, ``4@[x0, w1, sxtw 2]`` on aarch64. A negative
size means a signed number, ``f`` behind it a floating-point one. Compilers print operands as the
assembler takes them, so displacements can be sums (``8+4(%rsp)``) and names of symbols.
"""

from __future__ import annotations

import re

from osmia.diagnostics.errors import SymbolError
from osmia.symbols.image import EM_AARCH64, EM_X86_64

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from osmia.symbols.elf import ElfSymbols

CONSTANT, REGISTER, MEMORY = "constant", "register", "memory"
_U64 = (1 << 64) - 1

# Byte offsets in struct pt_regs (asm/ptrace.h), which a uprobe program gets as its context.
X86_64_REGS = {
    "r15": 0,
    "r14": 8,
    "r13": 16,
    "r12": 24,
    "rbp": 32,
    "rbx": 40,
    "r11": 48,
    "r10": 56,
    "r9": 64,
    "r8": 72,
    "rax": 80,
    "rcx": 88,
    "rdx": 96,
    "rsi": 104,
    "rdi": 112,
    "rip": 128,
    "rsp": 152,
}
AARCH64_REGS = {**{f"x{number}": 8 * number for number in range(31)}, "sp": 248, "pc": 256}

_LEGACY = {"a": "rax", "b": "rbx", "c": "rcx", "d": "rdx"}
_INDEXED = {"si": "rsi", "di": "rdi", "bp": "rbp", "sp": "rsp", "ip": "rip"}


def _x86_registers() -> dict[str, tuple[str, int, int]]:
    """Every name of every integer register: the full register, bits, and the lowest bit's position."""
    names: dict[str, tuple[str, int, int]] = {}
    for letter, full in _LEGACY.items():
        names[full] = (full, 64, 0)
        names[f"e{letter}x"] = (full, 32, 0)
        names[f"{letter}x"] = (full, 16, 0)
        names[f"{letter}l"] = (full, 8, 0)
        names[f"{letter}h"] = (full, 8, 8)
    for short, full in _INDEXED.items():
        names[full] = (full, 64, 0)
        names[f"e{short}"] = (full, 32, 0)
        names[short] = (full, 16, 0)
        if short != "ip":
            names[f"{short}l"] = (full, 8, 0)
    for number in range(8, 16):
        full = f"r{number}"
        names[full] = (full, 64, 0)
        names[f"{full}d"] = (full, 32, 0)
        names[f"{full}w"] = (full, 16, 0)
        names[f"{full}b"] = names[f"{full}l"] = (full, 8, 0)
    return names


_X86 = _x86_registers()
_ARGUMENT = re.compile(r"(?:(-?)(\d+)(f?)@)?(.*)", re.DOTALL)
_X86_MEMORY = re.compile(r"(?P<disp>[^()%]*)\((?P<base>%\w+)?(?:,(?P<index>%\w+)(?:,(?P<scale>[1248]))?)?\)")
_ARM_MEMORY = re.compile(
    r"\[(?P<base>\w+)(?:,#?(?P<disp>[^,\]]*?)|,(?P<index>[xw]\w+)(?:,(?P<extend>lsl|uxtw|sxtw|sxtx)(?:#?(?P<shift>\d+))?)?)?\]"
)
_TERM = re.compile(r"([+-]*)(0[xX][0-9a-fA-F]+|\d+|[A-Za-z_.$][\w.$@]*)")


class Argument:
    """One argument of a probe: its type, and where its value is.

    :ivar text: as the note has it.
    :ivar size: of the value, in bytes: 1, 2, 4 or 8.
    :ivar signed: whether the value is extended with its sign.
    :ivar floating: whether its bits are a floating-point number.
    :ivar kind: ``constant`` (``value``), ``register`` (``register``, ``width`` and ``shift`` in bits) or
        ``memory``: ``size`` bytes at ``base + index * scale + displacement``, where ``base`` or ``index`` may
        be ``None``. With ``rip`` (``pc``) as base the displacement counts from the probe's own address.
    :ivar index_width: 64, or 32 where the index is the low half of its register, extended with its sign if
        ``index_signed``.
    """

    __slots__ = (
        "base",
        "displacement",
        "floating",
        "index",
        "index_signed",
        "index_width",
        "kind",
        "register",
        "scale",
        "shift",
        "signed",
        "size",
        "text",
        "value",
        "width",
    )

    def __init__(self, text: str, kind: str, size: int, signed: bool, floating: bool) -> None:
        self.text = text
        self.kind = kind
        self.size = size
        self.signed = signed
        self.floating = floating
        self.value = 0
        self.register: str | None = None
        self.width = 64
        self.shift = 0
        self.base: str | None = None
        self.index: str | None = None
        self.index_width = 64
        self.index_signed = False
        self.scale = 1
        self.displacement = 0

    def __repr__(self) -> str:
        return f"Argument({self.text!r}, {self.kind})"

    def address(self, registers: Mapping[str, int]) -> int:
        """The address of an argument in memory, given the registers at the probe."""
        index = registers[self.index] if self.index is not None else 0
        if self.index_width == 32:
            index &= 0xFFFFFFFF
            if self.index_signed and index >> 31:
                index -= 1 << 32
        base = registers[self.base] if self.base is not None else 0
        return base + index * self.scale + self.displacement & _U64

    def evaluate(self, registers: Mapping[str, int], read: Callable[[int, int], bytes]) -> int:
        """The argument's value (of a floating-point one, its bits), given the registers and memory.

        This defines what compiled code must compute. ``read(address, size)`` gives bytes of memory.
        """
        if self.kind == CONSTANT:
            value = self.value
        elif self.kind == REGISTER:
            assert self.register is not None
            value = registers[self.register] >> self.shift & (1 << self.width) - 1
        else:
            value = int.from_bytes(read(self.address(registers), self.size), "little")
        bits = 8 * self.size
        value &= (1 << bits) - 1
        return value - (1 << bits) if self.signed and value >> bits - 1 else value


def parse_arguments(
    text: str, *, machine: int, where: str = "", address: int = 0, symbols: ElfSymbols | None = None
) -> list[Argument]:
    """The arguments of a note.

    :param machine: ``EM_X86_64`` or ``EM_AARCH64``.
    :param where: ``provider:name``, for messages.
    :param address: of the probe, from which operands relative to ``%rip`` count.
    :param symbols: the binary, for operands that name a symbol.
    :raises SymbolError: SYM014, an operand that is not understood.
    """
    if machine not in (EM_X86_64, EM_AARCH64):
        raise SymbolError(
            "SYM014",
            f"the arguments of {where or 'a probe'} are for a machine that is neither x86-64 nor aarch64",
            hint="the probe can be attached, but its arguments cannot be read",
        )
    reader = _Reader(machine, where, address, symbols)
    return [reader.argument(part) for part in _split(text, machine)]


def _split(text: str, machine: int) -> list[str]:
    if machine == EM_AARCH64:
        # Operands have spaces inside brackets; arguments are separated by spaces outside.
        return re.findall(r"(?:\[[^\]]*\]?|\S)+", text)
    # A compiler may put a space behind the commas of an operand.
    return re.sub(r",\s+", ",", text).split()


class _Reader:
    __slots__ = ("_address", "_machine", "_symbols", "_where")

    def __init__(self, machine: int, where: str, address: int, symbols: ElfSymbols | None) -> None:
        self._machine = machine
        self._where = where
        self._address = address
        self._symbols = symbols

    def argument(self, text: str) -> Argument:
        found = _ARGUMENT.fullmatch(text)
        assert found is not None
        sign, digits, floating, operand = found.groups()
        # The first version of sys/sdt.h wrote no sizes: then the operand's own width counts.
        size = int(digits) if digits else 0
        if digits and size not in (1, 2, 4, 8):
            raise self._unknown(text, f"a size of {digits} bytes")
        argument = Argument(text, CONSTANT, size, sign == "-", floating == "f")
        read = self._x86 if self._machine == EM_X86_64 else self._arm
        read(argument, re.sub(r"\s+", "", operand))
        if not argument.size:
            argument.size = argument.width // 8 if argument.kind == REGISTER else 8
        return argument

    def _unknown(self, text: str, what: str) -> SymbolError:
        probe = f" of {self._where}" if self._where else ""
        return SymbolError(
            "SYM014",
            f"the argument '{text}'{probe} cannot be read: {what}",
            hint="the probe can be attached, but not with this argument",
        )

    # x86-64, AT&T syntax

    def _x86(self, argument: Argument, operand: str) -> None:
        if operand.startswith("$"):
            argument.value = self._fixed(argument, operand[1:])
            return
        if operand.startswith("%"):
            if operand[1:] not in _X86:
                raise self._unknown(argument.text, f"'{operand}' is no integer register")
            argument.kind = REGISTER
            argument.register, argument.width, argument.shift = _X86[operand[1:]]
            return
        argument.kind = MEMORY
        if "(" not in operand and "%" not in operand:
            # An address by itself: counted from the probe, so that it is right in a moved program too.
            argument.base = "rip"
            argument.displacement = self._sum(argument.text, operand)[0] - self._address
            return
        found = _X86_MEMORY.fullmatch(operand)
        if found is None:
            raise self._unknown(argument.text, f"'{operand}' is no operand in memory that is known")
        argument.base = self._x86_address_register(argument, found["base"])
        argument.index = self._x86_address_register(argument, found["index"])
        if argument.index in ("rip", "rsp") or (argument.base == "rip" and argument.index is not None):
            raise self._unknown(argument.text, "these registers cannot be added up")
        argument.scale = int(found["scale"] or 1)
        displacement = found["disp"]
        if argument.base == "rip":
            # A name there stands for its place; a plain number is counted from the next instruction,
            # and where that is nobody knows.
            place, named = self._sum(argument.text, displacement or "0")
            if not named:
                raise self._unknown(argument.text, "a number relative to an unknown instruction")
            argument.displacement = place - self._address
        elif displacement:
            argument.displacement = self._fixed(argument, displacement)
        elif argument.base is None and argument.index is None:
            raise self._unknown(argument.text, "it has neither a register nor an address")

    def _fixed(self, argument: Argument, terms: str) -> int:
        """A sum that must not depend on where the program is loaded."""
        value, named = self._sum(argument.text, terms)
        if named and self._symbols is not None and self._symbols.pie:
            raise self._unknown(argument.text, "a symbol's address, in a program that the loader moves")
        return value

    def _x86_address_register(self, argument: Argument, name: str | None) -> str | None:
        if name is None:
            return None
        full, width, _ = _X86.get(name[1:], ("", 0, 0))
        if width != 64:
            raise self._unknown(argument.text, f"'{name}' is no 64-bit register")
        return full

    # aarch64

    def _arm(self, argument: Argument, operand: str) -> None:
        known = _arm_register(operand)
        if known is not None:
            name, argument.width = known
            if name == "zr":
                return
            argument.kind, argument.register = REGISTER, name
            return
        if not operand.startswith("["):
            if re.fullmatch(r"[bhsdqv]\d+(\..*)?", operand):
                raise self._unknown(argument.text, f"'{operand}' is a floating-point register")
            argument.value = self._fixed(argument, operand.removeprefix("#"))
            return
        found = _ARM_MEMORY.fullmatch(operand)
        base = _arm_register(found["base"]) if found is not None else None
        if found is None or base is None or base[1] != 64 or base[0] == "zr":
            raise self._unknown(argument.text, f"'{operand}' is no operand in memory that is known")
        argument.kind = MEMORY
        argument.base = base[0]
        index = _arm_register(found["index"] or found["disp"] or "")
        if index is not None:
            self._arm_index(argument, index, found["extend"], int(found["shift"] or 0))
        elif found["disp"]:
            # The base holds the symbol's page; loading a program moves it by whole pages.
            low = re.fullmatch(r":lo12:(.+)", found["disp"])
            terms = low[1] if low else found["disp"]
            value = self._sum(argument.text, terms)[0] if low else self._fixed(argument, terms)
            argument.displacement = value & 0xFFF if low else value

    def _arm_index(self, argument: Argument, index: tuple[str, int], extend: str | None, shift: int) -> None:
        name, width = index
        if (width == 32) != (extend in ("uxtw", "sxtw")) or shift > 4 or name == "sp":
            raise self._unknown(argument.text, "an index that is not extended as its width needs")
        if name == "zr":
            return
        argument.index = name
        argument.index_width = width
        argument.index_signed = extend == "sxtw"
        argument.scale = 1 << shift

    # Numbers and symbols

    def _sum(self, text: str, terms: str) -> tuple[int, bool]:
        """The value of ``4``, ``-0x10+8``, ``name+4``, and whether there is a name in it."""
        total, at, named = 0, 0, False
        while at < len(terms):
            found = _TERM.match(terms, at)
            if found is None or (at and not found[1]):
                raise self._unknown(text, f"'{terms}' is no number or symbol")
            factor = -1 if found[1].count("-") % 2 else 1
            word = found[2]
            if word[0].isdigit():
                total += factor * self._number(text, word)
            elif named or factor < 0:
                raise self._unknown(text, f"'{terms}' is no sum that has a meaning")
            else:
                total += self._symbol(text, word)
                named = True
            at = found.end()
        if not at:
            raise self._unknown(text, "a number is missing")
        return total, named

    def _number(self, text: str, word: str) -> int:
        base = 16 if word[:2] in ("0x", "0X") else 8 if word[0] == "0" else 10
        try:
            return int(word, base)
        except ValueError as error:
            raise self._unknown(text, f"'{word}' is no number") from error

    def _symbol(self, text: str, name: str) -> int:
        plain = name.partition("@")[0]
        if name != plain or self._symbols is None:
            raise self._unknown(text, f"the place of '{name}' is known to the loader only")
        for objects in (True, False):
            found = self._symbols.find_all(plain, objects=objects)
            if len({symbol.address for symbol in found}) == 1:
                return found[0].address
            if found:
                raise self._unknown(text, f"there are {len(found)} symbols '{plain}'")
        raise self._unknown(text, f"the binary's symbol tables have no '{plain}'; is it stripped?")


def _arm_register(name: str) -> tuple[str, int] | None:
    """The full register's name and the operand's width in bits; ``zr`` is the register that reads as zero."""
    if name in ("sp", "wsp"):
        return "sp", 64 if name == "sp" else 32
    if name in ("xzr", "wzr"):
        return "zr", 64 if name == "xzr" else 32
    if name in ("fp", "lr"):
        return ("x29" if name == "fp" else "x30"), 64
    found = re.fullmatch(r"([xw])(\d+)", name)
    if found is None or int(found[2]) > 30:
        return None
    return f"x{int(found[2])}", 64 if found[1] == "x" else 32
