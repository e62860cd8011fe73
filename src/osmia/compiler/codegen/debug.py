"""Debug information as LLVM metadata: the source of BTF types, function prototypes, line info and CO-RE records."""

from __future__ import annotations

import re

from osmia.compiler.ir import VOID, KArray, KType, Ptr
from osmia.object.layout import Array, Bool, Bytes, Char, Enum, Int, Layout, Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from osmia.compiler.ir import ValueType
    from osmia.diagnostics import Span

_INTS = {
    (8, False): ("unsigned char", "DW_ATE_unsigned_char"),
    (8, True): ("signed char", "DW_ATE_signed_char"),
    (16, False): ("unsigned short", "DW_ATE_unsigned"),
    (16, True): ("short", "DW_ATE_signed"),
    (32, False): ("unsigned int", "DW_ATE_unsigned"),
    (32, True): ("int", "DW_ATE_signed"),
    (64, False): ("unsigned long long", "DW_ATE_unsigned"),
    (64, True): ("long long", "DW_ATE_signed"),
}
_NOT_NAME = re.compile(r"[^A-Za-z0-9_]")


def c_name(name: str) -> str:
    """A name that BTF takes: letters, digits and underscores, no digit first."""
    clean = _NOT_NAME.sub("_", name)
    return f"_{clean}" if clean[:1].isdigit() else clean


def escape(text: str) -> str:
    """The text inside an LLVM string literal."""
    out = []
    for byte in text.encode("utf-8", "surrogateescape"):
        if 32 <= byte < 127 and byte not in (34, 92):
            out.append(chr(byte))
        else:
            out.append(f"\\{byte:02X}")
    return "".join(out)


