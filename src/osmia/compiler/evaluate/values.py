"""Values: integers of every width, and how scalars and pointers lie in memory.

An integer value is a Python int within its type's range (negative for signed types), a bool value a Python bool, a
pointer value a :class:`Pointer`, a map reference the map, a function reference a ``Function``.
"""

from __future__ import annotations

from osmia.compiler.evaluate.faults import malformed
from osmia.compiler.evaluate.memory import NULL, ORDER, U64_MASK, AddressSpace, Pointer
from osmia.compiler.ir import KType, Ptr, Space
from osmia.object.layout import Bool, Enum, Int

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PLAIN_ADDRESSES = (Space.KERNEL, Space.USER, Space.BTF)


def wrap(value: int, type_: Int) -> int:
    """The number modulo 2^width, in the type's range."""
    value &= (1 << type_.bits) - 1
    if type_.signed and value >> (type_.bits - 1):
        value -= 1 << type_.bits
    return value


def unsigned(value: int, bits: int) -> int:
    """The bits of a number as an unsigned number."""
    return value & ((1 << bits) - 1)


def signed(value: int, bits: int) -> int:
    """The bits of a number as a signed number."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def scalar(type_: object) -> object:
    """The value type of a scalar in memory: an enum's base, other types as they are."""
    if isinstance(type_, Enum):
        return type_.base
    if isinstance(type_, KType) and type_.kind == "enum":
        return Int(32)
    return type_


def word(value: Any) -> int:
    """A scalar or pointer as the 64 bits that the kernel's calling convention passes."""
    return value.address if isinstance(value, Pointer) else int(value) & U64_MASK


def size_of(type_: object) -> int:
    """Bytes of a scalar or pointer in memory."""
    type_ = scalar(type_)
    if isinstance(type_, (Int, Bool)):
        return type_.size
    if isinstance(type_, Ptr):
        return 8
    raise malformed(f"{type_} is loaded or stored as a value, and is none")


def to_pointer(address: int, type_: Ptr, kernel: AddressSpace) -> Pointer:
    """The pointer that an address read from memory is."""
    if address == 0:
        return NULL
    if type_.space not in PLAIN_ADDRESSES:
        found = kernel.find(address)
        if found is not None:
            return found
    return Pointer(None, address)


def decode(type_: object, data: bytes | bytearray, start: int, kernel: AddressSpace) -> Any:
    """The value that lies in memory."""
    type_ = scalar(type_)
    if isinstance(type_, Int):
        return int.from_bytes(data[start : start + type_.size], ORDER, signed=type_.signed)
    if isinstance(type_, Bool):
        return data[start] != 0
    if isinstance(type_, Ptr):
        return to_pointer(int.from_bytes(data[start : start + 8], ORDER), type_, kernel)
    raise malformed(f"{type_} is loaded as a value, and is none")


def encode(type_: object, value: Any) -> bytes:
    """The bytes of a value."""
    type_ = scalar(type_)
    if isinstance(type_, Int) and isinstance(value, int):
        return unsigned(value, type_.bits).to_bytes(type_.size, ORDER)
    if isinstance(type_, Bool):
        return b"\1" if value else b"\0"
    if isinstance(type_, Ptr) and isinstance(value, Pointer):
        return value.address.to_bytes(8, ORDER)
    raise malformed(f"a value that is no {type_} is stored as one")


def zero_value(type_: object) -> Any:
    """What a local that is never set holds."""
    type_ = scalar(type_)
    if isinstance(type_, Int):
        return 0
    if isinstance(type_, Bool):
        return False
    return NULL


def convert(value: Any, type_: object, kernel: AddressSpace) -> Any:
    """What a helper or a test gave, as a value of a declared type."""
    type_ = scalar(type_)
    if isinstance(type_, Int):
        return wrap(word(value if value is not None else 0), type_)
    if isinstance(type_, Bool):
        return bool(word(value) if isinstance(value, Pointer) else value)
    if isinstance(type_, Ptr):
        if value is None:
            return NULL
        if isinstance(value, Pointer):
            return value
        if isinstance(value, int):
            return to_pointer(value & U64_MASK, type_, kernel)
    return value
