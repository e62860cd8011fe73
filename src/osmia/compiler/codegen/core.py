"""Kernel types as the module needs them: minimal local definitions of the members that CO-RE accesses name.

LLVM's pass keeps its access globals in a table that outlives a module, keyed by type name and access path, so a second
module with the same access would use a freed global. Every compilation therefore gives its kernel types a flavour (the
``___00000001`` after a name, which libbpf and the kernel ignore), and :meth:`KernelTypes.clean` takes it out of the
finished object, so that equal modules give equal objects.
"""

from __future__ import annotations

import itertools

from osmia.compiler.codegen.debug import Metadata, c_name
from osmia.compiler.ir import KArray, KType, Ptr
from osmia.diagnostics import CompileError
from osmia.object.layout import Array, Bool, Enum, Int, Layout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from osmia.diagnostics import Span

StepType = Layout | KType | KArray | Ptr
_serial = itertools.count(1)

FIELD_OFFSET, FIELD_SIZE, FIELD_EXISTS, _SIGNED, FIELD_LSHIFT, FIELD_RSHIFT = range(6)
TYPE_EXISTS, TYPE_SIZE = 0, 1
ENUM_EXISTS, ENUM_VALUE = 0, 1


class Composite:
    """A kernel struct or union with the members that were asked for."""

    __slots__ = ("index", "ktype", "laying", "members", "node", "outer", "size")

    def __init__(self, ktype: KType, index: int, node: str, outer: str) -> None:
        self.ktype = ktype
        self.index = index
        self.node = node
        self.outer = outer
        self.members: dict[str, StepType] = {}
        self.size = -1
        self.laying = False


