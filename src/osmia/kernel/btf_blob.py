"""A collection's BTF in the form the kernel loads, and the function and line records that go with programs.

What stands for the kernel's own things (``extern`` functions and variables) is not valid in a loaded BTF object: it
becomes plain variables and global functions. Texts that lines refer to are looked up in the blob's strings, and added
where they are missing.
"""

from __future__ import annotations

from struct import Struct, pack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from osmia.object.spec import ProgramSpec

_HEADER = Struct("=HBBIIIII")
_TYPE = Struct("=III")
_TRIPLE = Struct("=III")
_LINE = Struct("=IIII")
_FUNC = Struct("=II")
_MAGIC = 0xEB9F
_WIDE_LOAD = 0x18
_MAX_COLUMN, _MAX_LINE = 1023, (1 << 22) - 1
_INT, _ARRAY, _STRUCT, _UNION, _ENUM, _FUNC_KIND, _PROTO, _VAR, _DATASEC = 1, 3, 4, 5, 6, 12, 13, 14, 15
_DECL_TAG, _ENUM64 = 17, 19
_FIXED = {_INT: 4, _ARRAY: 12, _VAR: 4, _DECL_TAG: 4}
_PER_MEMBER = {_STRUCT: 12, _UNION: 12, _ENUM: 8, _PROTO: 8, _DATASEC: 12, _ENUM64: 12}
_EXTERN, _GLOBAL = 2, 1


class BtfBlob:
    """The blob under construction."""

    def __init__(self, data: bytes) -> None:
        magic, _, _, header, type_at, type_size, str_at, str_size = _HEADER.unpack_from(data)
        if magic != _MAGIC or header + max(type_at + type_size, str_at + str_size) > len(data):
            raise ValueError("not BTF of this machine's byte order")
        self.types = bytearray(data[header + type_at : header + type_at + type_size])
        self.strings = bytearray(data[header + str_at : header + str_at + str_size])
        self._offsets: dict[bytes, int] | None = None
        self._original = data
        self._changed = False

    def string(self, text: str) -> int:
        """The offset of a string, which is added if it is not there."""
        if self._offsets is None:
            self._offsets = {}
            at = 0
            for piece in bytes(self.strings).split(b"\0"):
                self._offsets.setdefault(piece, at)
                at += len(piece) + 1
        # The kernel wants strings without control characters.
        key = "".join(char if char.isprintable() or char == " " else " " for char in text).encode("utf-8", "replace")
        found = self._offsets.get(key)
        if found is None:
            found = self._offsets[key] = len(self.strings)
            self.strings += key + b"\0"
            self._changed = True
        return found

    def finish(self) -> bytes:
        """The blob to load."""
        self._own_externs()
        if not self._changed:
            return self._original
        header = _HEADER.pack(_MAGIC, 1, 0, 24, 0, len(self.types), len(self.types), len(self.strings))
        return header + bytes(self.types) + bytes(self.strings)

    def _records(self) -> Iterator[tuple[int, int, int, int]]:
        """Position, name, kind and member count of every type."""
        at, end = 0, len(self.types)
        while at + 12 <= end:
            name, info, _ = _TYPE.unpack_from(self.types, at)
            kind, count = info >> 24 & 0x1F, info & 0xFFFF
            yield at, name, kind, count
            at += 12 + _FIXED.get(kind, 0) + _PER_MEMBER.get(kind, 0) * count

    def _own_externs(self) -> None:
        if b"\0.ksyms\0" not in self.strings and b"\0.kconfig\0" not in self.strings:
            return
        self._changed = True
        ksyms, kconfig = self.string(".ksyms"), self.string(".kconfig")
        places = [0]
        sections = []
        for at, name, kind, _ in self._records():
            places.append(at)
            if kind == _DATASEC and name in (ksyms, kconfig):
                sections.append((at, name == ksyms))
        dummy_name = self.string("dummy_ksym")
        number = len(places)  # the ids of the types to add
        added = False
        for at, is_ksyms in sections:
            count = _TYPE.unpack_from(self.types, at)[1] & 0xFFFF
            offset = 0
            for index in range(count):
                entry = at + 12 + 12 * index
                target, _, _ = _TRIPLE.unpack_from(self.types, entry)
                place = places[target] if 0 < target < len(places) else -1
                if place < 0:
                    continue
                info = _TYPE.unpack_from(self.types, place)[1]
                if info >> 24 & 0x1F == _FUNC_KIND:
                    self._own_function(place, places, dummy_name)
                    added = True
                    target = number + 1
                else:
                    self.types[place + 12 : place + 16] = pack("=I", _GLOBAL)
                    if is_ksyms:
                        self.types[place + 8 : place + 12] = pack("=I", number)
                        added = True
                if is_ksyms:
                    _TRIPLE.pack_into(self.types, entry, target, offset, 4)
                    offset += 4
            if is_ksyms:
                self.types[at + 8 : at + 12] = pack("=I", offset)
        if added:
            self.types += pack("=IIII", self.string("int"), _INT << 24, 4, 1 << 24 | 32)
            self.types += pack("=IIII", dummy_name, _VAR << 24, number, _GLOBAL)

    def _own_function(self, place: int, places: list[int], dummy_name: int) -> None:
        name, info, proto = _TYPE.unpack_from(self.types, place)
        _TYPE.pack_into(self.types, place, name, info & ~0xFFFF | _GLOBAL, proto)
        if not 0 < proto < len(places):
            return
        at = places[proto]
        count = _TYPE.unpack_from(self.types, at)[1] & 0xFFFF
        for index in range(count):
            entry = at + 12 + 8 * index
            param, kind = _FUNC.unpack_from(self.types, entry)
            if not param and kind:  # declarations may leave names out, definitions must have them
                _FUNC.pack_into(self.types, entry, dummy_name, kind)


def func_info(program: ProgramSpec) -> bytes:
    """The function records of a program; empty unless every function has a type."""
    if not program.functions or any(not type_id for _, type_id, _ in program.functions):
        return b""
    return b"".join(_FUNC.pack(slot, type_id) for slot, type_id, _ in program.functions)


def line_info(program: ProgramSpec, blob: BtfBlob) -> bytes:
    """The line records of a program, by the kernel's rules: ascending, one at the start of every function, none in the
    middle of a wide load. Empty when the program's lines do not keep them."""
    if not program.lines:
        return b""
    insns = program.insns
    count = len(insns) // 8
    starts = {0, *(slot for slot, _, _ in program.functions)}
    records = []
    last = -1
    for line in program.lines:
        slot = line.insn
        if slot <= last or slot >= count:
            continue
        if slot and insns[slot * 8 - 8] == _WIDE_LOAD and not insns[slot * 8]:
            continue
        last = slot
        starts.discard(slot)
        place = min(line.line, _MAX_LINE) << 10 | min(line.column, _MAX_COLUMN)
        records.append(_LINE.pack(slot, blob.string(line.file), blob.string(line.text), place))
    return b"" if starts else b"".join(records)
