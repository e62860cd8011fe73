"""The frame of a relocatable ELF file: header, sections, symbols, relocations.

Only what BPF objects use: 64-bit little-endian files of type ``ET_REL`` (System V ABI, ``elf.h``). Reading an object is
part of a program's start, so this is a hundred lines of ``struct`` rather than a library whose import alone takes a
tenth of a second. Every offset, count and index is checked; sections may not overlap, which bounds the work a hostile
file can cause by its size.
"""

from __future__ import annotations

import struct

from osmia.diagnostics.errors import ObjectError

EM_BPF = 247
ET_REL = 1
SHT_NULL, SHT_PROGBITS, SHT_SYMTAB, SHT_STRTAB, SHT_RELA, SHT_NOBITS, SHT_REL = 0, 1, 2, 3, 4, 8, 9
SHF_WRITE, SHF_ALLOC, SHF_EXECINSTR, SHF_COMPRESSED = 1, 2, 4, 0x800
SHN_UNDEF, SHN_LORESERVE, SHN_ABS, SHN_COMMON, SHN_XINDEX = 0, 0xFF00, 0xFFF1, 0xFFF2, 0xFFFF
STB_LOCAL, STB_GLOBAL, STB_WEAK = 0, 1, 2
STT_NOTYPE, STT_OBJECT, STT_FUNC, STT_SECTION = 0, 1, 2, 3
STV_INTERNAL, STV_HIDDEN = 1, 2

EHDR = struct.Struct("<16sHHIQQQIHHHHHH")
SHDR = struct.Struct("<IIQQQQIIQQ")
SYM = struct.Struct("<IBBHQQ")
REL = struct.Struct("<QQ")
_WORD = struct.Struct("<I")
IDENT = b"\x7fELF\x02\x01\x01"
CUT_HINT = "the file was cut off or damaged; build or copy it again"
BAD_HINT = "the file is damaged; build it again"


class Section:
    """One section. ``data`` is its contents, empty for those that take no room in the file (``.bss``)."""

    __slots__ = ("data", "flags", "index", "info", "link", "name", "offset", "size", "type")

    def __init__(self, index: int, fields: tuple[int, ...]) -> None:
        self.index = index
        self.name = ""
        self.type, self.flags, _, self.offset, self.size, self.link, self.info = fields[1:8]
        self.data = b""

    @property
    def executable(self) -> bool:
        """Whether it holds instructions."""
        return self.type == SHT_PROGBITS and bool(self.flags & SHF_EXECINSTR)


class Symbol:
    """One symbol; ``section`` is an index, or one of the ``SHN_*`` numbers."""

    __slots__ = ("binding", "index", "name", "section", "size", "type", "value", "visibility")

    def __init__(self, index: int, name: str, info: int, other: int, section: int, value: int, size: int) -> None:
        self.index = index
        self.name = name
        self.binding = info >> 4
        self.type = info & 15
        self.visibility = other & 3
        self.section = section
        self.value = value
        self.size = size


class Relocation:
    """One entry of a ``.rel`` section: byte offset in its target section, ``R_BPF_*`` number, symbol."""

    __slots__ = ("offset", "symbol", "type")

    def __init__(self, offset: int, type: int, symbol: Symbol) -> None:
        self.offset = offset
        self.type = type
        self.symbol = symbol


