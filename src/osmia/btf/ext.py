"""``.BTF.ext``: what a program's instructions have to do with types, source lines and CO-RE relocations.

Three tables, each split by ELF section: function information, line information, CO-RE relocations.
Instruction offsets are in *bytes* from the start of the section, as in object files; the kernel's own
interface counts instructions instead.
"""

from __future__ import annotations

import sys
from struct import Struct, pack

from osmia.btf.raw import VERSION, byte_order_of
from osmia.btf.types import Func, Record
from osmia.diagnostics import BtfError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    from osmia.btf.reader import Btf
    from osmia.btf.writer import BtfBuilder

    R = TypeVar("R", bound=Record)

MAGIC = 0xEB9F
INSN_SIZE = 8

RELO_FIELD_BYTE_OFFSET = 0
RELO_FIELD_BYTE_SIZE = 1
RELO_FIELD_EXISTS = 2
RELO_FIELD_SIGNED = 3
RELO_FIELD_LSHIFT_U64 = 4
RELO_FIELD_RSHIFT_U64 = 5
RELO_TYPE_ID_LOCAL = 6
RELO_TYPE_ID_TARGET = 7
RELO_TYPE_EXISTS = 8
RELO_TYPE_SIZE = 9
RELO_ENUMVAL_EXISTS = 10
RELO_ENUMVAL_VALUE = 11
RELO_TYPE_MATCHES = 12

RELO_KINDS = (
    ("field_byte_offset", "field", "the field's offset in bytes"),
    ("field_byte_size", "field", "the field's size in bytes"),
    ("field_exists", "field", "1 if the target has the field, else 0"),
    ("field_signed", "field", "1 if the field is signed, else 0"),
    ("field_lshift_u64", "field", "left shift that moves a bit-field to the top of 64 bits"),
    ("field_rshift_u64", "field", "right shift that moves it down again"),
    ("type_id_local", "type", "the type's id in the program's own BTF"),
    ("type_id_target", "type", "the type's id in the target's BTF"),
    ("type_exists", "type", "1 if the target has the type, else 0"),
    ("type_size", "type", "the type's size in bytes"),
    ("enumval_exists", "enum", "1 if the target has the enumerator, else 0"),
    ("enumval_value", "enum", "the enumerator's value"),
    ("type_matches", "type", "1 if the target's type matches in layout too, else 0"),
)
"""CO-RE relocation kinds by number (``enum bpf_core_relo_kind``): name, what they look at, what they give."""

_HEADER_SIZE = 24
_CORE_HEADER_SIZE = 32
_HINT = "the object file is corrupt; build it again"


class FuncInfo(Record):
    """A function starts at a byte offset of its section; ``type_id`` is its ``Func``."""

    __slots__ = FIELDS = ("insn_off", "type_id")

    def __init__(self, insn_off: int, type_id: int) -> None:
        self.insn_off = insn_off
        self.type_id = type_id


class LineInfo(Record):
    """The source of the instructions from a byte offset on.

    ``file`` and ``text`` are the file's name and the line's text, ``line`` counts from 1, ``col`` from 1
    (0: unknown). ``file_off`` and ``text_off`` are their string offsets, which the kernel asks for; 0 in
    records made by hand.
    """

    __slots__ = ("col", "file", "file_off", "insn_off", "line", "text", "text_off")
    FIELDS = ("insn_off", "file", "text", "line", "col")

    def __init__(
        self, insn_off: int, file: str, text: str, line: int, col: int, file_off: int = 0, text_off: int = 0
    ) -> None:
        self.insn_off = insn_off
        self.file = file
        self.text = text
        self.line = line
        self.col = col
        self.file_off = file_off
        self.text_off = text_off


class CoreRelo(Record):
    """A CO-RE relocation of the instruction at a byte offset.

    ``type_id`` is the root type in the program's BTF, ``access`` the path below it (``0:1:2``), ``kind``
    a row of ``RELO_KINDS``.
    """

    __slots__ = FIELDS = ("insn_off", "type_id", "access", "kind")

    def __init__(self, insn_off: int, type_id: int, access: str, kind: int) -> None:
        self.insn_off = insn_off
        self.type_id = type_id
        self.access = access
        self.kind = kind

    @property
    def kind_name(self) -> str:
        """The kind as a word: ``field_byte_offset``..."""
        return RELO_KINDS[self.kind][0]


