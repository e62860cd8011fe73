"""Where the kernel has its types: from BTF, or from layouts that a test gives."""

from __future__ import annotations

from osmia.compiler.evaluate.faults import Fault, malformed
from osmia.diagnostics import BtfError
from osmia.object.layout import Array, Bytes, Char, Enum, Layout, Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from osmia.btf import Btf
    from osmia.btf.types import BtfType
    from osmia.compiler.ir import KType


class Place:
    """Where a field lies: bits from the start of its outermost type, its width in bits, bytes of its declared type."""

    __slots__ = ("bit", "bitfield", "bits", "size")

    def __init__(self, bit: int, bits: int, size: int, bitfield: bool) -> None:
        self.bit = bit
        self.bits = bits
        self.size = size
        self.bitfield = bitfield

    def unit(self) -> tuple[int, int]:
        """Offset and size in bytes as CO-RE tells them; of a bit field those of the unit that is loaded for it."""
        if not self.bitfield:
            return self.bit // 8, self.bits // 8
        size = self.size
        while True:
            offset = self.bit // 8 // size * size
            if self.bit + self.bits - offset * 8 <= size * 8:
                return offset, size
            if size >= 8:
                raise Fault("IR351", "the bit field spans more than eight bytes")
            size *= 2


class KernelTypes:
    """Answers of CO-RE operations.

    :param layouts: ``Struct`` and ``Enum`` layouts by the kernel type's name; they come before ``btf``.
    """

    def __init__(self, btf: Btf | None, layouts: Mapping[str, Layout] | None) -> None:
        self.btf = btf
        self.layouts = dict(layouts or {})

    def _layout(self, base: KType) -> Layout | None:
        found = self.layouts.get(base.name) or self.layouts.get(_plain(base.name))
        if found is None and self.btf is None and not self.layouts:
            raise Fault(
                "IR351", f"nothing is known of {base}", "give BTF or layouts: Evaluator(btf=...), Evaluator(core={...})"
            )
        return found

    def _types(self, base: KType) -> Sequence[BtfType]:
        from osmia.btf.types import AnyEnum, Struct, Typedef, Union

        if self.btf is None:
            return ()
        kinds: dict[str, type[BtfType]] = {"struct": Struct, "union": Union, "enum": AnyEnum, "typedef": Typedef}
        kind = kinds.get(base.kind)
        if kind is None:
            raise malformed(f"{base.kind!r} is no kind of kernel type")
        return [self.btf.by_id(number) for number in self.btf.ids_by_name(_plain(base.name), kind)]

    def field(self, base: KType, steps: Sequence[tuple[str | int, Any]]) -> Place | None:
        """Where the field at the end of a path lies, None where this kernel does not have it."""
        layout = self._layout(base)
        if layout is not None:
            return _walk(layout, steps)
        path = "".join(f"[{name}]" if isinstance(name, int) else f".{name}" for name, _ in steps).removeprefix(".")
        for found in self._types(base):
            place = self._member(found, path)
            if place is not None:
                return place
        return None

    def _member(self, of: BtfType, path: str) -> Place | None:
        assert self.btf is not None
        try:
            if not path:
                size = self.btf.sizeof(of)
                return Place(0, size * 8, size, False)
            found = self.btf.find_member(of, path)
            size = found.size if not found.bitfield else self.btf.sizeof(found.type_id)
        except BtfError:
            return None
        return Place(found.bit_offset, found.bit_size, size, found.bitfield)

    def size(self, base: KType) -> int | None:
        """Bytes of a type, None where this kernel does not have it."""
        layout = self._layout(base)
        if layout is not None:
            return layout.size
        for found in self._types(base):
            try:
                assert self.btf is not None
                return self.btf.sizeof(found)
            except BtfError:
                continue
        return None

    def enumerator(self, base: KType, name: str) -> int | None:
        """The value of an enumerator, None where this kernel does not have it."""
        layout = self._layout(base)
        if isinstance(layout, Enum):
            return dict(layout.members).get(name)
        if layout is not None:
            return None
        from osmia.btf.types import AnyEnum

        for found in self._types(base):
            assert self.btf is not None
            enum = self.btf.resolve(found)
            for value in enum.values if isinstance(enum, AnyEnum) else ():
                if value.name == _plain(name):
                    return value.value
        return None


def _plain(name: str) -> str:
    from osmia.btf import essential_name

    return essential_name(name)


def _walk(layout: Layout, steps: Sequence[tuple[str | int, Any]]) -> Place | None:
    bit = 0
    place = Place(0, layout.size * 8, layout.size, False)
    for name, _ in steps:
        if isinstance(name, str):
            field = layout.field(name) if isinstance(layout, Struct) else None
            if field is None:
                return None
            bit += field.offset * 8 + (field.bit if field.bits else 0)
            layout = field.type
            place = Place(bit, field.bits or layout.size * 8, layout.size, bool(field.bits))
        else:
            if isinstance(layout, Array) and name < layout.count:
                layout = layout.element
            elif isinstance(layout, (Char, Bytes)) and name < layout.size:
                layout = Char(1)
            else:
                return None
            bit += name * layout.size * 8
            place = Place(bit, layout.size * 8, layout.size, False)
    return place
