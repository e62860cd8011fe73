"""The twenty kinds of BTF types, one small class each.

A type refers to other types by *id*, never by object, so decoding one type decodes nothing else and
recursive types need no special care. Ids belong to one :class:`~osmia.btf.reader.Btf` or
:class:`~osmia.btf.writer.BtfBuilder`; id 0 is always ``void``.

Two types are equal when every field but ``id`` is equal. Types are plain data: treat them as immutable.

The layout of each kind is described by the kernel's ``Documentation/bpf/btf.rst`` and
``include/uapi/linux/btf.h``.
"""

from __future__ import annotations

from operator import attrgetter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

KIND_VOID = 0
KIND_INT = 1
KIND_PTR = 2
KIND_ARRAY = 3
KIND_STRUCT = 4
KIND_UNION = 5
KIND_ENUM = 6
KIND_FWD = 7
KIND_TYPEDEF = 8
KIND_VOLATILE = 9
KIND_CONST = 10
KIND_RESTRICT = 11
KIND_FUNC = 12
KIND_FUNC_PROTO = 13
KIND_VAR = 14
KIND_DATASEC = 15
KIND_FLOAT = 16
KIND_DECL_TAG = 17
KIND_TYPE_TAG = 18
KIND_ENUM64 = 19

KIND_NAMES = (
    "void",
    "int",
    "ptr",
    "array",
    "struct",
    "union",
    "enum",
    "fwd",
    "typedef",
    "volatile",
    "const",
    "restrict",
    "func",
    "func_proto",
    "var",
    "datasec",
    "float",
    "decl_tag",
    "type_tag",
    "enum64",
)
"""The name of each kind, by number; also the last kind known here."""

INT_SIGNED = 1
INT_CHAR = 2
INT_BOOL = 4

LINKAGE_STATIC = 0
LINKAGE_GLOBAL = 1
LINKAGE_EXTERN = 2
LINKAGE_NAMES = ("static", "global", "extern")


class Record:
    """Plain data with slots: equality, hash, iteration and repr over the fields named by ``FIELDS``."""

    __slots__ = ()
    FIELDS: tuple[str, ...] = ()
    _values: Callable[[Any], Any]

    def __init_subclass__(cls) -> None:
        fields = cls.FIELDS
        if len(fields) == 1:
            only = attrgetter(fields[0])
            cls._values = staticmethod(lambda record: (only(record),))
        elif fields:
            cls._values = staticmethod(attrgetter(*fields))
        else:
            cls._values = staticmethod(lambda record: ())

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self._values(self) == self._values(other)

    def __hash__(self) -> int:
        return hash((type(self), self._values(self)))

    def __iter__(self) -> Iterator[Any]:
        return iter(self._values(self))

    def __repr__(self) -> str:
        fields = zip(self.FIELDS, self._values(self), strict=True)
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in fields)})"


class BtfType(Record):
    """Base of every kind.

    :cvar kind: the kind's number; 0 in base classes that stand for several kinds.
    :cvar MASK: one bit per kind that the class stands for; what ``kind=`` arguments of lookups use.
    :ivar id: the type's id in the object that it was read from, 0 for a type made by hand.
    :ivar name: the type's name; empty for anonymous types and for kinds that have none.
    """

    __slots__ = ("id",)
    kind = 0
    MASK = (1 << len(KIND_NAMES)) - 1
    name: str = ""
    id: int

    def refs(self) -> tuple[int, ...]:
        """The ids of all types this one mentions, in the order of its encoding."""
        return ()

    def with_refs(self, new_id: Callable[[int], int]) -> BtfType:
        """A copy in which every mentioned id is replaced by ``new_id(id)``; the copy's ``id`` is 0."""
        return self

    @property
    def kind_name(self) -> str:
        """The kind as a word: ``struct``, ``func_proto``..."""
        return KIND_NAMES[self.kind]


class Void(BtfType):
    """The type of id 0."""

    __slots__ = ()
    MASK = 1 << KIND_VOID
    name = "void"

    def __init__(self) -> None:
        self.id = 0