class BtfExt:
    """The three tables of one object, by section name, in the order of the file.

    :ivar funcs: lists of :class:`FuncInfo`.
    :ivar lines: lists of :class:`LineInfo`.
    :ivar relocations: lists of :class:`CoreRelo`.
    """

    __slots__ = ("funcs", "lines", "relocations")

    def __init__(self) -> None:
        self.funcs: dict[str, list[FuncInfo]] = {}
        self.lines: dict[str, list[LineInfo]] = {}
        self.relocations: dict[str, list[CoreRelo]] = {}

    @classmethod
    def from_bytes(cls, data: bytes | bytearray | memoryview, btf: Btf) -> BtfExt:
        """Read a ``.BTF.ext`` section that goes with the object's ``.BTF``.

        :raises BtfError: ``BTF040`` no such data, ``BTF041`` tables that do not fit in it, ``BTF042`` a
            record with an impossible field, ``BTF006`` a string offset outside of the ``.BTF``.
        """
        return _Reader(bytes(data), btf).read()

    def sections(self) -> list[str]:
        """The names of all sections that any table mentions, in order of appearance."""
        return list(dict.fromkeys([*self.funcs, *self.lines, *self.relocations]))

    def func_info(self, section: str) -> list[FuncInfo]:
        """The functions of a section, by offset; empty for a section without any."""
        return self.funcs.get(section, [])

    def line_info(self, section: str) -> list[LineInfo]:
        """The lines of a section, by offset; empty for a section without any."""
        return self.lines.get(section, [])

    def core_relocations(self, section: str) -> list[CoreRelo]:
        """The relocations of a section; empty for a section without any."""
        return self.relocations.get(section, [])


