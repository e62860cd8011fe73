"""What the target kernel's BTF says, in the IR's types: members of structs, enumerators, prototypes of tracepoints
and kfuncs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from osmia.btf import types as B
from osmia.compiler.ir import KArray, KType, Ptr, Space
from osmia.diagnostics import BtfError
from osmia.object.layout import BOOL, Bytes, Char, Enum, Int, Layout

if TYPE_CHECKING:
    from osmia.btf.layout import MemberPlace
    from osmia.btf.reader import Btf

_KINDS = {"struct": B.Struct, "union": B.Union, "enum": B.AnyEnum, "typedef": B.Typedef}
_TRACE_PREFIX = "btf_trace_"


class Member:
    """A member of a kernel struct.

    :ivar type: Layout, KType, KArray or Ptr. :ivar bits: width of a bitfield, 0 for others. :ivar signed: of a
        bitfield.
    """

    __slots__ = ("bits", "name", "offset", "signed", "type")

    def __init__(self, name: str, type: Any, offset: int, bits: int, signed: bool) -> None:
        self.name = name
        self.type = type
        self.offset = offset
        self.bits = bits
        self.signed = signed


class KernelTypes:
    """A view of one kernel's BTF. All lookups give ``None`` for what is not there."""

    def __init__(self, btf: Btf) -> None:
        self.btf = btf
        self._members: dict[tuple[str, str], dict[str, Member | None]] = {}
        self._anonymous: dict[str, int] = {}

    def named(self, name: str) -> KType | None:
        """The kernel type of a name: struct and union first, then enum, then typedef."""
        for kind, cls in _KINDS.items():
            if self.btf.find(name, cls) is not None:
                return KType(name, kind)
        return None

    def near(self, name: str) -> list[str]:
        """Names of types like ``name``."""
        return self.btf.nearest_names(name)

    def composite(self, of: KType) -> B.Composite | None:
        """The struct or union behind a kernel type, through typedefs."""
        if of.name in self._anonymous:
            found: B.BtfType | None = self.btf.by_id(self._anonymous[of.name])
        else:
            found = self.btf.find(of.name, _KINDS[of.kind])
        if found is None:
            return None
        found = self.btf.resolve(found)
        return found if isinstance(found, B.Composite) else None

    def member(self, of: KType, name: str) -> Member | None:
        """A member by name; those of anonymous structs and unions are members too."""
        known = self._members.setdefault((of.kind, of.name), {})
        if name not in known:
            owner = self.composite(of)
            try:
                place = None if owner is None else self.btf.find_member(owner, name)
            except BtfError:
                place = None
            known[name] = None if place is None else self._member(of, name, place)
        return known[name]

    def member_names(self, of: KType) -> list[str]:
        """The names of all members."""
        owner = self.composite(of)
        return [] if owner is None else [flat.name for flat in self.btf.flat_members(owner)]

    def _member(self, of: KType, name: str, place: MemberPlace) -> Member:
        inner = self.btf.resolve(place.type_id)
        signed = isinstance(inner, (B.Int, B.AnyEnum)) and bool(inner.signed)
        type_ = self.type_of(place.type_id, f"{of.name}.{name}")
        return Member(name, type_, place.offset, place.bit_size if place.bitfield else 0, signed)

    def type_of(self, type_id: int, path: str = "") -> Any:
        """A BTF type as a Layout, KType, KArray or Ptr; ``None`` for void, functions and floats."""
        text = ""
        while True:
            found = self.btf.by_id(type_id)
            if isinstance(found, B.Typedef):
                text = text or found.name
            if not isinstance(found, B.Modifier):
                break
            type_id = found.type_id
        if isinstance(found, B.Int):
            if found.is_bool:
                return BOOL
            return Int(found.size * 8, found.signed) if found.size <= 8 else Bytes(found.size)
        if isinstance(found, B.AnyEnum):
            return Enum(found.name, Int(found.size * 8, bool(found.signed)))
        if isinstance(found, B.Composite):
            kind = "union" if isinstance(found, B.Union) else "struct"
            if found.name:
                return KType(found.name, kind)
            if text:
                return KType(text, "typedef")
            self._anonymous[path] = type_id
            return KType(path, kind)
        if isinstance(found, B.Array):
            return self._array(found, path)
        if isinstance(found, B.Ptr):
            return self.pointer(found, path)
        return None

    def _array(self, found: B.Array, path: str) -> Any:
        inner = self.btf.resolve(found.type_id)
        if isinstance(inner, B.Int) and inner.size == 1 and not inner.is_bool:
            if self._is_char(found.type_id):
                return Char(found.count) if found.count else KArray(Int(8), 0)
            return Bytes(found.count) if found.count else KArray(Int(8), 0)
        return KArray(self.type_of(found.type_id, f"{path}[]"), found.count)

    def _is_char(self, type_id: int) -> bool:
        found = self.btf.by_id(type_id)
        while isinstance(found, B.Modifier):
            found = self.btf.by_id(found.type_id)
        return isinstance(found, B.Int) and found.name == "char"

    def pointer(self, found: B.Ptr, path: str) -> Ptr:
        """A pointer member: user memory where BTF says so (type tag ``user``), kernel memory else."""
        space = Space.KERNEL
        inner = found.type_id
        while inner:
            step = self.btf.by_id(inner)
            if isinstance(step, B.TypeTag) and step.name == "user":
                space = Space.USER
            if isinstance(step, B.TypeTag) and step.name == "percpu":
                return Ptr(Space.KERNEL, None)  # an offset, not an address
            if not isinstance(step, B.Modifier) or isinstance(step, B.Typedef):
                break
            inner = step.type_id
        return Ptr(space, self.type_of(inner, f"*{path}") if inner else None)

    def struct_offset(self, of: str, name: str) -> int | None:
        """Byte offset of a member in this kernel."""
        member = self.member(KType(of), name)
        return None if member is None else member.offset

    # -- enumerators and prototypes ------------------------------------------------------------------------------------

    def enum(self, name: str) -> B.AnyEnum | None:
        """The enum of a name, through typedefs."""
        for cls in (B.AnyEnum, B.Typedef):
            found: B.BtfType | None = self.btf.find(name, cls)
            if found is not None:
                found = self.btf.resolve(found)
                if isinstance(found, B.AnyEnum):
                    return found
        return None

    def enum_layout(self, name: str) -> Enum | None:
        """A kernel enum's layout with its enumerators."""
        found = self.enum(name)
        if found is None:
            return None
        return Enum(name, Int(found.size * 8, bool(found.signed)), [(item.name, item.value) for item in found.values])

    def tracepoint(self, name: str) -> list[tuple[str, Any]] | None:
        """Names and types of a raw tracepoint's arguments."""
        found = self.btf.find(_TRACE_PREFIX + name, B.Typedef)
        if found is None:
            return None
        target = self.btf.by_id(found.type_id)
        proto = self.btf.by_id(target.type_id) if isinstance(target, B.Ptr) else target
        if not isinstance(proto, B.FuncProto):
            return None
        named = self.btf.find(f"__traceiter_{name}", B.Func)
        names = [item.name for item in self.btf.proto_of(named).params] if named is not None else []
        if len(names) != len(proto.params):
            names = [item.name for item in proto.params]
        return [
            (label or f"arg{index}", self.type_of(item.type_id, f"{name}.{index}"))
            for index, (label, item) in enumerate(zip(names, proto.params, strict=True))
        ][1:]  # the first one is the tracepoint's own data

    def tracepoints_near(self, name: str) -> list[str]:
        """Names of raw tracepoints like ``name``."""
        near = self.btf.nearest_names(_TRACE_PREFIX + name, B.Typedef, 6)
        return [item.removeprefix(_TRACE_PREFIX) for item in near if item.startswith(_TRACE_PREFIX)]

    def function(self, name: str) -> tuple[list[tuple[str, Any]], Any] | None:
        """Parameters (name, type) and result type of a kernel function."""
        found = self.btf.find(name, B.Func)
        if found is None:
            return None
        proto = self.btf.proto_of(found)
        params = [
            (item.name or f"arg{index}", self.type_of(item.type_id, f"{name}.{index}"))
            for index, item in enumerate(proto.params)
        ]
        return params, self.type_of(proto.type_id, f"{name}()") if proto.type_id else None

    def functions_near(self, name: str) -> list[str]:
        """Names of kernel functions like ``name``."""
        return self.btf.nearest_names(name, B.Func)


def is_scalar(type_: Any) -> bool:
    """Whether a kernel type is loaded as one number or truth value."""
    return isinstance(type_, Layout) and not isinstance(type_, (Char, Bytes))