class Int(BtfType):
    """An integer.

    ``size`` is in bytes; ``bits`` and ``offset`` say which bits of it hold the value (all of them, except
    in the bit-fields of old compilers); ``encoding`` is a set of ``INT_SIGNED``, ``INT_CHAR``, ``INT_BOOL``.
    """

    __slots__ = FIELDS = ("name", "size", "bits", "offset", "encoding")
    kind = KIND_INT
    MASK = 1 << KIND_INT

    def __init__(self, name: str, size: int, encoding: int = 0, bits: int | None = None, offset: int = 0) -> None:
        self.id = 0
        self.name = name
        self.size = size
        self.bits = size * 8 if bits is None else bits
        self.offset = offset
        self.encoding = encoding

    @property
    def signed(self) -> bool:
        """Whether the value is signed."""
        return bool(self.encoding & INT_SIGNED)

    @property
    def is_bool(self) -> bool:
        """Whether this is ``_Bool``."""
        return bool(self.encoding & INT_BOOL)


class Float(BtfType):
    """A floating-point number of ``size`` bytes."""

    __slots__ = FIELDS = ("name", "size")
    kind = KIND_FLOAT
    MASK = 1 << KIND_FLOAT

    def __init__(self, name: str, size: int) -> None:
        self.id = 0
        self.name = name
        self.size = size


class Reference(BtfType):
    """Base of the kinds that say something about exactly one other type, ``type_id``."""

    __slots__ = ("type_id",)
    FIELDS: tuple[str, ...] = ("type_id",)
    MASK = (
        1 << KIND_PTR
        | 1 << KIND_TYPEDEF
        | 1 << KIND_VOLATILE
        | 1 << KIND_CONST
        | 1 << KIND_RESTRICT
        | 1 << KIND_TYPE_TAG
    )
    type_id: int

    def __init__(self, type_id: int) -> None:
        self.id = 0
        self.type_id = type_id

    def refs(self) -> tuple[int, ...]:
        """The one type mentioned."""
        return (self.type_id,)

    def with_refs(self, new_id: Callable[[int], int]) -> BtfType:
        """A copy that mentions ``new_id(type_id)``."""
        return type(self)(new_id(self.type_id))


class Ptr(Reference):
    """A pointer to ``type_id``."""

    __slots__ = ()
    kind = KIND_PTR
    MASK = 1 << KIND_PTR


class Modifier(Reference):
    """Base of the kinds that leave size and layout alone: qualifiers, type tags and typedefs."""

    __slots__ = ()
    MASK = 1 << KIND_TYPEDEF | 1 << KIND_VOLATILE | 1 << KIND_CONST | 1 << KIND_RESTRICT | 1 << KIND_TYPE_TAG


class Volatile(Modifier):
    """``volatile``."""

    __slots__ = ()
    kind = KIND_VOLATILE
    MASK = 1 << KIND_VOLATILE


class Const(Modifier):
    """``const``."""

    __slots__ = ()
    kind = KIND_CONST
    MASK = 1 << KIND_CONST


class Restrict(Modifier):
    """``restrict``."""

    __slots__ = ()
    kind = KIND_RESTRICT
    MASK = 1 << KIND_RESTRICT


class Typedef(Modifier):
    """``typedef``."""

    __slots__ = ("name",)
    FIELDS: tuple[str, ...] = ("name", "type_id")
    kind = KIND_TYPEDEF
    MASK = 1 << KIND_TYPEDEF

    def __init__(self, name: str, type_id: int) -> None:
        self.id = 0
        self.name = name
        self.type_id = type_id

    def with_refs(self, new_id: Callable[[int], int]) -> Typedef:
        """A copy that mentions ``new_id(type_id)``."""
        return Typedef(self.name, new_id(self.type_id))


class TypeTag(Modifier):
    """A ``btf_type_tag`` on a type: ``name`` is the tag's text, such as ``user`` or ``rcu``.

    ``attribute`` is set when the text is a whole ``__attribute__`` rather than a tag (Linux 6.14).
    """

    __slots__ = ("attribute", "name")
    FIELDS: tuple[str, ...] = ("name", "type_id", "attribute")
    kind = KIND_TYPE_TAG
    MASK = 1 << KIND_TYPE_TAG

    def __init__(self, name: str, type_id: int, attribute: bool = False) -> None:
        self.id = 0
        self.name = name
        self.type_id = type_id
        self.attribute = attribute

    def with_refs(self, new_id: Callable[[int], int]) -> TypeTag:
        """A copy that mentions ``new_id(type_id)``."""
        return TypeTag(self.name, new_id(self.type_id), self.attribute)


class Array(BtfType):
    """``count`` elements of ``type_id``; ``index_type_id`` is an integer type that nothing depends on."""

    __slots__ = FIELDS = ("type_id", "index_type_id", "count")
    kind = KIND_ARRAY
    MASK = 1 << KIND_ARRAY

    def __init__(self, type_id: int, index_type_id: int, count: int) -> None:
        self.id = 0
        self.type_id = type_id
        self.index_type_id = index_type_id
        self.count = count

    def refs(self) -> tuple[int, ...]:
        """Element and index type."""
        return (self.type_id, self.index_type_id)

    def with_refs(self, new_id: Callable[[int], int]) -> Array:
        """A copy that mentions the new ids."""
        return Array(new_id(self.type_id), new_id(self.index_type_id), self.count)