class Metadata:
    """The module's metadata nodes; equal nodes are made once."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._known: dict[str, str] = {}
        self._types: dict[object, str] = {}
        self._files: dict[str, str] = {}
        self.file_names: list[str] = []

    def add(self, text: str) -> str:
        """A node, shared with an equal one."""
        node = self._known.get(text)
        if node is None:
            node = self._known[text] = self.distinct(text)
        return node

    def distinct(self, text: str) -> str:
        """A node of its own."""
        self.lines.append(text)
        return f"!{len(self.lines) - 1}"

    def reserve(self) -> str:
        """A node whose text comes later through :meth:`fill`."""
        return self.distinct("")

    def fill(self, node: str, text: str) -> None:
        """Gives a reserved node its text."""
        self.lines[int(node[1:])] = text

    def listed(self, nodes: list[str]) -> str:
        """A list of nodes."""
        return self.add(f"!{{{', '.join(nodes)}}}")

    def text(self) -> str:
        """All nodes as lines of LLVM text."""
        return "\n".join([f"!{index} = {line}" for index, line in enumerate(self.lines)])

    # Files and places

    def file(self, name: str) -> str:
        """The node of a source file, with its text so that BTF holds the lines."""
        node = self._files.get(name)
        if node is None:
            from osmia.diagnostics.sources import source_lines

            lines = source_lines(name) if name else None
            source = f', source: "{escape(chr(10).join(lines) + chr(10))}"' if lines else ""
            node = self._files[name] = self.add(
                f'!DIFile(filename: "{escape(name or "<none>")}", directory: ""{source})'
            )
        return node

    def location(self, span: Span, scope: str, scope_file: str) -> str:
        """A place in a function; columns that BTF cannot hold are left out."""
        if span.file and span.file != scope_file:
            scope = self.add(f"!DILexicalBlockFile(scope: {scope}, file: {self.file(span.file)}, discriminator: 0)")
        column = span.column + 1 if span.line and span.column < 1023 else 0
        return self.add(f"!DILocation(line: {min(span.line, (1 << 22) - 1)}, column: {column}, scope: {scope})")

    # Types

    def basic(self, name: str, bits: int, encoding: str) -> str:
        """An integer type."""
        return self.add(f'!DIBasicType(name: "{name}", size: {bits}, encoding: {encoding})')

    def pointer(self, to: str) -> str:
        """A pointer type; ``null`` is void."""
        return self.add(f"!DIDerivedType(tag: DW_TAG_pointer_type, baseType: {to}, size: 64)")

    def array(self, element: str, count: int, element_size: int) -> str:
        """An array type; a count of 0 is a flexible array."""
        subrange = self.add(f"!DISubrange(count: {count if count else -1})")
        elements = self.listed([subrange])
        return self.add(
            f"!DICompositeType(tag: DW_TAG_array_type, baseType: {element}, size: {count * element_size * 8}, "
            f"elements: {elements})"
        )

    def number(self, value: int) -> str:
        """How BTF-defined maps write a number: a pointer to an array of that many ints."""
        if value >> 30:
            # The kernel refuses array types of 4 GiB, pointed to or not: large numbers count single bytes.
            return self.pointer(self.array(self.basic("char", 8, "DW_ATE_signed_char"), value, 1))
        return self.pointer(self.array(self.basic("int", 32, "DW_ATE_signed"), value, 4))

    def struct(self, name: str, size: int, members: list[tuple[str, str, int, int]], kind: str = "structure") -> str:
        """A struct or union of (name, type, bit offset, bit size) members."""
        node = self.reserve()
        self.fill_struct(node, name, size, members, kind)
        return node

    def fill_struct(
        self, node: str, name: str, size: int, members: list[tuple[str, str, int, int]], kind: str = "structure"
    ) -> None:
        """Gives a reserved node a struct's text."""
        rows = [
            self.distinct(
                f'!DIDerivedType(tag: DW_TAG_member, name: "{c_name(member)}", scope: {node}, baseType: {type_}, '
                f"size: {bits}, offset: {offset})"
            )
            for member, type_, offset, bits in members
        ]
        named = f'name: "{c_name(name)}", ' if name else ""
        self.fill(
            node,
            f"distinct !DICompositeType(tag: DW_TAG_{kind}_type, {named}size: {size * 8}, "
            f"elements: {self.listed(rows)})",
        )

    def layout(self, layout: Layout) -> str:
        """The type of a layout."""
        key = layout.plain()
        node = self._types.get(key)
        if node is None:
            if isinstance(layout, Struct):
                node = self._struct_of(layout)
            else:
                node = self._plain_layout(layout)
            self._types[key] = node
        return node

    def _plain_layout(self, layout: Layout) -> str:
        if isinstance(layout, Int):
            name, encoding = _INTS[layout.bits, layout.signed]
            return self.basic(name, layout.bits, encoding)
        if isinstance(layout, Bool):
            return self.basic("_Bool", 8, "DW_ATE_boolean")
        if isinstance(layout, Enum):
            return self.enum(layout.name, layout.base, layout.members)
        if isinstance(layout, Char):
            return self.array(self.basic("char", 8, "DW_ATE_signed_char"), layout.size, 1)
        if isinstance(layout, Bytes):
            # The name tells raw bytes from an array of numbers (``object.btf_layout`` reads it back).
            return self.array(self.basic("byte", 8, "DW_ATE_unsigned_char"), layout.size, 1)
        if isinstance(layout, Array):
            return self.array(self.layout(layout.element), layout.count, layout.element.size)
        raise TypeError(f"no debug type for {layout!r}")

    def _struct_of(self, layout: Struct) -> str:
        node = self.reserve()
        rows = []
        for field in layout.fields:
            extra = ""
            bits, offset = field.type.size * 8, field.offset * 8
            if field.bits:
                bits, offset = field.bits, offset + field.bit
                extra = f", flags: DIFlagBitField, extraData: i64 {field.offset * 8}"
            rows.append(
                self.distinct(
                    f'!DIDerivedType(tag: DW_TAG_member, name: "{c_name(field.name)}", scope: {node}, '
                    f"baseType: {self.layout(field.type)}, size: {bits}, offset: {offset}{extra})"
                )
            )
        named = f'name: "{c_name(layout.name)}", ' if layout.name else ""
        self.fill(
            node,
            f"distinct !DICompositeType(tag: DW_TAG_structure_type, {named}size: {layout.size * 8}, "
            f"elements: {self.listed(rows)})",
        )
        return node

    def enum(self, name: str, base: Int, members: tuple[tuple[str, int], ...]) -> str:
        """An enumeration."""
        unsigned = "" if base.signed else ", isUnsigned: true"
        mask = (1 << 64) - 1
        rows = [
            self.add(
                f'!DIEnumerator(name: "{c_name(member)}", value: {value if base.signed else value & mask}{unsigned})'
            )
            for member, value in members
        ]
        named = f'name: "{c_name(name)}", ' if name else ""
        return self.add(
            f"!DICompositeType(tag: DW_TAG_enumeration_type, {named}baseType: {self.layout(base)}, "
            f"size: {base.bits}, elements: {self.listed(rows)})"
        )

    def value(self, type_: ValueType | Layout | KType | KArray | None) -> str:
        """The type of an IR value or of what a pointer points to, for prototypes."""
        if type_ is None or type_ is VOID:
            return "null"
        if isinstance(type_, Layout):
            return self.layout(type_)
        if isinstance(type_, Ptr):
            return self.pointer(self.value(type_.to))
        if isinstance(type_, KType):
            return self.opaque(type_)
        if isinstance(type_, KArray):
            return self.value(type_.element)
        return self.pointer("null")

    def opaque(self, type_: KType) -> str:
        """A kernel type without members."""
        node = self._types.get(("opaque", type_))
        if node is None:
            name = c_name(type_.name)
            if type_.kind == "enum":
                node = self.enum(type_.name, Int(32), ())
            elif type_.kind == "typedef":
                node = self.add(f'!DIDerivedType(tag: DW_TAG_typedef, name: "{name}", baseType: null)')
            else:
                tag = "union" if type_.kind == "union" else "structure"
                node = self.add(
                    f'!DICompositeType(tag: DW_TAG_{tag}_type, name: "{name}", size: 0, elements: {self.listed([])})'
                )
            self._types["opaque", type_] = node
        return node
