"""Registers and calling conventions of the machines: where a probe finds arguments and results.

Made by hand from the System V psABI of x86-64, AAPCS64 of Arm and the kernel's system call entry code. Names and
offsets
are those of the struct that a kprobe or uprobe program gets: ``pt_regs`` on x86-64, ``user_pt_regs`` on arm64 (both
uapi,
fixed for good); a test compares the former with BTF.
"""

from __future__ import annotations

from osmia.abi._table import suggest

_X86_NAMES = (
    "r15", "r14", "r13", "r12", "bp", "bx", "r11", "r10", "r9", "r8", "ax", "cx", "dx", "si", "di", "orig_ax", "ip",
    "cs",
    "flags", "sp", "ss",
)  # fmt: skip


class Machine:
    """One machine.

    :ivar name: as ``uname -m`` prints it. :ivar struct: C type of a probe's context.
    :ivar size: its bytes. :ivar registers: byte offset of every register, all 8 bytes wide.
    :ivar args: registers of a C function's first integer arguments, in order; further ones are on the stack.
    :ivar result: register of a C function's integer result. :ivar ip: instruction pointer. :ivar sp: stack pointer.
    :ivar fp: frame pointer. :ivar return_address: register that holds it at a function's entry, ``""``: it is on top
        of the stack.
    :ivar stack_args: bytes from the stack pointer, at a function's entry, to the first argument on the stack.
    :ivar syscall_args: registers of a system call's arguments. :ivar syscall_number: register of its number.
    :ivar big_pages: page sizes other than 4096 are in use.
    :ivar syscall_prefix: what the kernel puts before ``sys_`` in the names of entry functions.
    """

    __slots__ = (
        "args", "big_pages", "fp", "ip", "name", "registers", "result", "return_address", "size", "sp", "stack_args",
        "struct",
        "syscall_args", "syscall_number", "syscall_prefix",
    )  # fmt: skip

    def __init__(
        self, name: str, struct: str, registers: dict[str, int], args: str, syscall_args: str, syscall_number: str,
        result: str, ip: str, sp: str, fp: str, return_address: str, stack_args: int, syscall_prefix: str,
        big_pages: bool,
    ) -> None:  # fmt: skip
        self.name = name
        self.struct = struct
        self.registers = registers
        self.size = 8 * len(registers)
        self.args = tuple(args.split())
        self.syscall_args = tuple(syscall_args.split())
        self.syscall_number = syscall_number
        self.result = result
        self.ip = ip
        self.sp = sp
        self.fp = fp
        self.return_address = return_address
        self.stack_args = stack_args
        self.syscall_prefix = syscall_prefix
        self.big_pages = big_pages

    def offset(self, register: str) -> int:
        """Byte offset of a register in the probe's context.

        :raises UsageError: ABI008 for a register that the machine does not have.
        """
        found = self.registers.get(register)
        if found is None:
            from osmia.diagnostics import UsageError

            raise UsageError(
                "ABI008", f"{self.name} has no register {register!r}", hint=suggest(register, self.registers)
            )
        return found

    def __repr__(self) -> str:
        return f"Machine({self.name!r})"


def _x86_64() -> Machine:
    registers = {name: 8 * index for index, name in enumerate(_X86_NAMES)}
    return Machine(
        "x86_64", "struct pt_regs", registers, "di si dx cx r8 r9", "di si dx r10 r8 r9", "orig_ax", "ax", "ip", "sp",
        "bp", "", 8, "__x64_", False,
    )  # fmt: skip


def _aarch64() -> Machine:
    registers = {f"x{index}": 8 * index for index in range(31)}
    registers |= {"sp": 31 * 8, "pc": 32 * 8, "pstate": 33 * 8}
    return Machine(
        "aarch64", "struct user_pt_regs", registers, "x0 x1 x2 x3 x4 x5 x6 x7", "x0 x1 x2 x3 x4 x5", "x8", "x0", "pc",
        "sp",
        "x29", "x30", 0, "__arm64_", True,
    )  # fmt: skip


_MAKERS = {"x86_64": _x86_64, "aarch64": _aarch64}
_ALIASES = {"amd64": "x86_64", "x86": "x86_64", "arm64": "aarch64"}
_MADE: dict[str, Machine] = {}


def machine(name: str = "") -> Machine:
    """The machine of that name (``x86_64``, ``aarch64``); of this computer when no name is given.

    :raises UsageError: ABI012 when there is no table for it.
    """
    if not name:
        import os

        name = os.uname().machine
    name = _ALIASES.get(name, name)
    made = _MADE.get(name)
    if made is None:
        maker = _MAKERS.get(name)
        if maker is None:
            from osmia.diagnostics import UsageError

            raise UsageError(
                "ABI012", f"no tables for the machine {name!r}", hint="there are some for x86_64 and aarch64"
            )
        made = _MADE[name] = maker()
    return made