class Member(Record):
    """A member of a struct or union.

    ``bit_offset`` counts from the start of the struct; ``bit_size`` is the width of a bit-field and 0 for
    an ordinary member. ``name`` is empty for an anonymous struct or union.
    """

    __slots__ = FIELDS = ("name", "type_id", "bit_offset", "bit_size")

    def __init__(self, name: str, type_id: int, bit_offset: int, bit_size: int = 0) -> None:
        self.name = name
        self.type_id = type_id
        self.bit_offset = bit_offset
        self.bit_size = bit_size


class Composite(BtfType):
    """Base of struct and union: ``size`` in bytes and ``members`` in order."""

    __slots__ = ("members", "name", "size")
    FIELDS = ("name", "size", "members")
    MASK = 1 << KIND_STRUCT | 1 << KIND_UNION

    def __init__(self, name: str, size: int, members: Sequence[Member] = ()) -> None:
        self.id = 0
        self.name = name
        self.size = size
        self.members = tuple(members)

    def refs(self) -> tuple[int, ...]:
        """The members' types."""
        return tuple([member.type_id for member in self.members])

    def with_refs(self, new_id: Callable[[int], int]) -> Composite:
        """A copy whose members mention the new ids."""
        members = [Member(m.name, new_id(m.type_id), m.bit_offset, m.bit_size) for m in self.members]
        return type(self)(self.name, self.size, members)


class Struct(Composite):
    """A struct."""

    __slots__ = ()
    kind = KIND_STRUCT
    MASK = 1 << KIND_STRUCT


class Union(Composite):
    """A union."""

    __slots__ = ()
    kind = KIND_UNION
    MASK = 1 << KIND_UNION


class Enumerator(Record):
    """One name of an enum, with its value (negative only in a signed enum)."""

    __slots__ = FIELDS = ("name", "value")

    def __init__(self, name: str, value: int) -> None:
        self.name = name
        self.value = value


class AnyEnum(BtfType):
    """Base of both enum kinds: ``size`` in bytes, ``signed``, and ``values`` in order."""

    __slots__ = ("name", "signed", "size", "values")
    FIELDS = ("name", "size", "signed", "values")
    MASK = 1 << KIND_ENUM | 1 << KIND_ENUM64

    def __init__(self, name: str, size: int, values: Sequence[Enumerator] = (), signed: bool = False) -> None:
        self.id = 0
        self.name = name
        self.size = size
        self.signed = signed
        self.values = tuple(values)


class Enum(AnyEnum):
    """An enum whose values fit 32 bits.

    The sign flag came with Linux 6.0; older compilers leave it clear and store -1 as 4294967295.
    """

    __slots__ = ()
    kind = KIND_ENUM
    MASK = 1 << KIND_ENUM


class Enum64(AnyEnum):
    """An enum with 64-bit values (Linux 6.0)."""

    __slots__ = ()
    kind = KIND_ENUM64
    MASK = 1 << KIND_ENUM64


class Fwd(BtfType):
    """A struct or union that is declared, not defined."""

    __slots__ = FIELDS = ("name", "is_union")
    kind = KIND_FWD
    MASK = 1 << KIND_FWD

    def __init__(self, name: str, is_union: bool = False) -> None:
        self.id = 0
        self.name = name
        self.is_union = is_union


class Func(BtfType):
    """A function: ``type_id`` is its :class:`FuncProto`; ``linkage`` is static, global or extern."""

    __slots__ = FIELDS = ("name", "type_id", "linkage")
    kind = KIND_FUNC
    MASK = 1 << KIND_FUNC

    def __init__(self, name: str, type_id: int, linkage: int = LINKAGE_STATIC) -> None:
        self.id = 0
        self.name = name
        self.type_id = type_id
        self.linkage = linkage

    def refs(self) -> tuple[int, ...]:
        """The prototype."""
        return (self.type_id,)

    def with_refs(self, new_id: Callable[[int], int]) -> Func:
        """A copy that mentions the new prototype."""
        return Func(self.name, new_id(self.type_id), self.linkage)


