"""The running kernel's BTF, read whole, for the generators and their tests.

Small and eager: every type becomes a tuple. The library reads BTF lazily in ``osmia.btf``; the tables are checked
with this independent reader, so that a mistake in one is not repeated in the other.
"""

from __future__ import annotations

import struct
from functools import cache

KINDS = (
    "void", "int", "ptr", "array", "struct", "union", "enum", "fwd", "typedef", "volatile", "const", "restrict", "func",
    "func_proto", "var", "datasec", "float", "decl_tag", "type_tag", "enum64",
)  # fmt: skip
_EXTRA = {"int": (4, 0), "array": (12, 0), "struct": (0, 12), "union": (0, 12), "enum": (0, 8), "func_proto": (0, 8)}
_EXTRA |= {"var": (4, 0), "datasec": (0, 12), "decl_tag": (4, 0), "enum64": (0, 12)}


class Btf:
    """All types: ``kind[i]``, ``name[i]``, ``size[i]`` (or referenced type), ``flag[i]`` and ``rest[i]`` (raw
    bytes)."""

    def __init__(self, data: bytes) -> None:
        header = struct.unpack_from("<HBBIIIII", data)
        if header[0] != 0xEB9F:
            raise ValueError("not little-endian BTF")
        base = header[3]
        types = data[base + header[4] : base + header[4] + header[5]]
        strings = data[base + header[6] : base + header[6] + header[7]]
        self.kind, self.name, self.size, self.flag, self.rest = ["void"], [""], [0], [False], [b""]
        self.vlen = [0]
        self._strings = strings
        self._by_name: dict[tuple[str, str], int] = {}
        at = 0
        while at < len(types):
            name, info, size = struct.unpack_from("<III", types, at)
            kind = KINDS[info >> 24 & 31]
            count = info & 0xFFFF
            fixed, each = _EXTRA.get(kind, (0, 0))
            at += 12
            self.kind.append(kind)
            self.name.append(self.string(name))
            self.size.append(size)
            self.flag.append(bool(info >> 31))
            self.vlen.append(count)
            self.rest.append(types[at : at + fixed + each * count])
            at += fixed + each * count
            if name:
                self._by_name.setdefault((kind, self.name[-1]), len(self.kind) - 1)

    def string(self, offset: int) -> str:
        """The string at an offset of the string section."""
        return self._strings[offset : self._strings.index(0, offset)].decode()

    def find(self, kind: str, name: str) -> int:
        """The first type with that kind and name, 0 when there is none."""
        return self._by_name.get((kind, name), 0)

    def enum(self, type_id: int) -> dict[str, int]:
        """Enumerators and their values."""
        wide = self.kind[type_id] == "enum64"
        signed = self.flag[type_id]
        found = {}
        for at in range(0, len(self.rest[type_id]), 12 if wide else 8):
            name, value, high = struct.unpack_from("<III" if wide else "<II", self.rest[type_id], at) + (
                () if wide else (0,)
            )
            value |= high << 32
            if signed and value >> (63 if wide else 31):
                value -= 1 << (64 if wide else 32)
            found[self.string(name)] = value
        return found

    def enumerators(self) -> dict[str, int]:
        """Every enumerator of every enum."""
        found: dict[str, int] = {}
        for type_id, kind in enumerate(self.kind):
            if kind in ("enum", "enum64"):
                found.update(self.enum(type_id))
        return found

    def members(self, type_id: int) -> list[tuple[str, int, int, int]]:
        """Of a struct or union: name, type, offset in bits, bits (0 when no bitfield)."""
        found = []
        for at in range(0, len(self.rest[type_id]), 12):
            name, member, offset = struct.unpack_from("<III", self.rest[type_id], at)
            bits = offset >> 24 if self.flag[type_id] else 0
            found.append((self.string(name), member, offset & 0xFFFFFF if self.flag[type_id] else offset, bits))
        return found

    def strip(self, type_id: int) -> int:
        """The type without typedefs and qualifiers."""
        while self.kind[type_id] in ("typedef", "volatile", "const", "restrict", "type_tag"):
            type_id = self.size[type_id]
        return type_id

    def array(self, type_id: int) -> tuple[int, int]:
        """Of an array: element type and count."""
        element, _, count = struct.unpack("<III", self.rest[type_id])
        return element, count

    def sizeof(self, type_id: int) -> int:
        """Bytes of a value."""
        type_id = self.strip(type_id)
        kind = self.kind[type_id]
        if kind == "ptr":
            return 8
        if kind == "array":
            element, count = self.array(type_id)
            return self.sizeof(element) * count
        return self.size[type_id]

    def params(self, proto: int) -> list[tuple[str, int]]:
        """Of a function prototype: names and types of its parameters."""
        rest = self.rest[proto]
        pairs = [struct.unpack_from("<II", rest, at) for at in range(0, len(rest), 8)]
        return [(self.string(name), kind) for name, kind in pairs]

    def signed(self, type_id: int) -> bool:
        """Whether an integer or enum is signed."""
        type_id = self.strip(type_id)
        if self.kind[type_id] == "int":
            return bool(self.rest[type_id][3] & 1)
        return self.kind[type_id] in ("enum", "enum64") and self.flag[type_id]

    def text(self, type_id: int) -> str:
        """A type as C writes it, without the declarator's place for a name (good for scalars and pointers)."""
        kind, name = self.kind[type_id], self.name[type_id]
        if kind == "ptr":
            inner = self.text(self.size[type_id])
            return inner + ("*" if inner.endswith("*") else " *")
        if kind in ("const", "volatile"):
            inner = self.text(self.size[type_id])
            return f"{inner} {kind}" if inner.endswith("*") else f"{kind} {inner}"
        if kind in ("restrict", "type_tag"):
            return self.text(self.size[type_id])
        if kind in ("struct", "union", "enum"):
            return f"{kind} {name}"
        if kind == "fwd":
            return f"{'union' if self.flag[type_id] else 'struct'} {name}"
        if kind == "func_proto":
            return "void"
        return name or "void"


@cache
def kernel() -> Btf:
    """BTF of the running kernel."""
    with open("/sys/kernel/btf/vmlinux", "rb") as file:
        return Btf(file.read())
