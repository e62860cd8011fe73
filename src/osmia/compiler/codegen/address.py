"""A pointer while it is lowered: a register, a constant offset that rides along, and what is known of its alignment."""

from __future__ import annotations


class Address:
    """``base + offset``.

    :ivar base: an LLVM pointer. :ivar offset: bytes from it. :ivar align: alignment of ``base`` in bytes.
    """

    __slots__ = ("align", "base", "offset")

    def __init__(self, base: str, offset: int, align: int) -> None:
        self.base = base
        self.offset = offset
        self.align = align

    def moved(self, by: int) -> Address:
        """The address ``by`` bytes further."""
        return Address(self.base, self.offset + by, self.align)

    def offset_align(self) -> int:
        """The alignment of the address itself, at most 8."""
        low = self.offset & -self.offset
        return min(self.align, low, 8) if low else min(self.align, 8)
