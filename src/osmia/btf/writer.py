"""Writing BTF: types are added one by one, equal ones are kept once, and the whole becomes bytes."""

from __future__ import annotations

import sys
from struct import Struct as Layout
from struct import pack

from osmia.btf.check import problem_of
from osmia.btf.encode import encode
from osmia.btf.raw import HEADER_SIZE, MAGIC, VERSION
from osmia.btf.reader import Btf
from osmia.btf.types import BtfType, Composite, Fwd, Modifier, Ptr, Union, Void
from osmia.diagnostics import BtfError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_HEADERS = {"little": Layout("<HBBIIIII"), "big": Layout(">HBBIIIII")}
MAX_TYPE_ID = 0xFFFFF
MAX_STRING = 0xFFFFFF


class BtfBuilder:
    """Collects types and strings and emits a ``.BTF`` section.

    Ids are given out in order, from 1, or on top of ``base`` for split BTF. Types mention each other by
    the ids that :meth:`add` returned; a recursive struct is first declared, then defined.

    :param base: the BTF that the new one extends; its strings and ids are used, its types never repeated
        under new ids by :meth:`copy`.
    :param byteorder: ``little`` or ``big``; the base's, else the machine's.
    """

    def __init__(self, base: Btf | None = None, byteorder: str | None = None) -> None:
        self.base = base
        self.byteorder = byteorder or (base.byteorder if base else sys.byteorder)
        self.first_id = base.end_id if base else 1
        self._types: list[BtfType | None] = []
        self._declared: dict[int, tuple[type[BtfType], str]] = {}
        self._known: dict[BtfType, int] = {}
        self._strings: dict[str, int] = {"": 0}
        self._text = bytearray(b"" if base else b"\0")
        self._shift = base.str_end if base else 0
        self._copied: dict[tuple[int, int, bool], int] = {}
        self._sources: list[Btf] = []

    @classmethod
    def from_btf(cls, btf: Btf) -> BtfBuilder:
        """A builder that holds all of a blob's own types under the same ids, to change some of them.

        :raises BtfError: the blob is malformed.
        """
        builder = cls(btf.base, btf.byteorder)
        for found in btf.own_types():
            type_id = builder.end_id
            builder._types.append(found)
            builder._known.setdefault(found, type_id)
        return builder

    @property
    def end_id(self) -> int:
        """One more than the last id given out."""
        return self.first_id + len(self._types)

    # -- strings -------------------------------------------------------------------------------------------

    def string(self, text: str) -> int:
        """The offset of a string, which is added if it is new.

        :raises BtfError: ``BTF050`` the text contains NUL or is no Unicode.
        """
        offset = self._strings.get(text)
        if offset is None:
            encoded = _encoded(text)
            offset = self._base_offset(encoded)
            if offset is None:
                offset = self._shift + len(self._text)
                self._text += encoded + b"\0"
            self._strings[text] = offset
        return offset

    def _base_offset(self, text: bytes) -> int | None:
        offsets = self.base._string_offsets(text, True) if self.base else ()
        return min(offsets) if offsets else None

    # -- types ---------------------------------------------------------------------------------------------

    def add(self, found: BtfType) -> int:
        """The id of a type, which is added unless an equal one is there.

        Equal means equal in every field and every mentioned id. ``Void`` is id 0.

        :raises BtfError: ``BTF050`` a field that BTF cannot express.
        """
        if isinstance(found, Void):
            return 0
        known = self._known.get(found)
        if known is not None:
            return known
        _refuse_problem(found)
        type_id = self.end_id
        self._types.append(found)
        self._known[found] = type_id
        return type_id

    def declare(self, kind: type[BtfType], name: str = "") -> int:
        """Give out an id for a type that :meth:`define` will supply, so that others can mention it."""
        type_id = self.end_id
        self._types.append(None)
        self._declared[type_id] = (kind, name)
        return type_id

    def define(self, type_id: int, found: BtfType) -> int:
        """Supply a declared type; returns its id.

        :raises BtfError: ``BTF051`` the id was not declared, or for another kind or name; ``BTF050`` as
            for :meth:`add`.
        """
        declared = self._declared.get(type_id)
        if declared is None:
            raise BtfError(
                "BTF051", f"type #{type_id} was not declared", hint="call declare() first, then define() once"
            )
        kind, name = declared
        if type(found) is not kind or found.name != name:
            raise BtfError(
                "BTF051",
                f"type #{type_id} was declared as {kind.__name__} {name!r}, "
                f"not as {type(found).__name__} {found.name!r}",
                hint="define each declared id as what it was declared",
            )
        _refuse_problem(found)
        del self._declared[type_id]
        self._types[type_id - self.first_id] = found
        self._known.setdefault(found, type_id)
        return type_id

    def replace(self, type_id: int, found: BtfType) -> None:
        """Put another type in the place of one, such as a section whose size is known by now.

        :raises BtfError: ``BTF051`` there is no own type with this id; ``BTF050`` as for :meth:`add`.
        """
        old = self.get(type_id)
        _refuse_problem(found)
        if self._known.get(old) == type_id:
            del self._known[old]
        self._types[type_id - self.first_id] = found
        self._known.setdefault(found, type_id)

    def get(self, type_id: int) -> BtfType:
        """The type added under an id.

        :raises BtfError: ``BTF051`` there is no own type with this id, or it is declared only.
        """
        index = type_id - self.first_id
        found = self._types[index] if 0 <= index < len(self._types) else None
        if found is None:
            raise BtfError(
                "BTF051",
                f"there is no type #{type_id} in this builder",
                hint=f"ids run from {self.first_id} to {self.end_id - 1}; declared types must be defined",
            )
        return found

    def find(self, name: str, kind: type[BtfType] = BtfType) -> int | None:
        """The id of the first own type with a name, if there is one."""
        for type_id, found in enumerate(self._types, self.first_id):
            if found is not None and found.name == name and kind.MASK >> found.kind & 1:
                return type_id
        return None

    # -- copying -------------------------------------------------------------------------------------------

    def copy(self, source: Btf, type_id: int, *, through_pointers: bool = True) -> int:
        """Add a type of another BTF and everything it mentions; returns its id here.

        A struct equals another only if all that it mentions has equal ids, so recursive structs of two
        sources are kept apart.

        :param through_pointers: when false, structs and unions that are only pointed to become forward
            declarations (anonymous ones ``void``), which keeps the closure of a kernel struct small.
        :raises BtfError: the source is malformed: ``BTF006`` to ``BTF010``.
        """
        if self.base is not None and (source is self.base or _is_under(self.base, source)):
            return type_id
        if source not in self._sources:
            self._sources.append(source)
        return _Copier(self, source, through_pointers).copy(type_id)

    # -- the result ----------------------------------------------------------------------------------------

    def to_bytes(self) -> bytes:
        """The whole as a ``.BTF`` section.

        :raises BtfError: ``BTF051`` a declared type was never defined, or a mentioned id does not exist;
            ``BTF009``, ``BTF010``, ``BTF021`` types that do not fit together.
        """
        if self._declared:
            listed = ", ".join([f"{name or 'anonymous'} (#{type_id})" for type_id, (_, name) in self._declared.items()])
            raise BtfError("BTF051", f"declared but not defined: {listed}", hint="call define() for each declared id")
        words: list[int] = []
        for type_id, found in enumerate(self._types, self.first_id):
            if found is None:
                continue
            for ref in found.refs():
                if not 0 <= ref < self.end_id:
                    raise BtfError(
                        "BTF051",
                        f"{found.kind_name} {found.name or '(anonymous)'} (#{type_id}) mentions type #{ref}, "
                        f"ids end at {self.end_id - 1}",
                        hint="mention only ids that this builder, or its base, gave out",
                    )
            words += encode(found, self.string)
        order = "<" if self.byteorder == "little" else ">"
        types = pack(f"{order}{len(words)}I", *words)
        text = bytes(self._text)
        if self.end_id - 1 > MAX_TYPE_ID or self._shift + len(text) > MAX_STRING:
            raise BtfError(
                "BTF050",
                f"{self.end_id - 1} types with {self._shift + len(text)} bytes of strings are too many",
                hint=f"the kernel takes {MAX_TYPE_ID} types and {MAX_STRING} bytes of strings",
            )
        head = _HEADERS[self.byteorder].pack(MAGIC, VERSION, 0, HEADER_SIZE, 0, len(types), len(types), len(text))
        result = b"".join((head, types, text))
        Btf.from_bytes(result, self.base).validate()
        return result

    def build(self) -> Btf:
        """The whole as a readable :class:`~osmia.btf.reader.Btf`.

        :raises BtfError: as :meth:`to_bytes`.
        """
        return Btf.from_bytes(self.to_bytes(), self.base)


