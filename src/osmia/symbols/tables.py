"""Symbol tables in compact form: no object per symbol, names decoded when asked for."""

from __future__ import annotations

import struct
import sys
from array import array
from bisect import bisect_right

from osmia.symbols.image import (
    EM_AARCH64,
    EM_ARM,
    PT_DYNAMIC,
    SHF_EXECINSTR,
    SHT_DYNSYM,
    SHT_SYMTAB,
    ElfImage,
    string_at,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from osmia.symbols.image import Section

STT_NOTYPE, STT_OBJECT, STT_FUNC, STT_GNU_IFUNC = 0, 1, 2, 10
STB_LOCAL, STB_GLOBAL, STB_WEAK = 0, 1, 2
SHN_ABS = 0xFFF1
DT_HASH, DT_STRTAB, DT_SYMTAB, DT_STRSZ, DT_GNU_HASH = 4, 5, 6, 10, 0x6FFFFEF5
_HIDDEN_VERSION = 0x8000
_MAX_SYMBOLS = 1 << 25


class SymbolTable:
    """One symbol table: parallel arrays and the string table their names are in.

    :ivar heads: per symbol, name offset | type and binding << 32 | visibility << 40 | section << 48.
    :ivar values: per symbol, its address in the file's own layout.
    :ivar sizes: per symbol, bytes; 0 where the table does not say.
    """

    __slots__ = ("_code", "heads", "hidden", "sizes", "strings", "values")

    def __init__(self, image: ElfImage, data: bytes, strings: bytes, versions: bytes = b"") -> None:
        self.strings = strings
        self.heads, self.values, self.sizes = _columns(image, data)
        if image.machine == EM_ARM:
            # Bit 0 marks Thumb code; it is not part of the address.
            self.values = array("Q", [value & ~1 for value in self.values])
        self.hidden: frozenset[int] = frozenset()
        count = min(len(versions) // 2, len(self.heads))
        if count:
            words = image.unpack(f"{count}H", versions)
            self.hidden = frozenset(i for i, word in enumerate(words) if word & _HIDDEN_VERSION)
        self._code = frozenset(index for index, section in enumerate(image.sections) if section.flags & SHF_EXECINSTR)

    def name(self, index: int) -> str:
        """The name of one symbol."""
        return string_at(self.strings, self.heads[index] & 0xFFFFFFFF)

    def is_code(self, index: int) -> bool:
        """Whether a symbol is defined here and stands for code: a function, or a label in a code section."""
        head = self.heads[index]
        section = head >> 48
        if not section or section == SHN_ABS:
            return False
        kind = head >> 32 & 15
        return kind in (STT_FUNC, STT_GNU_IFUNC) or (kind == STT_NOTYPE and section in self._code)

    def is_data(self, index: int) -> bool:
        """Whether a symbol is defined here and stands for data, or for a place the table does not type."""
        head = self.heads[index]
        section = head >> 48
        return bool(section) and section != SHN_ABS and head >> 32 & 15 in (STT_NOTYPE, STT_OBJECT)

    def code(self) -> Iterator[int]:
        """Indices of all symbols that stand for code."""
        code = self._code
        for index, head in enumerate(self.heads):
            section = head >> 48
            if not section or section == SHN_ABS:
                continue
            kind = head >> 32 & 15
            if kind in (STT_FUNC, STT_GNU_IFUNC) or (kind == STT_NOTYPE and section in code):
                yield index

    def is_old_version(self, index: int) -> bool:
        """Whether a symbol is a version that newly linked programs do not get."""
        name = self.name(index)
        return index in self.hidden or ("@" in name and "@@" not in name)

    def with_name(self, name: str) -> list[int]:
        """Indices of the symbols of that name, with or without a version (``name@@VERSION``)."""
        if "\0" in name or not name:
            return []
        encoded = name.encode("utf-8", "surrogateescape")
        places = set(_find_all(self.strings, encoded + b"\0"))
        places.update(_find_all(self.strings, encoded + b"@"))
        if not places:
            return []
        return [index for index, head in enumerate(self.heads) if head & 0xFFFFFFFF in places]


def _find_all(text: bytes, wanted: bytes) -> Iterator[int]:
    at = text.find(wanted)
    while at >= 0:
        yield at
        at = text.find(wanted, at + 1)


def _columns(image: ElfImage, data: bytes) -> tuple[array[int], array[int], array[int]]:
    heads, values, sizes = array("Q"), array("Q"), array("Q")
    if image.bits == 64 and image.order == "<" and sys.byteorder == "little":
        # Elf64_Sym is three words of 8 bytes, which are just our three columns.
        words = array("Q")
        words.frombytes(data[: len(data) // 24 * 24])
        return words[0::3], words[1::3], words[2::3]
    if image.bits == 64:
        for name, info, other, section, value, size in struct.iter_unpack(
            image.order + "IBBHQQ", data[: len(data) // 24 * 24]
        ):
            heads.append(name | info << 32 | other << 40 | section << 48)
            values.append(value)
            sizes.append(size)
    else:
        for name, value, size, info, other, section in struct.iter_unpack(
            image.order + "IIIBBH", data[: len(data) // 16 * 16]
        ):
            heads.append(name | info << 32 | other << 40 | section << 48)
            values.append(value)
            sizes.append(size)
    return heads, values, sizes


def read_tables(image: ElfImage) -> list[SymbolTable]:
    """The tables ``.symtab`` and ``.dynsym`` of a file, as far as it has them.

    A file without section headers has its dynamic symbols found the way the loader finds them.

    :raises SymbolError: SYM003, a table lies outside the file.
    """
    tables = []
    for section in image.sections:
        if section.type not in (SHT_SYMTAB, SHT_DYNSYM) or not section.size:
            continue
        if not 0 < section.link < len(image.sections):
            raise image.damaged(f"section {section.name} has no string table")
        if section.size // (24 if image.bits == 64 else 16) > _MAX_SYMBOLS:
            raise image.damaged(f"section {section.name} claims more than {_MAX_SYMBOLS} symbols")
        strings = image.contents(image.sections[section.link])
        versions = _versions(image, section) if section.type == SHT_DYNSYM else b""
        tables.append(SymbolTable(image, image.contents(section), strings, versions))
    if not image.sections:
        dynamic = _dynamic_table(image)
        if dynamic is not None:
            tables.append(dynamic)
    return tables


def _versions(image: ElfImage, table: Section) -> bytes:
    section = image.section(".gnu.version")
    if section is None or section.link >= len(image.sections) or image.sections[section.link] is not table:
        return b""
    return image.contents(section)


def _dynamic_table(image: ElfImage) -> SymbolTable | None:
    segment = next((item for item in image.segments if item.type == PT_DYNAMIC), None)
    if segment is None:
        return None
    form, step = ("QQ", 16) if image.bits == 64 else ("II", 8)
    data = image.read(segment.offset, segment.file_size, "the dynamic segment")
    entries: dict[int, int] = {}
    for at in range(0, len(data) - step + 1, step):
        tag, value = image.unpack(form, data, at)
        if not tag:
            break
        entries.setdefault(tag, value)
    symbols, strings = image.offset_of(entries.get(DT_SYMTAB, -1)), image.offset_of(entries.get(DT_STRTAB, -1))
    if symbols is None or strings is None or DT_STRSZ not in entries:
        return None
    count = _hashed_count(image, entries)
    size = count * (24 if image.bits == 64 else 16)
    return SymbolTable(
        image,
        image.read(symbols, size, "the dynamic symbol table"),
        image.read(strings, entries[DT_STRSZ], "the dynamic string table"),
    )


def _hashed_count(image: ElfImage, entries: dict[int, int]) -> int:
    """The number of dynamic symbols, which only the hash tables know."""
    place = image.offset_of(entries.get(DT_HASH, -1))
    if place is not None:
        return image.unpack("II", image.read(place, 8, "the hash table"))[1]
    place = image.offset_of(entries.get(DT_GNU_HASH, -1))
    if place is None:
        return 0
    buckets, first, bloom, _ = image.unpack("IIII", image.read(place, 16, "the hash table"))
    place += 16 + bloom * image.bits // 8
    heads = image.unpack(f"{buckets}I", image.read(place, 4 * buckets, "the hash table")) if buckets else ()
    last = max(heads, default=0)
    if last < first:
        return first
    place += 4 * buckets + 4 * (last - first)
    # The last symbol of a chain has bit 0 of its hash set.
    while not image.unpack("I", image.read(place, 4, "the hash table"))[0] & 1:
        last += 1
        place += 4
    return last + 1


class AddressIndex:
    """Code symbols of several tables by address: answers which function an address is in.

    Of several names for one address the one with a size wins, then the one with fewest leading
    underscores, then global before weak before local, then the shorter name.
    """

    __slots__ = ("_names", "_outer", "_tables", "ends", "starts", "which")

    def __init__(self, image: ElfImage, tables: list[SymbolTable]) -> None:
        self._tables = tables
        self._names: dict[int, str] = {}
        # A symbol is packed as its table's number << 32 | its index there.
        entries: list[tuple[int, int, int]] = []
        for number, table in enumerate(tables):
            values, sizes, base = table.values, table.sizes, number << 32
            entries.extend((values[index], sizes[index], base | index) for index in table.code())
        entries.sort()
        self._build(image, entries)

    def _build(self, image: ElfImage, entries: list[tuple[int, int, int]]) -> None:
        starts, ends, which, outer = array("Q"), array("Q"), array("Q"), array("q")
        limits = sorted(
            (section.address, min(section.address + section.size, (1 << 64) - 1))
            for section in image.sections
            if section.flags & SHF_EXECINSTR
        )
        has_mapping_symbols = image.machine in (EM_ARM, EM_AARCH64)
        open_ones: list[int] = []
        at, count = 0, len(entries)
        while at < count:
            start, size, best = entries[at]
            after = at + 1
            while after < count and entries[after][0] == start:
                after += 1
            if after > at + 1:
                best = min((item[2] for item in entries[at:after]), key=self._rank)
                size = max(item[1] for item in entries[at:after])
            at = after
            while open_ones and ends[open_ones[-1]] <= start:
                open_ones.pop()
            if not size:
                if open_ones or (has_mapping_symbols and self._raw_name(best).startswith("$")):
                    continue
                end = _end_of(start, limits)
                if at < count:
                    end = min(end, entries[at][0])
                if end <= start:
                    continue
            else:
                end = min(start + size, (1 << 64) - 1)
            outer.append(open_ones[-1] if open_ones else -1)
            open_ones.append(len(starts))
            starts.append(start)
            ends.append(end)
            which.append(best)
        self.starts, self.ends, self.which, self._outer = starts, ends, which, outer

    def _rank(self, packed: int) -> tuple[bool, int, int, int, str]:
        table, index = self._tables[packed >> 32], packed & 0xFFFFFFFF
        name = self._raw_name(packed)
        binding = table.heads[index] >> 36 & 15
        order = {STB_GLOBAL: 0, STB_WEAK: 1, STB_LOCAL: 2}.get(binding, 1)
        bare = name.lstrip("_") if not name.startswith("_Z") else name[1:]
        return (not table.sizes[index], len(name) - len(bare), order, len(name), name)

    def _raw_name(self, packed: int) -> str:
        return self._tables[packed >> 32].name(packed & 0xFFFFFFFF)

    def name(self, packed: int) -> str:
        """The name of an entry of :attr:`which`, without version."""
        known = self._names.get(packed)
        if known is None:
            known = self._names[packed] = self._raw_name(packed).partition("@")[0]
        return known

    def find(self, address: int) -> int:
        """The position of the innermost symbol that holds ``address``, or -1."""
        at = bisect_right(self.starts, address) - 1
        ends, outer = self.ends, self._outer
        while at >= 0 and ends[at] <= address:
            at = outer[at]
        return at


def _end_of(start: int, limits: list[tuple[int, int]]) -> int:
    for low, high in limits:
        if low <= start < high:
            return high
    return start