class _Reader:
    def __init__(self, data: bytes, btf: Btf) -> None:
        self.data = data
        self.btf = btf
        order = byte_order_of(data, ".BTF.ext", "BTF040")
        if order != btf.byteorder:
            raise BtfError("BTF040", f"the .BTF.ext is {order}-endian, its .BTF is {btf.byteorder}-endian", hint=_HINT)
        self.sign = "<" if order == "little" else ">"

    def read(self) -> BtfExt:
        data = self.data
        if len(data) < _HEADER_SIZE:
            raise BtfError("BTF041", f"the .BTF.ext ends within its header, after {len(data)} bytes", hint=_HINT)
        version, flags = data[2], data[3]
        if version != VERSION or flags:
            raise BtfError(
                "BTF040",
                f".BTF.ext version {version} with flags {flags:#x}; known is version {VERSION} with flags 0",
                hint="a newer compiler made this; update Osmia",
            )
        fields = Struct(f"{self.sign}4xIIIII").unpack_from(data)
        header_len = fields[0]
        if header_len < _HEADER_SIZE or header_len > len(data):
            raise BtfError("BTF041", f"the .BTF.ext header claims {header_len} of {len(data)} bytes", hint=_HINT)
        core = (0, 0)
        if header_len >= _CORE_HEADER_SIZE:
            core = Struct(f"{self.sign}24xII").unpack_from(data)
        found = BtfExt()
        self.table(found.funcs, "function", header_len, fields[1], fields[2], 2, self.func)
        self.table(found.lines, "line", header_len, fields[3], fields[4], 4, self.line)
        self.table(found.relocations, "relocation", header_len, core[0], core[1], 4, self.relocation)
        return found

    def table(
        self,
        into: dict[str, list[R]],
        what: str,
        header_len: int,
        offset: int,
        length: int,
        words: int,
        make: Callable[[tuple[int, ...], int], R],
    ) -> None:
        """Read one table: the record size, then per section a name, a count and that many records."""
        if not length:
            return
        place, end = header_len + offset, header_len + offset + length
        if end > len(self.data) or offset % 4:
            raise BtfError(
                "BTF041",
                f"the {what} table should span bytes {place} to {end}, the .BTF.ext has {len(self.data)}",
                hint=_HINT,
            )
        word = Struct(f"{self.sign}I")
        pair = Struct(f"{self.sign}II")
        record = Struct(f"{self.sign}{words}I")
        if length < 4:
            raise BtfError("BTF041", f"the {what} table at byte {place} has no room for its record size", hint=_HINT)
        (size,) = word.unpack_from(self.data, place)
        if size < record.size or size % 4:
            raise BtfError(
                "BTF041",
                f"records of the {what} table at byte {place} have {size} bytes, not {record.size}",
                hint=_HINT,
            )
        place += 4
        while place < end:
            if place + pair.size > end:
                raise BtfError("BTF041", f"the {what} table is cut off at byte {place}", hint=_HINT)
            name_off, count = pair.unpack_from(self.data, place)
            section = self.btf.string(name_off)
            place += pair.size
            if not count or place + count * size > end:
                raise BtfError(
                    "BTF041",
                    f"section {section!r} of the {what} table at byte {place} claims {count} records of {size} bytes, "
                    f"{end - place} bytes are left",
                    hint=_HINT,
                )
            rows = into.setdefault(section, [])
            for at in range(place, place + count * size, size):
                if any(self.data[at + record.size : at + size]):
                    raise BtfError(
                        "BTF042",
                        f"a {what} record at byte {at} has data past its {record.size} known bytes",
                        hint="a newer compiler made this; update Osmia",
                    )
                rows.append(make(record.unpack_from(self.data, at), at))
            place += count * size

    def check(self, insn_off: int, at: int) -> None:
        if insn_off % INSN_SIZE:
            raise BtfError(
                "BTF042",
                f"the record at byte {at} is about offset {insn_off}, which is no multiple of {INSN_SIZE}",
                hint=_HINT,
            )

    def type(self, type_id: int, at: int) -> int:
        if not 0 < type_id < self.btf.end_id:
            raise BtfError(
                "BTF042",
                f"the record at byte {at} mentions type id {type_id}, ids run from 1 to {self.btf.end_id - 1}",
                hint=_HINT,
            )
        return type_id

    def func(self, fields: tuple[int, ...], at: int) -> FuncInfo:
        insn_off, type_id = fields
        self.check(insn_off, at)
        if self.btf.kind_of(self.type(type_id, at)) != Func.kind:
            raise BtfError(
                "BTF042", f"the record at byte {at} mentions type #{type_id}, which is no function", hint=_HINT
            )
        return FuncInfo(insn_off, type_id)

    def line(self, fields: tuple[int, ...], at: int) -> LineInfo:
        insn_off, file_off, text_off, place = fields
        self.check(insn_off, at)
        file, text = self.btf.string(file_off, lossy=True), self.btf.string(text_off, lossy=True)
        return LineInfo(insn_off, file, text, place >> 10, place & 0x3FF, file_off, text_off)

    def relocation(self, fields: tuple[int, ...], at: int) -> CoreRelo:
        insn_off, type_id, access_off, kind = fields
        self.check(insn_off, at)
        if kind >= len(RELO_KINDS):
            raise BtfError(
                "BTF042",
                f"the relocation at byte {at} is of unknown kind {kind}",
                hint="a newer compiler made this; update Osmia",
            )
        access = self.btf.string(access_off)
        parts = access.split(":")
        if not all(part.isascii() and part.isdigit() and len(part) < 11 for part in parts):
            raise BtfError("BTF042", f"the relocation at byte {at} has access string {access!r}", hint=_HINT)
        return CoreRelo(insn_off, self.type(type_id, at), access, kind)


