"""BTF types as C text."""

from __future__ import annotations

from osmia.btf.layout import MAX_DEPTH, alignof, label, place_of, type_of
from osmia.btf.types import (
    LINKAGE_EXTERN,
    LINKAGE_STATIC,
    AnyEnum,
    Array,
    Composite,
    Const,
    DataSec,
    DeclTag,
    Float,
    Func,
    FuncProto,
    Fwd,
    Int,
    Ptr,
    Restrict,
    Typedef,
    TypeTag,
    Var,
    Void,
    Volatile,
)
from osmia.diagnostics import BtfError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from osmia.btf.reader import Btf
    from osmia.btf.types import BtfType, Enumerator

_QUALIFIERS: dict[type[BtfType], str] = {Const: "const", Volatile: "volatile", Restrict: "restrict"}


def c_type_name(btf: Btf, of: BtfType | int) -> str:
    """A type as C writes it without a name: ``struct page *``, ``int (*)(void *, int)``, ``char[16]``.

    An anonymous struct, union or enum is written ``struct {...}``.

    :raises BtfError: ``BTF010`` or ``BTF011`` the type has no finite text.
    """
    return _Writer(btf).declare(type_of(btf, of), "", brief=True)


def c_declare(btf: Btf, of: BtfType | int, name: str) -> str:
    """A declaration in C, without semicolon: ``char comm[16]``; anonymous types are written in full.

    :raises BtfError: as :func:`c_type_name`.
    """
    return _Writer(btf).declare(type_of(btf, of), name, brief=False)


def c_dump(btf: Btf, of: BtfType | int, offsets: bool = False) -> str:
    """A type's definition in C: the struct with its members, the enum with its values, the prototype...

    :param offsets: add every member's byte offset in the outermost struct and its size in a comment, as
        ``pahole`` does.
    :raises BtfError: as :func:`c_type_name`.
    """
    return _Writer(btf, offsets).define(type_of(btf, of))


