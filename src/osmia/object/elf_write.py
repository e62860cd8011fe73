"""Making ELF files: a builder for BPF objects, and the addition of one section to a finished file."""

from __future__ import annotations

from osmia.diagnostics.errors import ObjectError
from osmia.object.elf_file import (
    EHDR,
    EM_BPF,
    ET_REL,
    IDENT,
    REL,
    SHDR,
    SHF_ALLOC,
    SHF_EXECINSTR,
    SHF_WRITE,
    SHN_LORESERVE,
    SHT_NOBITS,
    SHT_PROGBITS,
    SHT_REL,
    SHT_STRTAB,
    SHT_SYMTAB,
    STB_GLOBAL,
    STB_LOCAL,
    STT_SECTION,
    SYM,
    ElfFile,
)

SHF_INFO_LINK = 0x40
R_BPF_64_64, R_BPF_64_ABS64, R_BPF_64_32 = 1, 2, 10


class _Symbol:
    __slots__ = ("binding", "name", "section", "size", "type", "value")

    def __init__(self, name: str, section: int, value: int, size: int, binding: int, type: int) -> None:
        self.name = name
        self.section = section
        self.value = value
        self.size = size
        self.binding = binding
        self.type = type


class SectionBuilder:
    """A section to be: ``data`` is appended to freely; ``relocations`` are (offset, type, symbol)."""

    __slots__ = ("align", "data", "flags", "index", "name", "relocations", "size", "symbol", "type")

    def __init__(self, index: int, name: str, type: int, flags: int, align: int, symbol: _Symbol) -> None:
        self.index = index
        self.name = name
        self.type = type
        self.flags = flags
        self.align = align
        self.data = bytearray()
        self.size = 0
        self.symbol = symbol
        self.relocations: list[tuple[int, int, _Symbol]] = []

    def relocate(self, offset: int, type: int, symbol: _Symbol) -> None:
        """Let the loader patch the instruction or address at a byte offset."""
        self.relocations.append((offset, type, symbol))


