# ruff: noqa: F811 - overloads, without importing typing
"""Reading BTF: look-ups by id and by name that decode only what is asked for."""

from __future__ import annotations

from osmia.btf.decode import decode
from osmia.btf.raw import TypeIndex, build_index, parse_header, scan_types, words_of
from osmia.btf.types import (
    KIND_ENUM,
    KIND_ENUM64,
    KIND_NAMES,
    VOID,
    AnyEnum,
    BtfType,
    DeclTag,
    Func,
    FuncProto,
    Int,
)
from osmia.diagnostics import BtfError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any, TypeVar, overload

    from osmia.btf.index_file import IndexStore
    from osmia.btf.layout import FlatMember, MemberPlace
    from osmia.btf.raw import Buffer
    from osmia.btf.types import Enumerator

    T = TypeVar("T", bound=BtfType)
else:

    def overload(function):
        """At run time an overload's signature is nothing."""
        return function


_ANY = BtfType.MASK
_SEARCHES = 24
_ENUMS = 1 << KIND_ENUM | 1 << KIND_ENUM64


def essential_name(name: str) -> str:
    """A type's name without its CO-RE flavor: ``task_struct`` for ``task_struct___old``.

    The flavor starts at the last three underscores that stand between two other characters.
    """
    at = len(name) - 5
    while at >= 0:
        if name[at + 1 : at + 4] == "___" and name[at] != "_" and name[at + 4] != "_":
            return name[: at + 1]
        at -= 1
    return name