class ElfFile:
    """A BPF object's sections and symbols.

    :ivar name: how messages call the file. :ivar sections: by index. :ivar symbols: by index.
    :raises ObjectError: OBJ001 to OBJ006.
    """

    __slots__ = ("_named", "_rel_of", "data", "name", "sections", "symbols")

    def __init__(self, data: bytes, name: str) -> None:
        self.data = data
        self.name = name
        self.sections = self._read_sections()
        self.symbols = self._read_symbols()
        self._rel_of: dict[int, list[Section]] = {}
        self._named: dict[str, list[Section]] = {}
        for section in self.sections[1:]:
            self._named.setdefault(section.name, []).append(section)
            if section.type in (SHT_REL, SHT_RELA):
                self._rel_of.setdefault(section.info, []).append(section)

    def error(self, code: str, message: str, hint: str | None = None) -> ObjectError:
        """An error about this file, not raised."""
        return ObjectError(code, f"{self.name}: {message}" if self.name else message, hint=hint)

    def by_name(self, name: str) -> Section | None:
        """The only section of that name, if there is one.

        :raises ObjectError: OBJ005, there are several.
        """
        found = self._named.get(name, [])
        if len(found) > 1:
            raise self.error("OBJ005", f"there are {len(found)} sections named {name!r}", BAD_HINT)
        return found[0] if found else None

    def relocations(self, section: Section) -> list[Relocation]:
        """The relocations of a section, by offset.

        :raises ObjectError: OBJ006, a table that is malformed or of a form that BPF objects do not use.
        """
        result: list[Relocation] = []
        for table in self._rel_of.get(section.index, ()):
            if table.type == SHT_RELA:
                raise self.error(
                    "OBJ006",
                    f"section {table.name!r} holds relocations with addends (RELA), which BPF objects do not use",
                    "build with clang -target bpf, or a gcc that writes REL",
                )
            if table.size % REL.size:
                raise self.error("OBJ006", f"{table.name!r} has {table.size} bytes, no multiple of 16", BAD_HINT)
            for offset, info in REL.iter_unpack(table.data):
                number = info >> 32
                if number >= len(self.symbols):
                    raise self.error(
                        "OBJ006",
                        f"{table.name!r} mentions symbol {number}, there are {len(self.symbols)}",
                        BAD_HINT,
                    )
                if offset >= section.size:
                    raise self.error(
                        "OBJ006",
                        f"{table.name!r} patches byte {offset} of {section.name!r}, which has {section.size}",
                        BAD_HINT,
                    )
                result.append(Relocation(offset, info & 0xFFFFFFFF, self.symbols[number]))
        result.sort(key=lambda found: found.offset)
        return result

    def _read_sections(self) -> list[Section]:
        data = self.data
        if data[:4] != IDENT[:4]:
            found = f"it starts with {data[:4].hex(' ')}" if data else "it is empty"
            raise self.error("OBJ001", f"this is no ELF file: {found}", "give an object built with clang -target bpf")
        if len(data) < EHDR.size:
            raise self.error("OBJ002", f"the file ends within its header, after {len(data)} of 64 bytes", CUT_HINT)
        ident, type_, machine, _, _, _, table, _, _, _, _, entry, count, names = EHDR.unpack_from(data)
        self._check_kind(ident, type_, machine)
        if not table:
            raise self.error("OBJ002", "the file has no section headers", "it was stripped; give the object itself")
        if entry != SHDR.size:
            raise self.error("OBJ002", f"section headers have {entry} bytes, not {SHDR.size}", BAD_HINT)
        if table + SHDR.size > len(data):
            raise self._cut("the section headers", table, SHDR.size)
        first = SHDR.unpack_from(data, table)
        # Files with 65,280 sections and more keep both numbers in the first section's header.
        count = count or first[5]
        names = first[6] if names == SHN_XINDEX else names
        if table + count * SHDR.size > len(data):
            raise self._cut(f"{count} section headers", table, count * SHDR.size)
        rows = SHDR.iter_unpack(memoryview(data)[table : table + count * SHDR.size])
        sections = [Section(index, row) for index, row in enumerate(rows)]
        for section in sections[1:]:
            if section.type not in (SHT_NOBITS, SHT_NULL):
                if section.offset + section.size > len(data):
                    raise self._cut(f"section {section.index}", section.offset, section.size)
                section.data = data[section.offset : section.offset + section.size]
        self._check_overlap(sections)
        if names >= len(sections) or sections[names].type != SHT_STRTAB:
            raise self.error("OBJ005", f"section {names} should hold the section names and does not", BAD_HINT)
        table_of_names = sections[names].data
        for section in sections[1:]:
            (name,) = _WORD.unpack_from(data, table + section.index * SHDR.size)
            section.name = self._string(table_of_names, name, "a section name")
        return sections

    def _check_kind(self, ident: bytes, type_: int, machine: int) -> None:
        if ident[4] != 2 or ident[5] != 1 or ident[6] != 1:
            what = "32-bit" if ident[4] == 1 else "big-endian" if ident[5] == 2 else "not a known version"
            raise self.error(
                "OBJ003", f"the file is {what}; BPF objects here are 64-bit little-endian ELF", "build for bpfel"
            )
        if machine not in (0, EM_BPF):
            raise self.error(
                "OBJ003", f"the file is for machine {machine}, not for BPF ({EM_BPF})", "build with clang -target bpf"
            )
        if type_ != ET_REL:
            raise self.error("OBJ003", f"the file has ELF type {type_}, not 1 (relocatable)", "give the .o file")

    def _cut(self, what: str, offset: int, size: int) -> ObjectError:
        return self.error(
            "OBJ002", f"{what} should span bytes {offset} to {offset + size}, the file has {len(self.data)}", CUT_HINT
        )

    def _check_overlap(self, sections: list[Section]) -> None:
        end, before = EHDR.size, None
        for section in sorted((s for s in sections[1:] if s.data), key=lambda s: s.offset):
            if section.offset < end:
                other = f"section {before.index}" if before is not None else "the file's header"
                raise self.error(
                    "OBJ004", f"section {section.index} at byte {section.offset} overlaps {other}", BAD_HINT
                )
            end, before = section.offset + section.size, section

    def _string(self, table: bytes, offset: int, what: str) -> str:
        end = table.find(b"\0", offset)
        if end < 0:
            raise self.error("OBJ005", f"{what} at {offset} is outside of its string table", BAD_HINT)
        try:
            return table[offset:end].decode()
        except UnicodeDecodeError:
            raise self.error("OBJ005", f"{what} at {offset} is not UTF-8: {table[offset:end]!r}", BAD_HINT) from None

    def _read_symbols(self) -> list[Symbol]:
        tables = [section for section in self.sections if section.type == SHT_SYMTAB]
        if not tables:
            return []
        table = tables[0]
        if len(tables) > 1 or table.size % SYM.size:
            raise self.error("OBJ005", "there are two symbol tables, or half an entry in one", BAD_HINT)
        if table.link >= len(self.sections) or self.sections[table.link].type != SHT_STRTAB:
            raise self.error("OBJ005", f"section {table.link} should hold the symbol names and does not", BAD_HINT)
        strings = self.sections[table.link].data
        symbols: list[Symbol] = []
        known: dict[int, str] = {}
        for index, (name, info, other, section, value, size) in enumerate(SYM.iter_unpack(table.data)):
            text = known.get(name)
            if text is None:
                text = known[name] = self._string(strings, name, "a symbol name") if name else ""
            if len(self.sections) <= section < SHN_LORESERVE or section == SHN_XINDEX:
                raise self.error(
                    "OBJ005",
                    f"symbol {text!r} is in section {section}, there are {len(self.sections)}",
                    BAD_HINT,
                )
            symbols.append(Symbol(index, text, info, other, section, value, size))
        return symbols