def _encoded(text: str) -> bytes:
    try:
        encoded = text.encode()
    except UnicodeEncodeError:
        encoded = b"\0"
    if b"\0" in encoded:
        raise BtfError("BTF050", f"the string {text!r} cannot be stored", hint="BTF strings are UTF-8 without NUL")
    return encoded


def _refuse_problem(found: BtfType) -> None:
    problem = problem_of(found)
    if problem:
        raise BtfError(
            "BTF050",
            f"{found.kind_name} {found.name or '(anonymous)'} cannot be written: {problem}",
            hint="change the type; these are the limits of the format and of the kernel's check",
        )


def _is_under(btf: Btf, source: Btf) -> bool:
    base = btf.base
    while base is not None:
        if base is source:
            return True
        base = base.base
    return False


class _Copier:
    """One copy: depth-first, children before parents; a type that is met below itself is declared first.

    Written without recursion, since chains of types can be as long as the source likes.
    """

    def __init__(self, builder: BtfBuilder, source: Btf, through_pointers: bool) -> None:
        self.builder = builder
        self.source = source
        self.number = builder._sources.index(source)
        self.deep = through_pointers
        self.done = builder._copied
        shared = builder.base is not None and source.base is builder.base
        self.same_until = source.base_end_id if shared else 1

    def key(self, type_id: int, pointed: bool) -> tuple[int, int, bool]:
        """What is copied: a source's type, as itself or (shallow copies) as the target of a pointer."""
        return (self.number, type_id, pointed and not self.deep)

    def copy(self, type_id: int) -> int:
        pending: list[tuple[int, bool, bool]] = [(type_id, False, False)]
        open_: dict[tuple[int, int, bool], int] = {}
        structs = 0
        while pending:
            current, pointed, finish = pending.pop()
            key = self.key(current, pointed)
            found = self.source.by_id(current)
            if finish:
                structs = open_.pop(key)
                self.finish(key, found)
            elif current < self.same_until or key in self.done or self.outline(key, found):
                pass
            elif key in open_:
                if structs == open_[key]:  # a circle without any struct on it
                    raise BtfError(
                        "BTF010", f"{found.kind_name} #{current} is defined by itself", hint="the source is corrupt"
                    )
                self.done[key] = self.builder.declare(type(found), found.name)
            else:
                open_[key] = structs
                structs += isinstance(found, Composite)
                pending.append((current, pointed, True))
                pending += [(ref, inside, False) for ref, inside in reversed(self.targets(found, pointed))]
        return self.id_here(type_id, False)

    def id_here(self, type_id: int, pointed: bool) -> int:
        """The id in the builder of a type that has been copied, or is shared."""
        return type_id if type_id < self.same_until else self.done[self.key(type_id, pointed)]

    def targets(self, found: BtfType, pointed: bool) -> list[tuple[int, bool]]:
        """The mentioned types, each with whether it stands behind a pointer."""
        inside = isinstance(found, Ptr) or (pointed and isinstance(found, Modifier))
        return [(ref, inside) for ref in found.refs()]

    def outline(self, key: tuple[int, int, bool], found: BtfType) -> bool:
        """In a shallow copy, add a pointed-to struct as a forward declaration; whether that was done."""
        if not key[2] or not isinstance(found, Composite):
            return False
        self.done[key] = self.builder.add(Fwd(found.name, isinstance(found, Union))) if found.name else 0
        return True

    def finish(self, key: tuple[int, int, bool], found: BtfType) -> None:
        pointed = dict(self.targets(found, key[2]))

        def new_id(ref: int) -> int:
            return self.id_here(ref, pointed[ref])

        copied = found.with_refs(new_id)
        if key in self.done:
            self.builder.define(self.done[key], copied)
        else:
            self.done[key] = self.builder.add(copied)


def subset(source: Btf, type_ids: Iterable[int], *, through_pointers: bool = False) -> tuple[Btf, dict[int, int]]:
    """A small BTF with only some types of another and what they need.

    :returns: the new BTF, and the new id of each of ``type_ids``.
    :raises BtfError: the source is malformed.
    """
    builder = BtfBuilder(byteorder=source.byteorder)
    ids = {type_id: builder.copy(source, type_id, through_pointers=through_pointers) for type_id in type_ids}
    return builder.build(), ids
