"""Reads modules of the textual form."""

from __future__ import annotations

from osmia.compiler.ir import Function, Global, Module
from osmia.compiler.text.functions import FunctionReader
from osmia.compiler.text.lexer import MAX_DIGITS
from osmia.compiler.text.printer import MAP_ITEMS
from osmia.compiler.text.reader import MAX_ZEROS, Reader
from osmia.diagnostics.text import did_you_mean
from osmia.object.layout import Bytes, Enum, Field, Int, Layout, Struct
from osmia.object.spec import EventSchema, MapSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Parser(Reader):
    """The state while a module is read."""

    def __init__(self, text: str, name: str) -> None:
        super().__init__(text, name)
        self.module = Module("")

    def parse(self) -> Module:
        """The whole text."""
        self.expect("module")
        self.module.name = self.text("the module's name in quotes")
        self.expect("license")
        self.module.license = self.text("a licence in quotes")
        readers = {
            "source": self._source, "struct": self._struct, "enum": self._enum, "map": self._map_item,
            "global": self._global, "event": self._event, "extras": self._extras, "function": self._function,
        }  # fmt: skip
        while self.token.kind != "end":
            token = self.token
            reader = readers.get(token.text) if token.kind == "word" else None
            if reader is None:
                hint = did_you_mean(token.text, readers) or f"one of {', '.join(readers)}"
                raise self.error("IR301", f"'{token.text}' starts no item of a module", token, hint)
            self.next()
            reader()
        return self.module

    def _source(self) -> None:
        token = self.kind("span", "a number (!0)")
        digits = token.text[1:]
        if not digits.isdigit() or len(digits) > MAX_DIGITS or int(digits) in self.files:
            raise self.error("IR306", f"source {token.text} is declared twice, or is no number", token)
        self.files[int(digits)] = self.text("a file name in quotes")

    def _alias(self, kind: str) -> tuple[str, str]:
        token = self.token
        alias = self.kind("word", f"the name of a {kind}").text
        if (kind, alias) in self.layouts:
            raise self.error("IR306", f"{kind} {alias} is defined twice", token)
        return alias, self.text() if self.take("named") else alias

    def _enum(self) -> None:
        alias, name = self._alias("enum")
        self.expect(":")
        token = self.token
        base = self.type()
        if not isinstance(base, Int):
            raise self.error("IR305", f"an enum's base is an integer type, not {base}", token)
        self.expect("{")
        members = []
        while not self.take("}"):
            member = self.word("an enumerator")
            self.expect("=")
            members.append((member, self.number("an enumerator's value")))
        self.layouts["enum", alias] = Enum(name, base, members)

    def _struct(self) -> None:
        alias, name = self._alias("struct")
        self.expect("size")
        size = self.size("a size")
        self.expect("align")
        align = self.size("an alignment")
        self.expect("{")
        fields = []
        while not self.take("}"):
            offset = self.size("a field's offset")
            member = self.word("a field's name")
            self.expect(":")
            token = self.token
            type_ = self.type()
            if not isinstance(type_, Layout):
                raise self.error("IR305", f"a field's type is a layout, not {type_}", token)
            bit = bits = 0
            if self.take("bits"):
                bit, bits = self.size("the first bit"), self.size("a number of bits")
            fields.append(Field(member, type_, offset, bit, bits))
        self.layouts["struct", alias] = Struct(name, fields, size, align)

    def _key(self, what: str, known: dict[str, Any]) -> tuple[str, str]:
        token = self.token
        key = self.name("@", f"the name of a {what}")
        if key in known:
            raise self.error("IR306", f"{what} {key} is there twice", token)
        return key, self.text() if self.take("named") else key

    def _map_item(self) -> None:
        key, name = self._key("map", self.module.maps)
        self.module.maps[key] = self._map(name)

    def _map(self, name: str) -> MapSpec:
        self.deeper()
        self.expect(":")
        spec = MapSpec(name, self.word("a kind of map"))
        seen: set[str] = set()
        self.expect("{")
        while not self.take("}"):
            token = self.token
            item = self.kind("word", "an item of a map").text
            if item not in MAP_ITEMS or item in seen:
                hint = did_you_mean(item, MAP_ITEMS)
                raise self.error("IR306", f"'{item}' is no item of a map, or is there twice", token, hint)
            seen.add(item)
            self.expect("=")
            self._map_value(spec, item, seen)
            if not self.at("}"):
                self.expect(",")
        self.depth -= 1
        return spec

    def _map_value(self, spec: MapSpec, item: str, seen: set[str]) -> None:
        token = self.token
        if item == "inner":
            self.expect("map")
            key = self.name("@", "the name of a map")
            spec.inner = self._map(self.text() if self.take("named") else key)
            return
        value = self.value()
        if item in ("key", "value"):
            right = isinstance(value, Layout)
            if isinstance(value, Layout) and f"{item}_size" not in seen:
                setattr(spec, f"{item}_size", value.size)
        elif item in ("pin", "section", "role"):
            right = isinstance(value, str)
        elif item == "frozen":
            right = isinstance(value, bool)
        elif item == "contents":
            right = isinstance(value, list) and all(
                isinstance(pair, tuple)
                and len(pair) == 2
                and isinstance(pair[0], bytes)
                and isinstance(pair[1], (bytes, str))
                for pair in value
            )
        else:
            right = isinstance(value, int) and not isinstance(value, bool)
        if not right:
            raise self.error("IR307", f"this is no {item} of a map", token)
        setattr(spec, item, value)

    def _global(self) -> None:
        key, name = self._key("global", self.module.globals)
        self.expect(":")
        token = self.token
        layout = self.type()
        if not isinstance(layout, Layout):
            raise self.error("IR305", f"a global variable's type is a layout, not {layout}", token)
        self.expect("in")
        section = self.text("a section in quotes")
        if self.take("="):
            init = self._bytes()
            made = Global(name, Bytes(0), section)
            made.layout, made.init = layout, init
        elif layout.size > MAX_ZEROS:
            raise self.error("IR302", f"a global variable of {layout.size} bytes is too large", token)
        else:
            made = Global(name, layout, section)
        made.span = self.span()
        self.module.globals[key] = made

    def _event(self) -> None:
        token = self.token
        key = self.name("@", "the name of a buffer map")
        if key in self.module.events:
            raise self.error("IR306", f"event {key} is there twice", token)
        map_name = self.text() if self.take("on") else key
        self.expect(":")
        name = self.text("the event's name in quotes")
        token = self.token
        layout = self.type()
        if not isinstance(layout, Struct):
            raise self.error("IR305", f"an event is a struct, not {layout}", token)
        columns: Any = {}
        if self.at("{") and not self.token.first:
            token = self.token
            columns = self.value()
            if not all(isinstance(part, str) for pair in columns.items() for part in pair):
                raise self.error("IR307", "columns are names of fields and formats", token)
        self.module.events[key] = EventSchema(name, map_name, layout, columns)

    def _extras(self) -> None:
        self.expect("{")
        while not self.take("}"):
            token = self.token
            key = self.text("a key in quotes")
            if key in self.module.extras:
                raise self.error("IR306", f"the key {key!r} is there twice", token)
            self.expect(":")
            self.module.extras[key] = self.value()

    def _function(self) -> None:
        kind = self.word("the function's kind")
        key, name = self._key("function", self.module.functions)
        reader = FunctionReader(self, Function(name, [], kind=kind))
        self.module.functions[key] = reader.read()


def parse_module(text: str, name: str = "<ir>") -> Module:
    """Reads what :func:`~osmia.compiler.text.print_module` wrote, or a person.

    :param name: the text's name in errors.
    :raises CompileError: IR300 to IR308: the text is no module; the span is the place in the text.
    """
    return Parser(text, name).parse()