class ElfBuilder:
    """Collects sections and symbols of a BPF object. Each section gets its section symbol, as compilers give it."""

    def __init__(self) -> None:
        self.sections: list[SectionBuilder] = []
        self._symbols: list[_Symbol] = []

    def section(self, name: str, *, type: int = SHT_PROGBITS, flags: int = 0, align: int = 1) -> SectionBuilder:
        """A new section."""
        index = len(self.sections) + 1
        symbol = _Symbol("", index, 0, 0, STB_LOCAL, STT_SECTION)
        made = SectionBuilder(index, name, type, flags, align, symbol)
        self.sections.append(made)
        return made

    def code(self, name: str) -> SectionBuilder:
        """A new section of instructions."""
        return self.section(name, flags=SHF_ALLOC | SHF_EXECINSTR, align=8)

    def variables(self, name: str, *, constant: bool = False, zero: bool = False) -> SectionBuilder:
        """A new section of variables; ``zero`` ones take no room in the file (set ``size``)."""
        flags = SHF_ALLOC | (0 if constant else SHF_WRITE)
        return self.section(name, type=SHT_NOBITS if zero else SHT_PROGBITS, flags=flags, align=8)

    def symbol(
        self, name: str, section: SectionBuilder | None, value: int, size: int, type: int, binding: int = STB_GLOBAL
    ) -> _Symbol:
        """A new symbol; without a section it is undefined, for the loader to find."""
        made = _Symbol(name, section.index if section else 0, value, size, binding, type)
        self._symbols.append(made)
        return made

    def to_bytes(self) -> bytes:
        """The file.

        :raises ObjectError: OBJ023, more sections than plain ELF headers can number.
        """
        strings = _Strings()
        symbols = [section.symbol for section in self.sections if section.type in (SHT_PROGBITS, SHT_NOBITS)]
        symbols += [symbol for symbol in self._symbols if symbol.binding == STB_LOCAL]
        local = len(symbols) + 1
        symbols += [symbol for symbol in self._symbols if symbol.binding != STB_LOCAL]
        numbers = {symbol: number for number, symbol in enumerate(symbols, 1)}
        relocated = [section for section in self.sections if section.relocations]
        symtab = len(self.sections) + len(relocated) + 1
        if symtab + 2 >= SHN_LORESERVE:
            raise ObjectError("OBJ023", f"{symtab + 2} sections are more than an object can have")
        rows: list[tuple[int, ...]] = [(0,) * 10]
        body = bytearray()

        def place(data: bytes | bytearray, align: int) -> int:
            body.extend(bytes(-(EHDR.size + len(body)) % align))
            at = EHDR.size + len(body)
            body.extend(data)
            return at

        for section in self.sections:
            at = place(section.data, section.align)
            size = section.size if section.type == SHT_NOBITS else len(section.data)
            name = strings.add(section.name)
            rows.append((name, section.type, section.flags, 0, at, size, 0, 0, section.align, 0))
        for section in relocated:
            entries = sorted(section.relocations, key=lambda entry: entry[0])
            data = b"".join([REL.pack(offset, numbers[symbol] << 32 | type) for offset, type, symbol in entries])
            name = strings.add(".rel" + section.name)
            rows.append(
                (name, SHT_REL, SHF_INFO_LINK, 0, place(data, 8), len(data), symtab, section.index, 8, REL.size)
            )
        table = b"".join(
            [
                bytes(SYM.size),
                *[
                    SYM.pack(strings.add(s.name), s.binding << 4 | s.type, 0, s.section, s.value, s.size)
                    for s in symbols
                ],
            ]
        )
        at = place(table, 8)
        rows.append((strings.add(".symtab"), SHT_SYMTAB, 0, 0, at, len(table), symtab + 1, local, 8, SYM.size))
        name = strings.add(".strtab")
        rows.append((name, SHT_STRTAB, 0, 0, place(strings.data, 1), len(strings.data), 0, 0, 1, 0))
        headers = place(b"".join([SHDR.pack(*row) for row in rows]), 8)
        ident = IDENT.ljust(16, b"\0")
        header = EHDR.pack(
            ident, ET_REL, EM_BPF, 1, 0, 0, headers, 0, EHDR.size, 0, 0, SHDR.size, len(rows), len(rows) - 1
        )
        return header + bytes(body)


class _Strings:
    """A string table that holds each string once."""

    def __init__(self) -> None:
        self.data = bytearray(b"\0")
        self._known = {"": 0}

    def add(self, text: str) -> int:
        at = self._known.get(text)
        if at is None:
            at = self._known[text] = len(self.data)
            self.data += text.encode() + b"\0"
        return at


def add_section(file: bytes, name: str, data: bytes, *, type: int = SHT_PROGBITS) -> bytes:
    """A copy of an ELF object with one section more, or with that section's contents replaced.

    Nothing else moves: the contents, a longer table of section names and the section headers go to the file's end.

    :raises ObjectError: OBJ001 to OBJ005, the file is malformed; OBJ023, it has too many sections.
    """
    elf = ElfFile(file, "")
    header = list(EHDR.unpack_from(file))
    table, count, names = header[6], header[12], header[13]
    if not count or count + 1 >= SHN_LORESERVE or names >= count:
        raise ObjectError("OBJ023", "the object has too many sections to add one")
    rows = [list(row) for row in SHDR.iter_unpack(file[table : table + count * SHDR.size])]
    # The headers move to the end; where they are the file's end already, they make room.
    body = bytearray(file[:table] if table + count * SHDR.size == len(file) else file)
    old = elf.by_name(name)
    body += bytes(-len(body) % 8)
    place = len(body)
    body += data
    if old is None:
        strings = elf.sections[names].data
        rows.append([len(strings), type, 0, 0, place, len(data), 0, 0, 1, 0])
        rows[names][4:6] = len(body), len(strings) + len(name.encode()) + 1
        body += strings + name.encode() + b"\0"
    else:
        rows[old.index][1] = type
        rows[old.index][4:6] = place, len(data)
    body += bytes(-len(body) % 8)
    header[6], header[12] = len(body), len(rows)
    body += b"".join([SHDR.pack(*row) for row in rows])
    body[: EHDR.size] = EHDR.pack(*header)
    return bytes(body)
