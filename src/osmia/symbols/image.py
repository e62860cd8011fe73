"""An ELF file's frame: header, segments, sections, notes. Small, quick, and safe on hostile files.

Files are read with ``pread`` in the pieces that are needed, never mapped: a mapped file that someone
truncates ends the reader with SIGBUS. Every offset and count is checked against the file's size. Layouts
are those of the System V ABI (``elf.h``); 32- and 64-bit files of both byte orders are read.
"""

from __future__ import annotations

import os
import stat
import struct

from osmia.diagnostics.errors import SymbolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

ET_REL, ET_EXEC, ET_DYN, ET_CORE = 1, 2, 3, 4
EM_386, EM_ARM, EM_X86_64, EM_AARCH64 = 3, 40, 62, 183
PT_LOAD, PT_DYNAMIC, PT_NOTE = 1, 2, 4
PF_X = 1
SHT_SYMTAB, SHT_NOTE, SHT_NOBITS, SHT_DYNSYM = 2, 7, 8, 11
SHF_EXECINSTR, SHF_COMPRESSED = 4, 0x800
SHN_XINDEX, PN_XNUM = 0xFFFF, 0xFFFF
NT_GNU_BUILD_ID = 3

_MAX_SECTION = 1 << 30
_MAX_ENTRIES = 1 << 20


class Section:
    """One section header, its name resolved."""

    __slots__ = ("address", "entry_size", "flags", "info", "link", "name", "offset", "size", "type")

    def __init__(self, name: str, fields: tuple[int, ...]) -> None:
        self.name = name
        self.type, self.flags, self.address, self.offset, self.size, self.link, self.info = fields[1:8]
        self.entry_size = fields[9]


class Segment:
    """One program header; addresses are those of the file, before the loader moves it."""

    __slots__ = ("address", "file_size", "flags", "memory_size", "offset", "type")

    def __init__(self, type: int, flags: int, place: tuple[int, int, int, int]) -> None:
        self.type = type
        self.flags = flags
        self.offset, self.address, self.file_size, self.memory_size = place


def open_regular(path: str, shown: str | None = None, *, follow: bool = True) -> int:
    """A descriptor of a regular file. Waits for nothing (FIFOs) and starts nothing (devices).

    :param follow: follow a symbolic link at the end of the path.
    :raises SymbolError: SYM001, the file is missing, unreadable, or no regular file.
    """
    shown = path if shown is None else shown
    reason: str | None
    try:
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
        handle = os.open(path, flags if follow else flags | os.O_NOFOLLOW)
    except OSError as error:
        reason = error.strerror
    except ValueError:
        reason = "the name holds a null byte"
    else:
        if stat.S_ISREG(os.fstat(handle).st_mode):
            return handle
        os.close(handle)
        reason = "it is not a regular file"
    hint = None
    if reason == "Permission denied":
        hint = "run as a user who may read it, such as root"
    raise SymbolError("SYM001", f"cannot open '{shown}': {reason}", hint=hint)


