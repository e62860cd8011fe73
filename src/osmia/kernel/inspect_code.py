"""The code of loaded programs: instructions after verification, machine code, functions and source lines."""

from __future__ import annotations

from struct import pack_into, unpack_from

from osmia.kernel import refusals, syscall
from osmia.kernel.inspect_objects import PROG_INFO_SIZE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from osmia.btf.reader import Btf
    from osmia.object.spec import LineInfo

_CALL, _HELPER_CALL, _LOCAL_CALL, _KFUNC_CALL = 0x85, 0, 1, 2


def read_xlated(fd: int) -> bytes:
    """The instructions of a program's descriptor as the verifier left them; empty where the kernel hides them.

    :raises LoadError: KRN033 when it is no program.
    """
    return _block(fd, 20, 32)


def read_jited(fd: int) -> bytes:
    """The machine code of all functions, one after the other; empty where there is none or the kernel hides it."""
    return _block(fd, 16, 24)


def read_jited_symbols(fd: int) -> list[tuple[int, int]]:
    """Address and size of the machine code of each function, the entry first; addresses are 0 where they are hidden."""
    lengths = _numbers(fd, 108, 120, "I", 4)
    addresses = _numbers(fd, 104, 112, "Q", 8)
    return [(addresses[index] if index < len(addresses) else 0, length) for index, length in enumerate(lengths)]


def read_functions(fd: int, types: Btf | None) -> list[tuple[int, str]]:
    """(First slot, name) of each function, by the program's BTF; empty without."""
    from osmia.kernel.debug_info import functions

    return [] if types is None else [(slot, types.name_of(type_id)) for slot, type_id in functions(fd)]


def read_lines(fd: int, types: Btf | None) -> list[LineInfo]:
    """The source lines of a program's verified instructions, by its BTF; empty without."""
    from osmia.kernel.debug_info import lines
    from osmia.object.spec import LineInfo

    if types is None:
        return []
    return [
        LineInfo(slot, types.string(file, True), types.string(text, True), line, column)
        for slot, file, text, line, column in lines(fd)
    ]


def called(insns: bytes) -> Iterator[tuple[int, str]]:
    """(Slot, name) of each call of a helper function in verified instructions.

    The verifier replaces a helper's number by its distance from ``__bpf_call_base``. Nothing comes out where the kernel
    hides its addresses.
    """
    from osmia.diagnostics.errors import SymbolError
    from osmia.symbols.kernel import KernelSymbols

    symbols = KernelSymbols()
    base = 0
    for slot in range(len(insns) // 8):
        code, registers, _, distance = unpack_from("=BBhi", insns, slot * 8)
        if code != _CALL or registers >> 4 not in (_HELPER_CALL, _KFUNC_CALL) or not distance:
            continue
        try:
            base = base or symbols.address("__bpf_call_base", "")
        except SymbolError:
            return
        name, offset, _ = symbols.lookup(base + distance & (1 << 64) - 1)
        if not offset and name:
            yield slot, name


def _number(fd: int, offset: int) -> int:
    """A number of the program's record."""
    data = bytearray(PROG_INFO_SIZE)
    try:
        syscall.object_info(fd, data)
    except OSError as error:
        raise refusals.unexpected(f"descriptor {fd} is no program", error) from None
    value: int = unpack_from("=I", data, offset)[0]
    return value


def _block(fd: int, length_at: int, pointer_at: int) -> bytes:
    size = _number(fd, length_at)
    if not size:
        return b""
    data, room = _fill(fd, length_at, size, pointer_at, size)
    # The kernel clears the pointer for those who may not see the code.
    return bytes(room) if unpack_from("=Q", data, pointer_at)[0] else b""


def _numbers(fd: int, count_at: int, pointer_at: int, form: str, size: int) -> tuple[int, ...]:
    """An array of numbers of the program's record; zeros where the kernel hides them."""
    count = _number(fd, count_at)
    return unpack_from(f"={count}{form}", _fill(fd, count_at, count, pointer_at, size * count)[1]) if count else ()


def _fill(fd: int, count_at: int, count: int, pointer_at: int, room_size: int) -> tuple[bytearray, bytearray]:
    room = bytearray(room_size)
    data = bytearray(PROG_INFO_SIZE)
    pack_into("=I", data, count_at, count)
    pack_into("=Q", data, pointer_at, syscall.address(room))
    try:
        syscall.object_info(fd, data)
    except OSError as error:
        raise refusals.unexpected("cannot read the program's code", error) from None
    return data, room
