"""How types and constant values are written; structs and enums by names that the module's text defines first."""

from __future__ import annotations

import re

from osmia.compiler.ir import KArray, KType, Ptr
from osmia.compiler.ir.types import Marker
from osmia.compiler.text.lexer import quote, word
from osmia.diagnostics import CompileError
from osmia.object.layout import Array, Bool, Bytes, Char, Enum, Int, Layout, Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_DEPTH = 64
KINDS = ("struct", "union", "enum", "typedef")
_ALIAS = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")


def _refuse(what: str) -> CompileError:
    return CompileError("IR309", f"{what} has no textual form", hint="see `osmia explain IR309`")


class Names:
    """Names of struct and enum layouts in a text, in the order in which they are to be defined."""

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], str] = {}
        self._taken: set[str] = set()
        self.layouts: list[tuple[str, Struct | Enum]] = []

    def of(self, layout: Struct | Enum, depth: int = 0) -> str:
        """The name of a layout, given when it is first asked for; parts come before what holds them."""
        key = layout.plain()
        found = self._known.get(key)
        if found is not None:
            return found
        if isinstance(layout, Struct):
            for field in layout.fields:
                self.add(field.type, depth + 1)
        plain = layout.name if _ALIAS.fullmatch(layout.name) else "anon"
        found, count = plain, 1
        while found in self._taken:
            count += 1
            found = f"{plain}.{count}"
        self._taken.add(found)
        self._known[key] = found
        self.layouts.append((found, layout))
        return found

    def add(self, type_: object, depth: int = 0) -> None:
        """Names what a type is made of."""
        if depth > MAX_DEPTH:
            raise _refuse("a type nested so deep")
        if isinstance(type_, (Struct, Enum)):
            self.of(type_, depth)
        elif isinstance(type_, (Array, KArray)):
            self.add(type_.element, depth + 1)
        elif isinstance(type_, Ptr):
            self.add(type_.to, depth + 1)

    def type(self, type_: object, depth: int = 0) -> str:
        """A type as text."""
        if depth > MAX_DEPTH:
            raise _refuse("a type nested so deep")
        if isinstance(type_, (Int, Bool, Char, Bytes, Marker)):
            return str(type_)
        if isinstance(type_, Array):
            return f"{self.type(type_.element, depth + 1)}[{type_.count}]"
        if isinstance(type_, Struct):
            return f"struct {self.of(type_)}"
        if isinstance(type_, Enum):
            return f"enum {self.of(type_)}"
        if isinstance(type_, KType):
            if type_.kind in KINDS:
                return f"k{type_.kind} {word(type_.name)}"
            return f"ktype {quote(type_.kind)} {word(type_.name)}"
        if isinstance(type_, KArray):
            return f"karray<{self.type(type_.element, depth + 1)}, {type_.count}>"
        if isinstance(type_, Ptr):
            to = "bytes" if type_.to is None else self.type(type_.to, depth + 1)
            bound = "" if type_.bound is None else f", {type_.bound}"
            return f"ptr<{type_.space.value}, {to}{bound}>{'?' if type_.nullable else ''}"
        raise _refuse(f"the type {type_!r}")

    def value(self, value: object, depth: int = 0) -> str:
        """A constant as text: what JSON has, and tuples, bytes and types."""
        if depth > MAX_DEPTH:
            raise _refuse("a value nested so deep")
        if value is None:
            return "null"
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, int):
            if value.bit_length() > 1024:
                raise _refuse("a number of more than 1024 bits")
            return str(int(value))
        if isinstance(value, float):
            text = repr(value)
            if not re.fullmatch(r"-?\d+(?:\.\d+(?:[eE][+-]?\d+)?|[eE][+-]?\d+)", text):
                raise _refuse(f"the number {text}")
            return text
        if isinstance(value, str):
            return quote(value)
        if isinstance(value, (bytes, bytearray)):
            return f'x"{bytes(value).hex()}"'
        if isinstance(value, tuple):
            inner = ", ".join(self.value(item, depth + 1) for item in value)
            return f"({inner},)" if len(value) == 1 else f"({inner})"
        if isinstance(value, list):
            return f"[{', '.join(self.value(item, depth + 1) for item in value)}]"
        if isinstance(value, dict):
            pairs = (f"{self.value(key, depth + 1)}: {self.value(item, depth + 1)}" for key, item in value.items())
            return f"{{{', '.join(pairs)}}}"
        if isinstance(value, (Layout, KType, KArray, Ptr, Marker)):
            return self.type(value, depth + 1)
        raise _refuse(f"{value!r}")

    def definitions(self) -> Iterator[str]:
        """The lines that define all named layouts."""
        for alias, layout in self.layouts:
            named = "" if alias == layout.name else f" named {quote(layout.name)}"
            if isinstance(layout, Enum):
                yield f"enum {alias}{named}: {layout.base} {{"
                yield from (f"  {word(name)} = {number}" for name, number in layout.members)
            else:
                yield f"struct {alias}{named} size {layout.size} align {layout.align} {{"
                for field in layout.fields:
                    bits = f" bits {field.bit} {field.bits}" if field.bit or field.bits else ""
                    yield f"  {field.offset} {word(field.name)}: {self.type(field.type)}{bits}"
            yield "}"
