"""BTF as bytes: the header, the walk over the type records, the index of names.

Nothing here makes a type object. The walk and the sort are written for speed (a kernel has some 126,000
types): per-record work is one dictionary look-up, everything else runs in C loops of the interpreter.
"""

from __future__ import annotations

import sys
from bisect import bisect_left
from itertools import compress
from operator import itemgetter
from struct import Struct

from osmia.btf.types import (
    KIND_DECL_TAG,
    KIND_ENUM,
    KIND_ENUM64,
    KIND_FUNC,
    KIND_FWD,
    KIND_NAMES,
    KIND_STRUCT,
    KIND_TYPE_TAG,
    KIND_UNION,
)
from osmia.diagnostics import BtfError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import mmap
    from collections.abc import Sequence

    Buffer = bytes | mmap.mmap

MAGIC = 0xEB9F
VERSION = 1
HEADER_SIZE = 24
_HEADERS = {"little": Struct("<4xIIIII"), "big": Struct(">4xIIIII")}

#: Words of a record beyond its common three, by kind: a fixed part and a part per element.
_FIXED = (0, 1, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0)
_EACH = (0, 0, 0, 0, 3, 3, 2, 0, 0, 0, 0, 0, 0, 2, 0, 3, 0, 0, 0, 3)
#: Kinds whose flag bit means something.
_FLAGGED = (
    1 << KIND_STRUCT
    | 1 << KIND_UNION
    | 1 << KIND_ENUM
    | 1 << KIND_ENUM64
    | 1 << KIND_FWD
    | 1 << KIND_DECL_TAG
    | 1 << KIND_TYPE_TAG
)
_RESERVED_INFO = 0x60FF0000


class Header:
    """Where the two sections of a BTF blob lie; positions are absolute byte offsets."""

    __slots__ = ("byteorder", "str_len", "str_start", "type_len", "type_start")

    def __init__(self, byteorder: str, type_start: int, type_len: int, str_start: int, str_len: int) -> None:
        self.byteorder = byteorder
        self.type_start = type_start
        self.type_len = type_len
        self.str_start = str_start
        self.str_len = str_len


def byte_order_of(data: Buffer, what: str, code: str) -> str:
    """The byte order of a blob, from its magic number; ``code`` is raised when there is none."""
    magic = data[:2]
    if magic == b"\x9f\xeb":
        return "little"
    if magic == b"\xeb\x9f":
        return "big"
    found = f"starts with {magic.hex(' ')}" if magic else "is empty"
    raise BtfError(
        code, f"this is no {what} data: it {found}, not with 9f eb", hint="pass the section's bytes, without ELF header"
    )


def parse_header(data: Buffer, split: bool = False) -> Header:
    """Check a blob's header and the places of its sections.

    A header longer than 24 bytes (a later version's additions) is accepted, as libbpf does.

    :raises BtfError: ``BTF001`` no BTF, ``BTF002`` a version or flags not known here, ``BTF003`` sections
        outside the data, ``BTF007`` a string section that does not start and end with NUL.
    """
    total = len(data)
    if not total:
        raise BtfError("BTF001", "this is no BTF data: it is empty", hint="pass the bytes of the .BTF section")
    order = byte_order_of(data, "BTF", "BTF001")
    if total < HEADER_SIZE:
        raise BtfError(
            "BTF003",
            f"the BTF data ends within its header, after {total} of {HEADER_SIZE} bytes",
            hint="the data was cut off; read or build it again",
        )
    version, flags = data[2], data[3]
    if version != VERSION or flags:
        raise BtfError(
            "BTF002",
            f"BTF version {version} with flags {flags:#x} at byte 2; known is version {VERSION} with flags 0",
            hint="a newer compiler or kernel made this; update Osmia",
        )
    header_len, type_off, type_len, str_off, str_len = _HEADERS[order].unpack_from(data)
    if header_len < HEADER_SIZE or header_len > total:
        raise BtfError(
            "BTF003",
            f"the BTF header at byte 4 claims {header_len} bytes; between {HEADER_SIZE} and {total} are possible",
            hint="the data is corrupt or cut off; read or build it again",
        )
    for name, offset, length in (("type", type_off, type_len), ("string", str_off, str_len)):
        if header_len + offset + length > total:
            raise BtfError(
                "BTF003",
                f"the BTF {name} section should span bytes {header_len + offset} to {header_len + offset + length}, "
                f"the data has {total}",
                hint="the data was cut off; read or build it again",
            )
    if type_off % 4 or type_len % 4:
        raise BtfError(
            "BTF003",
            f"the BTF type section (offset {type_off}, length {type_len}) is not made of 4-byte words",
            hint="the header is corrupt; build the data again",
        )
    if type_off < str_off + str_len and str_off < type_off + type_len and type_len and str_len:
        raise BtfError(
            "BTF003",
            f"the BTF type section ({type_off}+{type_len}) and string section ({str_off}+{str_len}) overlap",
            hint="the header is corrupt; build the data again",
        )
    header = Header(order, header_len + type_off, type_len, header_len + str_off, str_len)
    _check_strings(data, header, split)
    return header