class Btf:
    """The types of one BTF blob, on top of those of ``base`` for split BTF.

    Ids count on from the base's last id. Looking up a name that the base has gives the base's types as
    well. Types are decoded when first asked for and then kept.

    ``kind`` arguments take a class of :mod:`osmia.btf.types`: a kind, or a base class such as
    ``Composite`` that stands for several.
    """

    __slots__ = (
        "_data",
        "_enumerators",
        "_header",
        "_ids",
        "_index",
        "_pointer_size",
        "_searches",
        "_starts",
        "_store",
        "_tags",
        "_texts",
        "_types",
        "_words",
        "base",
        "base_end_id",
        "base_str_len",
        "byteorder",
    )

    def __init__(
        self, data: Buffer, base: Btf | None = None, *, store: IndexStore | None = None, pointer_size: int | None = None
    ) -> None:
        """Read the header; the records are walked at the first look-up. Most callers want :meth:`from_bytes`.

        :param store: where the index of a large blob is kept between processes.
        :param pointer_size: bytes of a pointer, if known.
        """
        self._data = data
        self._header = parse_header(data, split=base is not None)
        self._words = words_of(data, self._header)
        self._store = store
        self._index: TypeIndex | None = None
        self._starts: Sequence[int] | None = None
        self._types: dict[int, BtfType] = {0: VOID}
        self._ids: dict[str, list[int]] = {}
        self._enumerators: dict[int, list[int]] | None = None
        self._searches = 0
        self._texts: dict[bytes, list[int]] | None = None
        self._tags: dict[int, list[int]] | None = None
        self.base = base
        self.byteorder = self._header.byteorder
        if base is not None and base.byteorder != self.byteorder:
            raise BtfError(
                "BTF003",
                f"the split BTF is {self.byteorder}-endian, its base is {base.byteorder}-endian",
                hint="pass the base that this data was made for",
            )
        self.base_end_id = base.end_id if base else 1
        self.base_str_len = base.str_end if base else 0
        self._pointer_size = pointer_size or 0

    @classmethod
    def from_bytes(
        cls, data: bytes | bytearray | memoryview, base: Btf | None = None, *, pointer_size: int | None = None
    ) -> Btf:
        """Read the contents of a ``.BTF`` section and check that all its records are whole.

        Strings, ids and values are checked when a type is decoded, or all at once by :meth:`validate`.

        :raises BtfError: ``BTF001`` to ``BTF007``.
        """
        btf = cls(bytes(data), base, pointer_size=pointer_size)
        btf.starts  # noqa: B018 - the walk over the records
        return btf

    @classmethod
    def from_file(cls, path: str, base: Btf | None = None) -> Btf:
        """Read a file of raw BTF (not ELF), such as ``/sys/kernel/btf/vmlinux``.

        :raises BtfError: ``BTF031`` when the file cannot be read, else as :meth:`from_bytes`.
        """
        try:
            with open(path, "rb") as file:
                data = file.read()
        except OSError as error:
            raise BtfError(
                "BTF031", f"cannot read {path}: {error.strerror}", hint="check the path and its permissions"
            ) from None
        return cls.from_bytes(data, base)

    # -- sizes and raw access ------------------------------------------------------------------------------

    @property
    def end_id(self) -> int:
        """One more than the last id."""
        return self.base_end_id + len(self.starts)

    @property
    def str_end(self) -> int:
        """One more than the last string offset."""
        return self.base_str_len + self._header.str_len

    @property
    def pointer_size(self) -> int:
        """Bytes of a pointer: as given, else the base's, else the size of C's ``long``, else 8."""
        if not self._pointer_size:
            size = self.base.pointer_size if self.base else 0
            for name in ("long unsigned int", "unsigned long", "long int", "long"):
                if size:
                    break
                for type_id in self.ids_by_name(name, Int):
                    found = self.by_id(type_id)
                    if isinstance(found, Int) and found.size in (4, 8):
                        size = found.size
            self._pointer_size = size or 8
        return self._pointer_size

    @property
    def raw(self) -> Buffer:
        """The blob itself."""
        return self._data

    @property
    def starts(self) -> Sequence[int]:
        """The word positions of this blob's own records."""
        starts = self._starts
        if starts is None:
            index = self._store.load(self._header, self._words) if self._store else None
            if index is not None:
                self._index = index
                starts = index.starts
            else:
                starts = scan_types(self._words, self._header.type_start, self.base_end_id)
            self._starts = starts
        return starts

    def string(self, offset: int, lossy: bool = False) -> str:
        """The string at an offset of the string section (the base's strings come first).

        :param lossy: replace what is not UTF-8, as may occur in source lines, instead of raising.
        :raises BtfError: ``BTF006`` an offset outside, ``BTF007`` bytes that are not UTF-8.
        """
        own = offset - self.base_str_len
        if own < 0:
            if self.base is None or offset < 0:
                raise self._no_string(offset)
            return self.base.string(offset, lossy)
        header = self._header
        if own >= header.str_len:
            if not offset:
                return ""
            raise self._no_string(offset)
        start = header.str_start + own
        text = self._data[start : self._data.find(b"\0", start)]
        try:
            return text.decode(errors="replace" if lossy else "strict")
        except UnicodeDecodeError:
            raise BtfError(
                "BTF007", f"the string at offset {offset} is not UTF-8: {text!r}", hint="the data is corrupt"
            ) from None

    def _no_string(self, offset: int) -> BtfError:
        return BtfError(
            "BTF006",
            f"string offset {offset} is outside of the string section, which has {self.str_end} bytes",
            hint="the data is corrupt, or this is split BTF read without its base",
        )

    def _position(self, type_id: int) -> tuple[Btf, int]:
        owner = self
        while type_id < owner.base_end_id and owner.base is not None:
            owner = owner.base
        index = type_id - owner.base_end_id
        if index < 0 or index >= len(owner.starts):
            raise BtfError(
                "BTF008",
                f"type id {type_id} does not exist, ids end at {self.end_id - 1}",
                hint="ids belong to one BTF object; a module's ids need the module's",
            )
        return owner, owner.starts[index]

    # -- single types --------------------------------------------------------------------------------------

    def by_id(self, type_id: int) -> BtfType:
        """The type with an id; 0 is ``void``.

        :raises BtfError: ``BTF008`` there is no such id; ``BTF006``, ``BTF007``, ``BTF009`` its record is bad.
        """
        found = self._types.get(type_id)
        if found is not None:
            return found
        owner, start = self._position(type_id)
        if owner is not self:
            return owner.by_id(type_id)
        try:
            found = decode(self, self._words, start)
        except BtfError as error:
            kind = KIND_NAMES[self._words[start + 1] >> 24 & 0x1F]
            where = self._header.type_start + start * 4
            raise BtfError(error.code, f"{kind} #{type_id} at byte {where}: {error.message}", hint=error.hint) from None
        found.id = type_id
        self._types[type_id] = found
        return found

    def kind_of(self, type_id: int) -> int:
        """The kind number of a type, without decoding it."""
        if not type_id:
            return 0
        owner, start = self._position(type_id)
        return owner._words[start + 1] >> 24 & 0x1F

    def name_of(self, type_id: int) -> str:
        """The name of a type, without decoding the rest; empty when it has none."""
        if not type_id:
            return ""
        owner, start = self._position(type_id)
        return owner.string(owner._words[start])

    # -- names ---------------------------------------------------------------------------------------------

    def ids_by_name(self, name: str, kind: type[BtfType] = BtfType) -> list[int]:
        """The ids of all types with exactly this name, ascending. Decodes nothing."""
        found = self._ids.get(name)
        if found is None:
            found = self.base.ids_by_name(name)[:] if self.base else []
            if name:
                index = self.index
                for offset in self._name_offsets(name.encode(errors="surrogateescape")):
                    found += [self.base_end_id + place for place in index.find(self._words, offset)]
            found.sort()
            self._ids[name] = found
        if kind.MASK == _ANY:
            return list(found)
        return [type_id for type_id in found if kind.MASK >> self.kind_of(type_id) & 1]

    @overload
    def all_by_name(self, name: str) -> list[BtfType]: ...
    @overload
    def all_by_name(self, name: str, kind: type[T]) -> list[T]: ...
    def all_by_name(self, name: str, kind: type[BtfType] = BtfType) -> list[Any]:
        """All types with exactly this name, by id."""
        return [self.by_id(type_id) for type_id in self.ids_by_name(name, kind)]

    @overload
    def find(self, name: str) -> BtfType | None: ...
    @overload
    def find(self, name: str, kind: type[T]) -> T | None: ...
    def find(self, name: str, kind: type[BtfType] = BtfType) -> Any:
        """The first type with exactly this name, if there is one."""
        ids = self.ids_by_name(name, kind)
        return self.by_id(ids[0]) if ids else None

    @overload
    def by_name(self, name: str) -> BtfType: ...
    @overload
    def by_name(self, name: str, kind: type[T]) -> T: ...
    def by_name(self, name: str, kind: type[BtfType] = BtfType) -> Any:
        """The first type with exactly this name.

        :raises BtfError: ``BTF020`` there is none; the hint has the nearest names.
        """
        found = self.find(name, kind)
        if found is not None:
            return found
        what = "type" if kind is BtfType else kind.__name__.lower()
        others = self.ids_by_name(name)
        if others:
            hint = f"{name} is a {KIND_NAMES[self.kind_of(others[0])]} here"
        else:
            near = self.nearest_names(name, kind)
            hint = f"did you mean {', '.join(near)}?" if near else "the running kernel may be built without it"
        raise BtfError("BTF020", f"there is no {what} named {name!r}", hint=hint)

    def candidates(self, name: str, kind: type[BtfType] = BtfType) -> list[int]:
        """The ids of all types named ``name`` or ``name___FLAVOR``, ascending: what CO-RE may match.

        ``name`` itself must come without flavor.
        """
        found = self.ids_by_name(name, kind)
        if not name:
            return found
        prefix = name.encode(errors="surrogateescape") + b"___"
        for spelled in self._strings_with_prefix(prefix):
            flavored = spelled.decode(errors="surrogateescape")
            if flavored != name and essential_name(flavored) == name:
                found += self.ids_by_name(flavored, kind)
        return sorted(found)

    def nearest_names(self, name: str, kind: type[BtfType] = BtfType, count: int = 3) -> list[str]:
        """Names of types like ``name``, the nearest first; for hints, takes some 200 ms on a kernel."""
        from osmia.btf.nearest import nearest

        names: set[bytes] = set()
        blob: Btf | None = self
        while blob is not None:
            names.update([text for text, _ in blob._own_names(kind.MASK)])
            blob = blob.base
        return nearest(name, names, count)

    @property
    def index(self) -> TypeIndex:
        """The index of this blob's own names; built, or read from the store, when first needed."""
        starts = self.starts
        index = self._index
        if index is None:
            index = self._index = build_index(self._words, starts, self._start_strings)
            if self._store is not None:
                self._store.save(self._header, index)
        return index

    def _start_strings(self, offsets: Sequence[int]) -> bool:
        """Whether every offset is the start of a string.

        :raises BtfError: ``BTF006`` an offset outside of the section.
        """
        from operator import itemgetter

        shift = self.base_str_len
        if self.base is not None:
            if not self.base._start_strings([offset for offset in offsets if offset < shift]):
                return False
            offsets = [offset - shift for offset in offsets if offset > shift]
        if not offsets:
            return True
        start = self._header.str_start
        before = memoryview(self._data)[start - 1 : start - 1 + self._header.str_len]
        try:
            return not any(itemgetter(*offsets, offsets[0])(before))
        except IndexError:
            raise self._no_string(max(offsets) + shift) from None

    def _name_offsets(self, name: bytes) -> list[int]:
        """Every offset at which a name of an own type reads ``name``.

        The first few look-ups search the strings (some 2 ms for a kernel); from then on a dictionary pays.
        """
        texts = self._texts
        if texts is None:
            if self._searches < _SEARCHES:
                self._searches += 1
                return self._string_offsets(name, self.index.aligned)
            texts = {}
            for text, offset in self._own_names(_ANY):
                texts.setdefault(text, []).append(offset)
            self._texts = texts
        return texts.get(name, [])

    def _string_offsets(self, name: bytes, whole: bool) -> list[int]:
        """Every string offset that reads ``name``: of whole strings only, or of ends of strings as well."""
        offsets = self.base._string_offsets(name, whole) if self.base else []
        header, data = self._header, self._data
        start, end = header.str_start, header.str_start + header.str_len
        shift = self.base_str_len - start
        pattern = b"\0" + name + b"\0" if whole else name + b"\0"
        if whole and data[start : start + len(name) + 1] == name + b"\0":
            offsets.append(start + shift)
        place = data.find(pattern, start, end)
        while place >= 0:
            offsets.append(place + whole + shift)
            place = data.find(pattern, place + 1, end)
        return offsets

    def _strings_with_prefix(self, prefix: bytes) -> set[bytes]:
        found = self.base._strings_with_prefix(prefix) if self.base else set()
        header, data = self._header, self._data
        start, end = header.str_start, header.str_start + header.str_len
        place = data.find(prefix, start, end)
        while place >= 0:
            found.add(data[place : data.find(b"\0", place)])
            place = data.find(prefix, place + 1, end)
        return found

    def _own_names(self, mask: int) -> Iterator[tuple[bytes, int]]:
        """The names of this blob's own types of some kinds, each offset once."""
        words = self._words
        offsets = {words[start] for start in self.starts if mask >> (words[start + 1] >> 24 & 0x1F) & 1}
        offsets.discard(0)
        data, shift, end = self._data, self._header.str_start - self.base_str_len, self.str_end
        for offset in offsets:
            if self.base_str_len <= offset < end:
                start = offset + shift
                yield data[start : data.find(b"\0", start)], offset
            else:
                yield self.string(offset, lossy=True).encode(), offset

    # -- many types ----------------------------------------------------------------------------------------

    def ids_of_kind(self, kind: type[BtfType]) -> list[int]:
        """The ids of all types of a kind, ascending. Decodes nothing."""
        ids = self.base.ids_of_kind(kind) if self.base else []
        infos = self._words[1:]
        first, mask = self.base_end_id, kind.MASK
        return ids + [i for i, start in enumerate(self.starts, first) if mask >> (infos[start] >> 24 & 0x1F) & 1]

    def of_kind(self, kind: type[T]) -> Iterator[T]:
        """All types of a kind, by id."""
        for type_id in self.ids_of_kind(kind):
            yield self.by_id(type_id)  # type: ignore[misc]

    def __iter__(self) -> Iterator[BtfType]:
        """All types but ``void``, the base's first."""
        return map(self.by_id, range(1, self.end_id))

    def own_types(self) -> Iterator[BtfType]:
        """The types of this blob alone, without its base's."""
        return map(self.by_id, range(self.base_end_id, self.end_id))

    def decl_tags(self, type_id: int) -> list[DeclTag]:
        """The declaration tags on a type, its members and its parameters."""
        tags = self._tags
        if tags is None:
            tags = {}
            for tag in self.ids_of_kind(DeclTag):
                owner, start = self._position(tag)
                tags.setdefault(owner._words[start + 2], []).append(tag)
            self._tags = tags
        return [self.by_id(tag) for tag in tags.get(type_id, ())]  # type: ignore[misc]

    # -- functions and enumerators -------------------------------------------------------------------------

    def func(self, name: str) -> tuple[Func, FuncProto]:
        """A function and its prototype, by the function's name.

        :raises BtfError: ``BTF020`` there is no such function; ``BTF009`` its type is no prototype.
        """
        function = self.by_name(name, Func)
        return function, self.proto_of(function)

    def proto_of(self, function: Func) -> FuncProto:
        """The prototype of a function.

        :raises BtfError: ``BTF009`` its type is something else.
        """
        proto = self.by_id(function.type_id)
        if not isinstance(proto, FuncProto):
            raise BtfError(
                "BTF009",
                f"function {function.name!r} (#{function.id}) has a {proto.kind_name} (#{proto.id}) for its type",
                hint="the data is corrupt; read or build it again",
            )
        return proto

    def find_enumerators(self, name: str) -> list[tuple[AnyEnum, Enumerator]]:
        """All enumerators with this name, each with its enum, by the enum's id.

        The first search indexes all enumerators (some 30 ms for a kernel).
        """
        found = list(self.base.find_enumerators(name)) if self.base else []
        if not name:
            return found
        index = self._enumerator_index()
        ids: set[int] = set()
        for offset in self._string_offsets(name.encode(errors="surrogateescape"), False):
            ids.update(index.get(offset, ()))
        enums = [self.by_id(type_id) for type_id in sorted(ids)]
        return found + [(e, v) for e in enums if isinstance(e, AnyEnum) for v in e.values if v.name == name]

    def _enumerator_index(self) -> dict[int, list[int]]:
        """The ids of this blob's own enums, by the name offsets of their enumerators."""
        index = self._enumerators
        if index is None:
            index = {}
            words = self._words
            infos = words[1:]
            for type_id, start in enumerate(self.starts, self.base_end_id):
                info = infos[start]
                kind = info >> 24 & 0x1F
                if _ENUMS >> kind & 1:
                    step = 2 if kind == KIND_ENUM else 3
                    for name in words[start + 3 : start + 3 + step * (info & 0xFFFF)].tolist()[::step]:
                        index.setdefault(name, []).append(type_id)
            self._enumerators = index
        return index

    def find_enumerator(self, name: str) -> tuple[AnyEnum, Enumerator]:
        """The first enumerator with this name, with its enum.

        :raises BtfError: ``BTF026`` there is none.
        """
        found = self.find_enumerators(name)
        if not found:
            near = self._near_enumerators(name)
            hint = f"did you mean {', '.join(near)}?" if near else "constants made by #define are not in BTF"
            raise BtfError("BTF026", f"there is no enumerator named {name!r}", hint=hint)
        return found[0]

    def enum_value(self, name: str) -> int:
        """The value of an enumerator.

        :raises BtfError: ``BTF026`` there is none.
        """
        return self.find_enumerator(name)[1].value

    def _near_enumerators(self, name: str) -> list[str]:
        from osmia.btf.nearest import nearest

        names = {value.name.encode() for enum in self.of_kind(AnyEnum) for value in enum.values}
        return nearest(name, names, 3)

    # -- layout and text, see osmia.btf.layout and osmia.btf.text ------------------------------------------

    def resolve(self, of: BtfType | int) -> BtfType:
        """The type below all typedefs, qualifiers and type tags; see :func:`osmia.btf.layout.resolve`."""
        from osmia.btf.layout import resolve

        return resolve(self, of)

    def sizeof(self, of: BtfType | int) -> int:
        """The size of a type in bytes; see :func:`osmia.btf.layout.sizeof`."""
        from osmia.btf.layout import sizeof

        return sizeof(self, of)

    def alignof(self, of: BtfType | int) -> int:
        """The alignment of a type in bytes; see :func:`osmia.btf.layout.alignof`."""
        from osmia.btf.layout import alignof

        return alignof(self, of)

    def find_member(self, of: BtfType | int, path: str) -> MemberPlace:
        """Where the member at ``path`` (``a.b[2].c``) lies; see :func:`osmia.btf.layout.find_member`."""
        from osmia.btf.layout import find_member

        return find_member(self, of, path)

    def flat_members(self, of: BtfType | int) -> Iterator[FlatMember]:
        """All named members with their places; see :func:`osmia.btf.layout.flat_members`."""
        from osmia.btf.layout import flat_members

        return flat_members(self, of)

    def c_type_name(self, of: BtfType | int) -> str:
        """A type as C writes it, ``struct page *``; see :func:`osmia.btf.text.c_type_name`."""
        from osmia.btf.text import c_type_name

        return c_type_name(self, of)

    def c_declare(self, of: BtfType | int, name: str) -> str:
        """A declaration in C, ``char comm[16]``; see :func:`osmia.btf.text.c_declare`."""
        from osmia.btf.text import c_declare

        return c_declare(self, of, name)

    def c_dump(self, of: BtfType | int, offsets: bool = False) -> str:
        """A type's definition in C; see :func:`osmia.btf.text.c_dump`."""
        from osmia.btf.text import c_dump

        return c_dump(self, of, offsets)

    def validate(self) -> None:
        """Check this blob's own types in full; see :func:`osmia.btf.check.validate`."""
        from osmia.btf.check import validate

        validate(self)