class KernelTypes:
    """The registry of one compilation."""

    def __init__(self, metadata: Metadata) -> None:
        self.metadata = metadata
        self.flavour = f"___{next(_serial):08d}"
        self._composites: dict[KType, Composite] = {}
        self._enums: dict[KType, tuple[str, dict[str, int]]] = {}
        self._exact: dict[Layout, str] = {}
        self.used = False

    def _name(self, name: str) -> str:
        self.used = True
        return f"{c_name(name)}{self.flavour}"

    def composite(self, ktype: KType) -> Composite:
        """The struct, union or typedef of one."""
        found = self._composites.get(ktype)
        if found is None:
            node = self.metadata.reserve()
            outer = node
            if ktype.kind == "typedef":
                outer = self.metadata.add(
                    f'!DIDerivedType(tag: DW_TAG_typedef, name: "{self._name(ktype.name)}", baseType: {node})'
                )
            found = self._composites[ktype] = Composite(ktype, len(self._composites), node, outer)
        return found

    def member(self, ktype: KType, name: str, type_: StepType, span: Span) -> tuple[Composite, int]:
        """The composite and the position of a member, added when it is new."""
        composite = self.composite(ktype)
        known = composite.members.get(name)
        if known is None:
            composite.members[name] = type_
            if isinstance(type_, KType) and type_.kind != "enum":
                self.composite(type_)
        elif known != type_:
            raise CompileError(
                "IR022", f"{ktype}.{name} is used as {known} and as {type_}", span=span,
                hint="give the member one type in the whole program",
            )  # fmt: skip
        return composite, list(composite.members).index(name)

    def enumerator(self, ktype: KType, name: str) -> tuple[str, int]:
        """The enumeration's node and the local number of an enumerator."""
        found = self._enums.get(ktype)
        if found is None:
            node = self.metadata.reserve()
            found = self._enums[ktype] = (node, {})
        numbers = found[1]
        number = numbers.setdefault(name, len(numbers))
        return found[0], number

    def type_node(self, ktype: KType) -> str:
        """The node to name in an existence or size record."""
        if ktype.kind == "enum":
            return self._enums[ktype][0] if ktype in self._enums else self.enumerator(ktype, "_")[0]
        return self.composite(ktype).outer

    # Debug and LLVM types of members

    def debug(self, type_: StepType) -> str:
        """The debug type of a member."""
        if isinstance(type_, Ptr):
            return self.metadata.pointer("null")
        if isinstance(type_, KArray):
            return self.metadata.array(self.debug(type_.element), type_.count, self.size(type_.element))
        if isinstance(type_, KType):
            if type_.kind == "enum":
                return self.metadata.enum(type_.name, Int(32), ())
            return self.composite(type_).outer
        return self.metadata.layout(type_)

    def llvm(self, type_: StepType) -> str:
        """The LLVM type of a member: as large as its debug type."""
        if isinstance(type_, Ptr):
            return "ptr"
        if isinstance(type_, KArray):
            return f"[{type_.count} x {self.llvm(type_.element)}]"
        if isinstance(type_, KType):
            return "i32" if type_.kind == "enum" else f"%core.{self.composite(type_).index}"
        if isinstance(type_, (Int, Bool, Enum)):
            return f"i{type_.size * 8}"
        if isinstance(type_, Array):
            return f"[{type_.count} x {self.llvm(type_.element)}]"
        return f"[{type_.size} x i8]"

    def size(self, type_: StepType) -> int:
        """Bytes of the local definition."""
        if isinstance(type_, Ptr):
            return 8
        if isinstance(type_, KArray):
            return type_.count * self.size(type_.element)
        if isinstance(type_, KType):
            return 4 if type_.kind == "enum" else self._size_of(self.composite(type_))
        return type_.size

    def _size_of(self, composite: Composite) -> int:
        if composite.size < 0:
            if composite.laying:
                raise CompileError("IR022", f"{composite.ktype} contains itself")
            composite.laying = True
            sizes = [-(-self.size(type_) // 8) * 8 for type_ in composite.members.values()]
            composite.size = (max(sizes, default=0) if composite.ktype.kind == "union" else sum(sizes)) or 8
        return composite.size

    def finish(self) -> list[str]:
        """Fills all reserved nodes; returns the LLVM type definitions. Nothing may be added afterwards."""
        lines = []
        for composite in list(self._composites.values()):
            size = self._size_of(composite)
            is_union = composite.ktype.kind == "union"
            members: list[tuple[str, str, int, int]] = []
            parts: list[str] = []
            offset = 0
            for name, type_ in composite.members.items():
                width = self.size(type_)
                members.append((name, self.debug(type_), 0 if is_union else offset * 8, width * 8))
                padded = -(-width // 8) * 8
                parts.append(f"{{ {self.llvm(type_)}, [{padded - width} x i8] }}")
                offset += padded
            name = "" if composite.ktype.kind == "typedef" else self._name(composite.ktype.name)
            self.metadata.fill_struct(composite.node, name, size, members, "union" if is_union else "structure")
            body = f"[{size} x i8]" if is_union or not parts else ", ".join(parts)
            lines.append(f"%core.{composite.index} = type <{{ {body} }}>")
        for ktype, (node, numbers) in self._enums.items():
            self._fill_enum(ktype, node, numbers)
        return lines

    def _fill_enum(self, ktype: KType, node: str, numbers: dict[str, int]) -> None:
        rows = [
            self.metadata.add(f'!DIEnumerator(name: "{c_name(name)}", value: {number}, isUnsigned: true)')
            for name, number in numbers.items()
        ]
        anonymous = ktype.kind == "typedef"
        inner = self.metadata.reserve() if anonymous else node
        named = "" if anonymous else f'name: "{self._name(ktype.name)}", '
        self.metadata.fill(
            inner,
            f"distinct !DICompositeType(tag: DW_TAG_enumeration_type, {named}"
            f"baseType: {self.metadata.layout(Int(32))}, size: 32, elements: {self.metadata.listed(rows)})",
        )
        if anonymous:
            self.metadata.fill(
                node, f'!DIDerivedType(tag: DW_TAG_typedef, name: "{self._name(ktype.name)}", baseType: {inner})'
            )

    def clean(self, blob: bytes) -> bytes:
        """The object's string table without this compilation's flavour."""
        if not self.used:
            return blob
        return blob.replace(f"{self.flavour}\0".encode(), bytes(len(self.flavour) + 1))