class _Writer:
    """Writes one type; counts what it writes, since hostile BTF can describe exponentially long text."""

    def __init__(self, btf: Btf, offsets: bool = False) -> None:
        self.btf = btf
        self.offsets = offsets
        self.budget = 65536
        self.aligned: dict[int, int] = {}

    def spend(self, what: BtfType, depth: int) -> None:
        self.budget -= 1
        if depth > MAX_DEPTH or self.budget < 0:
            raise BtfError(
                "BTF011",
                f"{label(what)} is nested too deep, or too large, to be written as C",
                hint="the data is corrupt; read or build it again",
            )

    def declare(
        self, found: BtfType, name: str, *, brief: bool, indent: int = 0, depth: int = 0, origin: int = 0
    ) -> str:
        """One declaration, built from the name outwards."""
        inner = name
        qualifiers: list[str] = []
        tags: list[str] = []
        first = found
        steps = depth
        while True:
            steps += 1
            self.spend(first, steps)
            if type(found) in _QUALIFIERS:
                word = _QUALIFIERS[type(found)]
                if word not in qualifiers:
                    qualifiers.append(word)
            elif isinstance(found, TypeTag):
                attribute = found.name if found.attribute else f'btf_type_tag("{found.name}")'
                tags.append(f"__attribute__(({attribute}))")
            elif isinstance(found, Ptr):
                words = [*tags, *qualifiers]
                gap = " " if words and inner else ""
                inner = f"*{' ' if words else ''}{' '.join(words)}{gap}{inner}"
                qualifiers, tags, origin = [], [], 0
            elif isinstance(found, Array):
                inner = f"({inner})" if inner.startswith("*") else inner
                inner += f"[{found.count}]"
            elif isinstance(found, FuncProto):
                inner = f"({inner})" if inner.startswith("*") else inner
                inner += f"({self.parameters(found, indent, steps)})"
                qualifiers, tags = [], []
            else:
                break
            found = self.btf.by_id(found.type_id)  # type: ignore[attr-defined]
        base = self.base(found, brief, indent, steps, origin)
        text = " ".join([*qualifiers, base, *tags])
        if not inner or inner[0] == "[":
            return text + inner if not inner or brief else f"{text} {inner}"
        return f"{text} {inner}"

    def parameters(self, proto: FuncProto, indent: int, depth: int) -> str:
        if not proto.params:
            return "void"
        texts = []
        for index, param in enumerate(proto.params):
            if not param.type_id and index == len(proto.params) - 1:
                texts.append("...")
            else:
                of = self.btf.by_id(param.type_id)
                texts.append(self.declare(of, param.name, brief=True, indent=indent, depth=depth + 1))
        return ", ".join(texts)

    def base(self, found: BtfType, brief: bool, indent: int, depth: int, origin: int = 0) -> str:
        """The part of a declaration before the name."""
        if isinstance(found, Composite | AnyEnum):
            word = "enum" if isinstance(found, AnyEnum) else found.kind_name
            if found.name:
                return f"{word} {found.name}"
            if brief:
                return word + " {...}"
            return self.body(found, indent, depth, origin)
        if isinstance(found, Fwd):
            return f"{'union' if found.is_union else 'struct'} {found.name}"
        if isinstance(found, Void):
            return "void"
        return found.name or f"/* {label(found)} */"

    def body(self, found: Composite | AnyEnum, indent: int, depth: int, origin: int = 0) -> str:
        """A struct, union or enum with its braces; ``origin`` is where it lies in the outermost one, in bits."""
        self.spend(found, depth)
        if isinstance(found, AnyEnum):
            return self.enum_body(found, indent)
        tabs = "\t" * (indent + 1)
        head = f"{found.kind_name} {found.name}".rstrip() + " {\n"
        lines = []
        for index, member in enumerate(found.members):
            self.spend(found, depth)
            of = self.btf.by_id(member.type_id)
            at = origin + member.bit_offset
            line = tabs + self.declare(of, member.name, brief=False, indent=indent + 1, depth=depth + 1, origin=at)
            if member.bit_size:
                line += f": {member.bit_size}"
            line += ";"
            if self.offsets:
                place = place_of(self.btf, found, index)
                bits = f":{place.bit_offset % 8}" if place.bitfield else ""
                line += f" /* {origin // 8 + place.offset}{bits} {place.size} */"
            lines.append(line + "\n")
        packed = " __attribute__((packed))" if self.is_packed(found) else ""
        return f"{head}{''.join(lines)}" + "\t" * indent + "}" + packed

    def is_packed(self, found: Composite) -> bool:
        """Whether the compiler would lay the members out differently without ``packed``."""
        if not found.members or alignof(self.btf, found, self.aligned) != 1:
            return False
        return any(alignof(self.btf, member.type_id, self.aligned) != 1 for member in found.members)

    def enum_body(self, found: AnyEnum, indent: int) -> str:
        tabs = "\t" * (indent + 1)
        lines = "".join([f"{tabs}{value.name} = {self.constant(found, value)},\n" for value in found.values])
        return f"enum {found.name}".rstrip() + " {\n" + lines + "\t" * indent + "}"

    def constant(self, found: AnyEnum, value: Enumerator) -> str:
        suffix = ""
        if found.kind_name == "enum64":
            suffix = "LL" if found.signed else "ULL"
        return f"{value.value}{suffix}"

    def define(self, found: BtfType) -> str:
        if isinstance(found, Composite | AnyEnum):
            return self.body(found, 0, 0) + ";"
        if isinstance(found, Fwd):
            return self.base(found, False, 0, 0) + ";"
        if isinstance(found, Typedef):
            of = self.btf.by_id(found.type_id)
            return f"typedef {self.declare(of, found.name, brief=False)};"
        if isinstance(found, Func | Var):
            word = {LINKAGE_STATIC: "static ", LINKAGE_EXTERN: "extern "}.get(found.linkage, "")
            of = self.btf.by_id(found.type_id)
            return f"{word}{self.declare(of, found.name, brief=False)};"
        if isinstance(found, DataSec):
            lines = [
                f"\t/* {entry.offset} {entry.size} */ {self.define(self.btf.by_id(entry.type_id))}\n"
                for entry in self.section_entries(found)
            ]
            return f"/* section {found.name}, {found.size} bytes */ {{\n{''.join(lines)}}}"
        if isinstance(found, DeclTag):
            of = self.btf.by_id(found.type_id)
            part = f", component {found.component}" if found.component >= 0 else ""
            return f'/* btf_decl_tag("{found.name}") on {label(of)}{part} */'
        if isinstance(found, Int | Float):
            return f"/* {label(found)}, {found.size} bytes */"
        return self.declare(found, "", brief=False)

    def section_entries(self, found: DataSec) -> list[SecEntry]:
        for entry in found.entries:
            self.spend(found, 0)
            if not isinstance(self.btf.by_id(entry.type_id), Var | Func):
                raise BtfError(
                    "BTF009",
                    f"section {found.name} lists #{entry.type_id}, which is no variable",
                    hint="the data is corrupt; read or build it again",
                )
        return list(found.entries)


if TYPE_CHECKING:
    from osmia.btf.types import SecEntry