class ElfImage:
    """The header, segments and sections of one ELF file or of an image in memory.

    :ivar name: how messages call the file.
    :ivar bits: 32 or 64.
    :ivar order: ``<`` or ``>``, as :mod:`struct` writes byte order.
    :ivar type: ``ET_EXEC``, ``ET_DYN``, ...
    :ivar machine: ``EM_X86_64``, ...
    """

    __slots__ = (
        "_data",
        "_handle",
        "bits",
        "entry",
        "machine",
        "name",
        "order",
        "sections",
        "segments",
        "size",
        "status",
        "type",
    )

    def __init__(self, name: str, *, handle: int = -1, data: bytes = b"") -> None:
        """Read the headers. The image owns ``handle`` from here on; prefer :meth:`open`."""
        self.name = name
        self._handle = handle
        self._data = data
        self.status = os.fstat(handle) if handle >= 0 else None
        self.size = self.status.st_size if self.status is not None else len(data)
        self.segments: list[Segment] = []
        self.sections: list[Section] = []
        try:
            self._read_headers()
        except BaseException:
            self.close()
            raise

    @classmethod
    def open(cls, path: str, shown: str | None = None) -> ElfImage:
        """Open a file; messages call it ``shown``.

        :raises SymbolError: SYM001 (cannot open), SYM002 (not ELF), SYM003 (damaged).
        """
        return cls(path if shown is None else shown, handle=open_regular(path, shown))

    def close(self) -> None:
        """Let go of the file; headers stay usable, contents can no longer be read."""
        handle, self._handle = self._handle, -1
        if handle >= 0:
            os.close(handle)

    def __del__(self) -> None:
        self.close()

    def __enter__(self) -> ElfImage:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Reading

    def damaged(self, what: str) -> SymbolError:
        """The error for a file that contradicts itself."""
        return SymbolError(
            "SYM003",
            f"'{self.name}' is a damaged ELF file: {what}",
            hint="compare it with a fresh copy of the package it came from",
        )

    def read(self, offset: int, size: int, what: str) -> bytes:
        """``size`` bytes of the file at ``offset``; an error where the file has fewer."""
        if offset < 0 or size < 0 or offset + size > self.size:
            raise self.damaged(f"{what} lies outside the file")
        if size > _MAX_SECTION:
            raise self.damaged(f"{what} is larger than 1 GiB")
        if self._handle < 0:
            if not self._data and size:
                raise SymbolError("SYM001", f"'{self.name}' was closed before {what} was read")
            return self._data[offset : offset + size]
        parts = []
        while size:
            try:
                part = os.pread(self._handle, size, offset)
            except OSError as error:
                raise SymbolError("SYM001", f"cannot read '{self.name}': {error.strerror}") from error
            if not part:
                raise self.damaged(f"{what} lies outside the file")
            parts.append(part)
            offset += len(part)
            size -= len(part)
        return b"".join(parts)

    def contents(self, section: Section) -> bytes:
        """The bytes of a section; none for a section that takes no room in the file."""
        if section.type == SHT_NOBITS:
            return b""
        if section.flags & SHF_COMPRESSED:
            raise self.damaged(f"section {section.name} is compressed, which only debug data may be")
        return self.read(section.offset, section.size, f"section {section.name}")

    def section(self, name: str) -> Section | None:
        """The first section of that name."""
        for section in self.sections:
            if section.name == name:
                return section
        return None

    def unpack(self, form: str, data: bytes, offset: int = 0) -> tuple[int, ...]:
        """Integers in the file's byte order; ``form`` is a :mod:`struct` format without one."""
        return struct.unpack_from(self.order + form, data, offset)

    def _read_headers(self) -> None:
        ident = self.read(0, min(self.size, 64), "the header")
        if ident[:4] != b"\x7fELF":
            raise _not_elf(self.name, ident)
        if len(ident) < 20 or ident[4] not in (1, 2) or ident[5] not in (1, 2):
            raise self.damaged("its header is cut off or of an unknown class")
        self.bits = 32 if ident[4] == 1 else 64
        self.order = "<" if ident[5] == 1 else ">"
        form = "HHIIIIIHHHHHH" if self.bits == 32 else "HHIQQQIHHHHHH"
        if len(ident) < 16 + struct.calcsize("<" + form):
            raise self.damaged("its header is cut off")
        fields = self.unpack(form, ident, 16)
        self.type, self.machine, _, self.entry, phoff, shoff = fields[:6]
        phentsize, phnum, shentsize, shnum, shstrndx = fields[8:13]
        headers = self._section_headers(shoff, shentsize, shnum) if shoff else []
        if headers:
            # Counts that do not fit 16 bits are in the first section header.
            if phnum == PN_XNUM:
                phnum = headers[0][7]
            if shstrndx == SHN_XINDEX:
                shstrndx = headers[0][6]
        self._read_segments(phoff, phentsize, phnum)
        names = b""
        if headers and 0 < shstrndx < len(headers) and headers[shstrndx][1] != SHT_NOBITS:
            names = self.read(headers[shstrndx][4], headers[shstrndx][5], "the table of section names")
        self.sections = [Section(string_at(names, fields[0]), fields) for fields in headers]

    def _section_headers(self, offset: int, entry: int, count: int) -> list[tuple[int, ...]]:
        form = "IIIIIIIIII" if self.bits == 32 else "IIQQQQIIQQ"
        need = struct.calcsize("<" + form)
        if entry < need:
            raise self.damaged("its section headers are too small")
        if count == 0:
            count = self.unpack(form, self.read(offset, need, "the first section header"))[5]
        if count > _MAX_ENTRIES:
            raise self.damaged(f"it claims to have {count} sections")
        table = self.read(offset, entry * count, "the table of sections")
        return [self.unpack(form, table, entry * index) for index in range(count)]

    def _read_segments(self, offset: int, entry: int, count: int) -> None:
        if not count or not offset:
            return
        form = "IIIIIIII" if self.bits == 32 else "IIQQQQQQ"
        if entry < struct.calcsize("<" + form):
            raise self.damaged("its program headers are too small")
        if count > _MAX_ENTRIES:
            raise self.damaged(f"it claims to have {count} segments")
        table = self.read(offset, entry * count, "the table of segments")
        for index in range(count):
            head = self.unpack(form, table, entry * index)
            if self.bits == 32:
                kind, place, flags = head[0], (head[1], head[2], head[4], head[5]), head[6]
            else:
                kind, place, flags = head[0], (head[2], head[3], head[5], head[6]), head[1]
            self.segments.append(Segment(kind, flags, place))

    # Addresses

    def offset_of(self, address: int) -> int | None:
        """The file offset of an address of the file's own layout, through PT_LOAD; ``None`` if it has none."""
        for segment in self.segments:
            if segment.type == PT_LOAD and 0 <= address - segment.address < segment.file_size:
                return address - segment.address + segment.offset
        return None

    def address_of(self, offset: int) -> int | None:
        """The address that a byte of the file is loaded at; executable segments are asked first."""
        found = None
        for segment in self.segments:
            if segment.type == PT_LOAD and 0 <= offset - segment.offset < segment.file_size:
                if segment.flags & PF_X:
                    return offset - segment.offset + segment.address
                if found is None:
                    found = offset - segment.offset + segment.address
        return found

    # Notes

    def notes(self) -> Iterator[tuple[str, int, bytes]]:
        """Owner, type and contents of all notes in note segments and sections; stops at a damaged one."""
        blocks = [(item.offset, item.file_size) for item in self.segments if item.type == PT_NOTE]
        blocks += [(item.offset, item.size) for item in self.sections if item.type == SHT_NOTE]
        for offset, size in dict.fromkeys(blocks):
            if offset + size <= self.size:
                yield from self.split_notes(self.read(offset, size, "a note"))

    def split_notes(self, data: bytes, *, strict: bool = False) -> Iterator[tuple[str, int, bytes]]:
        """The notes of one block: three words (name size, content size, type), both parts padded to 4.

        A note that is cut off ends them, or with ``strict`` is an error.
        """
        at = 0
        while at + 12 <= len(data):
            name_size, size, kind = self.unpack("III", data, at)
            start = at + 12 + (name_size + 3 & ~3)
            if start + size > len(data):
                break
            owner = data[at + 12 : at + 12 + name_size].rstrip(b"\0").decode("latin-1")
            yield owner, kind, data[start : start + size]
            at = start + (size + 3 & ~3)
        if strict and at < len(data):
            raise self.damaged(f"its notes end after {at} of {len(data)} bytes")

    @property
    def build_id(self) -> bytes:
        """The linker's GNU build id; empty if the file has none."""
        for owner, kind, data in self.notes():
            if owner == "GNU" and kind == NT_GNU_BUILD_ID:
                return data
        return b""


def string_at(table: bytes, offset: int) -> str:
    """The null-ended string of a string table at ``offset``; empty where there is none."""
    if not 0 <= offset < len(table):
        return ""
    end = table.find(b"\0", offset)
    return table[offset : end if end >= 0 else len(table)].decode("utf-8", "backslashreplace")


def _not_elf(name: str, start: bytes) -> SymbolError:
    hint = None
    if start[:2] == b"#!":
        words = start[2:].split(b"\n")[0].split()
        interpreter = words[0].decode("utf-8", "replace") if words else "an interpreter"
        hint = f"it is a script; its machine code is in the interpreter, {interpreter}"
    elif start.startswith(b"!<arch>"):
        hint = "it is an archive of objects; probe the program that was linked with it"
    elif start.lstrip().startswith((b"/* GNU ld", b"OUTPUT_FORMAT", b"INPUT", b"GROUP")):
        hint = "it is a linker script; name the library itself, such as libc.so.6"
    what = "it is empty" if not start else "its first bytes are not 7f 45 4c 46"
    return SymbolError("SYM002", f"'{name}' is not an ELF file: {what}", hint=hint)