class BtfExtBuilder:
    """Collects the three tables and emits a ``.BTF.ext`` section; strings go to the ``.BTF``'s builder.

    Records may be added in any order; within a section they are written by offset.
    """

    def __init__(self, btf: BtfBuilder) -> None:
        self.btf = btf
        self._funcs: dict[str, list[tuple[int, ...]]] = {}
        self._lines: dict[str, list[tuple[int, ...]]] = {}
        self._relocations: dict[str, list[tuple[int, ...]]] = {}

    def add_func(self, section: str, insn_off: int, type_id: int) -> None:
        """Say that the function ``type_id`` starts at a byte offset of a section.

        :raises BtfError: ``BTF050`` a number out of range.
        """
        self._add(self._funcs, section, insn_off, type_id)

    def add_line(self, section: str, insn_off: int, file: str, text: str, line: int, col: int = 0) -> None:
        """Say which source line the instructions from a byte offset on come from.

        A column past 1023, the format's limit, is stored as 1023.

        :raises BtfError: ``BTF050`` a number out of range, or a text with NUL.
        """
        if not 0 <= line < 1 << 22 or col < 0:
            raise BtfError("BTF050", f"line {line}, column {col} cannot be stored", hint="lines end at 4194303")
        place = line << 10 | min(col, 0x3FF)
        self._add(self._lines, section, insn_off, self.btf.string(file), self.btf.string(text), place)

    def add_relocation(self, section: str, insn_off: int, type_id: int, access: str, kind: int) -> None:
        """Add a CO-RE relocation; the arguments are the fields of :class:`CoreRelo`.

        :raises BtfError: ``BTF050`` a number out of range or an unknown kind.
        """
        if not 0 <= kind < len(RELO_KINDS):
            raise BtfError("BTF050", f"relocation kind {kind} does not exist", hint="see RELO_KINDS")
        self._add(self._relocations, section, insn_off, type_id, self.btf.string(access), kind)

    def _add(self, table: dict[str, list[tuple[int, ...]]], section: str, insn_off: int, *rest: int) -> None:
        if insn_off % INSN_SIZE or not 0 <= insn_off <= 0xFFFFFFFF or not 0 <= rest[0] <= 0xFFFFFFFF:
            raise BtfError(
                "BTF050",
                f"a record about offset {insn_off} of {section!r} with value {rest[0]} cannot be stored",
                hint=f"offsets are in bytes and multiples of {INSN_SIZE}",
            )
        table.setdefault(section, []).append((insn_off, *rest))

    def to_bytes(self) -> bytes:
        """The section's bytes, in the byte order of the ``.BTF``'s builder.

        Call it before the ``.BTF``'s ``to_bytes``: it may still add section names to the strings.
        """
        sign = "<" if self.btf.byteorder == "little" else ">"
        tables = [
            self._table(sign, self._funcs, 8),
            self._table(sign, self._lines, 16),
            self._table(sign, self._relocations, 16),
        ]
        places: list[int] = []
        offset = 0
        for table in tables:
            places += (offset, len(table))
            offset += len(table)
        header = pack(f"{sign}HBBI6I", MAGIC, VERSION, 0, _CORE_HEADER_SIZE, *places)
        return b"".join((header, *tables))

    def _table(self, sign: str, sections: dict[str, list[tuple[int, ...]]], size: int) -> bytes:
        if not sections:
            return b""
        words = [size]
        for section, rows in sections.items():
            words += (self.btf.string(section), len(rows))
            for row in sorted(rows, key=lambda row: row[0]):
                words += row
        return pack(f"{sign}{len(words)}I", *words)


def pack_func_info(records: list[FuncInfo], byteorder: str = sys.byteorder) -> bytes:
    """Function records as ``BPF_PROG_LOAD`` takes them: offsets become instruction numbers, 8 bytes each."""
    sign = "<" if byteorder == "little" else ">"
    return b"".join([pack(f"{sign}2I", record.insn_off // INSN_SIZE, record.type_id) for record in records])


def pack_line_info(records: list[LineInfo], byteorder: str = sys.byteorder) -> bytes:
    """Line records as ``BPF_PROG_LOAD`` takes them, 16 bytes each; their string offsets must be set."""
    layout = Struct("<4I" if byteorder == "little" else ">4I")
    return b"".join(
        [
            layout.pack(r.insn_off // INSN_SIZE, r.file_off, r.text_off, r.line << 10 | min(r.col, 0x3FF))
            for r in records
        ]
    )


if TYPE_CHECKING:
    from collections.abc import Callable