def _check_strings(data: Buffer, header: Header, split: bool) -> None:
    start, length = header.str_start, header.str_len
    if not length:
        if split:
            return
        cause = "is empty; it must hold at least the empty string"
    elif data[start + length - 1]:
        cause = f"does not end with NUL at byte {start + length - 1}"
    elif not split and data[start]:
        cause = f"does not start with the empty string at byte {start}"
    else:
        return
    raise BtfError("BTF007", f"the BTF string section {cause}", hint="the data is corrupt; read or build it again")


def words_of(data: Buffer, header: Header) -> memoryview:
    """The type section as native 32-bit words; no copy where the byte order is the machine's."""
    section = memoryview(data)[header.type_start : header.type_start + header.type_len]
    if header.byteorder == sys.byteorder:
        return section.cast("I")
    from array import array

    swapped = array("I", bytes(section))
    section.release()
    swapped.byteswap()
    return memoryview(swapped)


def record_words(info: int) -> int:
    """How many words a record with this ``info`` takes.

    :raises ValueError: the info word is impossible; the text says why.
    """
    kind = info >> 24 & 0x1F
    count = info & 0xFFFF
    if not 0 < kind < len(KIND_NAMES):
        raise ValueError(f"kind {kind} is not known")
    if info & _RESERVED_INFO:
        raise ValueError(f"reserved bits are set in its info word {info:#010x}")
    if info >> 31 and not _FLAGGED >> kind & 1:
        raise ValueError(f"the kind flag is set on kind {KIND_NAMES[kind]}")
    each = _EACH[kind]
    if count and not each and (kind != KIND_FUNC or count > 2):
        what = "linkage" if kind == KIND_FUNC else "element count"
        raise ValueError(f"kind {KIND_NAMES[kind]} has {what} {count}")
    return 3 + _FIXED[kind] + each * count


def scan_types(words: memoryview, type_start: int, first_id: int) -> list[int]:
    """The word position of every type record, in order.

    :param type_start: where the words lie in the data, for messages.
    :param first_id: the id of the first record, for messages.
    :raises BtfError: ``BTF004`` a record that is cut off, ``BTF005`` an unknown kind or an impossible info word.
    """
    infos = words[1:]
    sizes: dict[int, int] = {}
    starts: list[int] = []
    append = starts.append
    position = 0
    while True:
        try:
            while True:
                size = sizes[infos[position]]
                append(position)
                position += size
        except KeyError:
            try:
                sizes[infos[position]] = record_words(infos[position])
            except ValueError as error:
                raise BtfError(
                    "BTF005",
                    f"type #{first_id + len(starts)} at byte {type_start + position * 4}: {error}",
                    hint="the data is corrupt, or made by a newer compiler or kernel than this Osmia knows",
                ) from None
        except IndexError:
            break
    if position != len(words):
        last = first_id + len(starts) - (position > len(words))
        raise BtfError(
            "BTF004",
            f"type #{last} runs past the end of the type section at byte {type_start + len(words) * 4}",
            hint="the data was cut off, or an element count lies; read or build it again",
        )
    return starts


class TypeIndex:
    """Where each type's record is, and the types' order by name offset.

    :ivar starts: word position of each record, by id less the first id.
    :ivar order: those indices of all named types, by name offset, then by id.
    :ivar aligned: whether every name starts where a string starts, never inside a longer string.
    """

    __slots__ = ("aligned", "order", "starts")

    def __init__(self, starts: Sequence[int], order: Sequence[int], aligned: bool) -> None:
        self.starts = starts
        self.order = order
        self.aligned = aligned

    def find(self, words: memoryview, name_offset: int) -> list[int]:
        """The indices of all types whose name is at ``name_offset``, ascending."""
        starts, order = self.starts, self.order
        found: list[int] = []
        place = bisect_left(order, name_offset, key=lambda index: words[starts[index]])
        while place < len(order) and words[starts[order[place]]] == name_offset:
            found.append(order[place])
            place += 1
        return found


def names_of(words: memoryview, starts: Sequence[int]) -> Sequence[int]:
    """The name offset of every record."""
    if len(starts) < 2:
        return [words[start] for start in starts]
    names: Sequence[int] = itemgetter(*starts)(words)
    return names


def build_index(words: memoryview, starts: Sequence[int], aligned: Aligned) -> TypeIndex:
    """Sort the named types by name offset. ``aligned`` tells whether all of some name offsets start a string."""
    names = names_of(words, starts)
    order = list(compress(range(len(names)), names))
    order.sort(key=names.__getitem__)
    return TypeIndex(starts, order, aligned(list(filter(None, names))))


if TYPE_CHECKING:
    from collections.abc import Callable

    Aligned = Callable[[Sequence[int]], bool]