class Param(Record):
    """A parameter. The last one with no name and type 0 stands for ``...``."""

    __slots__ = FIELDS = ("name", "type_id")

    def __init__(self, name: str, type_id: int) -> None:
        self.name = name
        self.type_id = type_id


class FuncProto(BtfType):
    """A function's type: ``type_id`` is what it returns (0 for ``void``)."""

    __slots__ = FIELDS = ("type_id", "params")
    kind = KIND_FUNC_PROTO
    MASK = 1 << KIND_FUNC_PROTO

    def __init__(self, type_id: int, params: Sequence[Param] = ()) -> None:
        self.id = 0
        self.type_id = type_id
        self.params = tuple(params)

    @property
    def variadic(self) -> bool:
        """Whether the last parameter is ``...``."""
        return bool(self.params) and not self.params[-1].type_id and not self.params[-1].name

    def refs(self) -> tuple[int, ...]:
        """Return type, then parameters."""
        return (self.type_id, *[param.type_id for param in self.params])

    def with_refs(self, new_id: Callable[[int], int]) -> FuncProto:
        """A copy that mentions the new ids."""
        result = new_id(self.type_id)
        return FuncProto(result, [Param(p.name, new_id(p.type_id)) for p in self.params])


class Var(BtfType):
    """A variable; ``linkage`` is static, global or extern."""

    __slots__ = FIELDS = ("name", "type_id", "linkage")
    kind = KIND_VAR
    MASK = 1 << KIND_VAR

    def __init__(self, name: str, type_id: int, linkage: int = LINKAGE_GLOBAL) -> None:
        self.id = 0
        self.name = name
        self.type_id = type_id
        self.linkage = linkage

    def refs(self) -> tuple[int, ...]:
        """The variable's type."""
        return (self.type_id,)

    def with_refs(self, new_id: Callable[[int], int]) -> Var:
        """A copy that mentions the new type."""
        return Var(self.name, new_id(self.type_id), self.linkage)


class SecEntry(Record):
    """One variable of a section: a :class:`Var` id (in ``.ksyms`` also a :class:`Func`), byte offset and size."""

    __slots__ = FIELDS = ("type_id", "offset", "size")

    def __init__(self, type_id: int, offset: int, size: int) -> None:
        self.type_id = type_id
        self.offset = offset
        self.size = size


class DataSec(BtfType):
    """A section of variables, such as ``.maps`` or ``.rodata``.

    Compilers leave ``size`` and the entries' offsets 0; the linker or loader fills them in.
    """

    __slots__ = FIELDS = ("name", "size", "entries")
    kind = KIND_DATASEC
    MASK = 1 << KIND_DATASEC

    def __init__(self, name: str, size: int, entries: Sequence[SecEntry] = ()) -> None:
        self.id = 0
        self.name = name
        self.size = size
        self.entries = tuple(entries)

    def refs(self) -> tuple[int, ...]:
        """The variables."""
        return tuple([entry.type_id for entry in self.entries])

    def with_refs(self, new_id: Callable[[int], int]) -> DataSec:
        """A copy that mentions the new ids."""
        return DataSec(self.name, self.size, [SecEntry(new_id(e.type_id), e.offset, e.size) for e in self.entries])


class DeclTag(BtfType):
    """A ``btf_decl_tag``: the text ``name`` on the declaration ``type_id``.

    ``component`` is the index of the tagged member or parameter, -1 for the declaration itself.
    ``attribute`` is set when the text is a whole ``__attribute__`` rather than a tag (Linux 6.14).
    """

    __slots__ = FIELDS = ("name", "type_id", "component", "attribute")
    kind = KIND_DECL_TAG
    MASK = 1 << KIND_DECL_TAG

    def __init__(self, name: str, type_id: int, component: int = -1, attribute: bool = False) -> None:
        self.id = 0
        self.name = name
        self.type_id = type_id
        self.component = component
        self.attribute = attribute

    def refs(self) -> tuple[int, ...]:
        """The tagged declaration."""
        return (self.type_id,)

    def with_refs(self, new_id: Callable[[int], int]) -> DeclTag:
        """A copy that mentions the new declaration."""
        return DeclTag(self.name, new_id(self.type_id), self.component, self.attribute)


VOID = Void()

ALL_KINDS: tuple[type[BtfType], ...] = (
    Void,
    Int,
    Ptr,
    Array,
    Struct,
    Union,
    Enum,
    Fwd,
    Typedef,
    Volatile,
    Const,
    Restrict,
    Func,
    FuncProto,
    Var,
    DataSec,
    Float,
    DeclTag,
    TypeTag,
    Enum64,
)
"""The class of each kind, by number."""
