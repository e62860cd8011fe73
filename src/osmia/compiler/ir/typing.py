"""Relations between IR types that legality, passes and code generation share."""

from __future__ import annotations

from osmia.compiler.ir.types import FUNC_REF, MAP_REF, VOID, KArray, KType, Ptr
from osmia.object.layout import Array, Bool, Bytes, Char, Enum, Int, Layout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from osmia.compiler.ir.types import Space, ValueType


def value_of(type_: object) -> ValueType | None:
    """The type of a value loaded from memory of that type; None where it is no scalar and no pointer."""
    if isinstance(type_, Enum):
        return type_.base
    if isinstance(type_, (Int, Bool, Ptr)):
        return type_
    if type_ is MAP_REF or type_ is FUNC_REF:
        return type_
    return None


def size_of(type_: object) -> int | None:
    """Bytes of what a pointer points to; None where nothing says."""
    if isinstance(type_, Layout):
        return type_.size
    if isinstance(type_, Ptr):
        return 8
    if isinstance(type_, KArray):
        element = size_of(type_.element)
        return None if element is None or isinstance(type_.element, KType) else element * type_.count
    return None


def reach(pointer: Ptr) -> int | None:
    """Bytes that may be accessed from the pointer on; None where nothing says."""
    return pointer.bound if pointer.bound is not None else size_of(pointer.to)


def element_of(type_: object) -> tuple[object, int] | None:
    """Element type and count of what can be indexed."""
    if isinstance(type_, (Array, KArray)):
        return type_.element, type_.count
    if isinstance(type_, (Char, Bytes)):
        return Int(8), type_.size
    return None


def assignable(from_: ValueType, to: ValueType) -> bool:
    """Whether a value of one type may stand where the other is declared."""
    if from_ == to:
        return True
    if isinstance(from_, Ptr) and isinstance(to, Ptr):
        return (
            from_.space is to.space
            and (from_.to == to.to or to.to is None)
            and (to.nullable or not from_.nullable)
            and (to.bound is None or (from_.bound is not None and from_.bound >= to.bound))
        )
    return False


def describe(type_: object) -> str:
    """A type in messages."""
    return "void" if type_ is VOID else str(type_)


def in_spaces(pointer: Ptr, spaces: tuple[Space, ...]) -> bool:
    """Whether the pointer is of one of the spaces."""
    return pointer.space in spaces
