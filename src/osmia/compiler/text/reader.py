"""Reads words, types and constants of the textual form."""

from __future__ import annotations

from osmia.compiler.ir import FUNC_REF, MAP_REF, VOID, KArray, KType, Ptr, Space
from osmia.compiler.text.lexer import MAX_DIGITS, Source, Token, tokens, unquote
from osmia.compiler.text.types import KINDS, MAX_DEPTH
from osmia.diagnostics import NO_SPAN, CompileError, Span
from osmia.diagnostics.text import did_you_mean
from osmia.object.layout import Array, Bool, Bytes, Char, Int, Layout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_SIZE = 1 << 30
MAX_ZEROS = 1 << 26
_SCALARS: dict[str, Any] = {
    **{f"u{bits}": Int(bits) for bits in (8, 16, 32, 64)},
    **{f"s{bits}": Int(bits, True) for bits in (8, 16, 32, 64)},
    "bool": Bool(),
    "void": VOID,
    "map": MAP_REF,
    "func": FUNC_REF,
}
_SPACES = {space.value: space for space in Space}
_WORDS = {"true": True, "false": False, "null": None}


class Reader:
    """A place in a text, and what can be read there: words, types, constants."""

    def __init__(self, text: str, name: str) -> None:
        self.source = Source(text, name)
        self._tokens = tokens(self.source)
        self.token = next(self._tokens)
        self.depth = 0
        self.files: dict[int, str] = {}
        self.layouts: dict[tuple[str, str], Layout] = {}

    # Words

    def error(self, code: str, message: str, token: Token | None = None, hint: str | None = None) -> CompileError:
        """An error at a word, the next one by default."""
        return self.source.error(code, message, token or self.token, hint)

    def next(self) -> Token:
        """Takes the next word."""
        token = self.token
        if token.kind != "end":
            self.token = next(self._tokens)
        return token

    def at(self, text: str) -> bool:
        """Whether the next word is that one."""
        return self.token.text == text and self.token.kind in ("sign", "word")

    def take(self, text: str) -> bool:
        """Takes the next word if it is that one."""
        if self.at(text):
            self.next()
            return True
        return False

    def expect(self, text: str) -> Token:
        """Takes the next word, which must be that one."""
        if not self.at(text):
            found = f"'{self.token.text}'" if self.token.kind != "end" else "the end of the text"
            raise self.error("IR301", f"'{text}' is expected here, not {found}")
        return self.next()

    def kind(self, kind: str, what: str) -> Token:
        """Takes the next word, which must be of a kind."""
        if self.token.kind != kind:
            found = f"'{self.token.text}'" if self.token.kind != "end" else "the end of the text"
            raise self.error("IR301", f"{what} is expected here, not {found}")
        return self.next()

    def text(self, what: str = "text in quotes") -> str:
        """A quoted text."""
        return self._unquoted(self.kind("text", what), 0)

    def _unquoted(self, token: Token, skip: int) -> str:
        found = unquote(token.text[skip:])
        if found is None:
            raise self.error(
                "IR300", "an escape in this text means nothing", token, 'write \\n, \\t, \\\\, \\" or \\u{...}'
            )
        return found

    def word(self, what: str) -> str:
        """A plain word or a quoted one."""
        if self.token.kind == "text":
            return self.text()
        return self.kind("word", what).text

    def name(self, sigil: str, what: str) -> str:
        """A name behind its sign."""
        if self.token.kind != "name" or self.token.text[0] != sigil:
            raise self.error("IR301", f"{what} ('{sigil}...') is expected here, not '{self.token.text}'")
        return self._named(self.next())

    def _named(self, token: Token) -> str:
        return self._unquoted(token, 1) if token.text[1:2] == '"' else token.text[1:]

    def number(self, what: str = "a whole number", least: int | None = None) -> int:
        """An integer."""
        token = self.kind("number", what)
        try:
            value = int(token.text) if len(token.text) <= MAX_DIGITS else None
        except ValueError:
            value = None
        if value is None or (least is not None and value < least):
            raise self.error("IR302", f"{what} is expected here, not {token.text[:40]}", token)
        return value

    def size(self, what: str) -> int:
        """An integer that is a number of bytes or elements."""
        token = self.token
        value = self.number(what, 0)
        if value > MAX_SIZE:
            raise self.error("IR302", f"{what} is at most {MAX_SIZE}, not {value}", token)
        return value

    def deeper(self) -> None:
        """Goes down one level of nesting."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.error("IR303", f"nested more than {MAX_DEPTH} deep")

    def span(self) -> Span:
        """The mark of a source place, if the next word is one."""
        if self.token.kind != "span" or self.token.first:
            return NO_SPAN
        token = self.next()
        head, _, tail = token.text[1:].partition("..")
        if len(head) + len(tail) > MAX_DIGITS:
            raise self.error("IR302", "a source place has shorter numbers", token)
        numbers = [int(part) for part in head.split(":")]
        file = self.files.get(numbers[0])
        if file is None:
            raise self.error("IR304", f"source !{numbers[0]} is not declared", token, 'declare it: source !0 "prog.py"')
        line = numbers[1] if len(numbers) > 1 else 0
        column = numbers[2] if len(numbers) > 2 else 0
        if not tail:
            return Span(file, line, column)
        ends = [int(part) for part in tail.split(":")]
        return Span(file, line, column, ends[0] if len(ends) == 2 else line, ends[-1])

    # Types

    def type(self) -> Any:
        """Any type."""
        self.deeper()
        token = self.token
        word = self.kind("word", "a type").text
        found: Any = _SCALARS.get(word)
        if found is None:
            found = self._made_type(word, token)
        while isinstance(found, Layout) and self.at("[") and not self.token.first:
            found = self._array(found, token)
        self.depth -= 1
        return found

    def _made_type(self, word: str, token: Token) -> Any:
        if word in ("char", "bytes"):
            if word == "bytes" and not self.at("["):
                raise self.error("IR305", "bytes without a size are only pointed to", token, "write bytes[16]")
            self.expect("[")
            size = self.size("a size")
            self.expect("]")
            return Char(size) if word == "char" else Bytes(size)
        if word in ("struct", "enum"):
            return self._layout(word)
        if word == "ptr":
            return self._pointer()
        if word == "karray":
            self.expect("<")
            element = self.type()
            if not isinstance(element, (Layout, KType, KArray, Ptr)):
                raise self.error("IR305", f"{element} is no type of an element", token)
            self.expect(",")
            count = self.size("a number of elements")
            self.expect(">")
            return KArray(element, count)
        if word == "ktype":
            kind = self.text()
            return KType(self.word("a kernel type's name"), kind)
        if word[:1] == "k" and word[1:] in KINDS:
            return KType(self.word("a kernel type's name"), word[1:])
        known = [*_SCALARS, "char", "bytes", "struct", "enum", "ptr", "karray", *(f"k{kind}" for kind in KINDS)]
        raise self.error("IR305", f"there is no type '{word}'", token, did_you_mean(word, known))

    def _array(self, element: Layout, token: Token) -> Array:
        self.expect("[")
        count = self.size("a number of elements")
        self.expect("]")
        made = Array(element, count)
        if made.size > MAX_SIZE:
            raise self.error("IR302", f"an array of {made.size} bytes is too large", token)
        self.deeper()
        self.depth -= 1
        return made

    def _layout(self, kind: str) -> Layout:
        token = self.token
        alias = self.kind("word", f"the name of a {kind}").text
        found = self.layouts.get((kind, alias))
        if found is None:
            known = [name for known_kind, name in self.layouts if known_kind == kind]
            hint = did_you_mean(alias, known) or "define it before it is used; kernel types are kstruct, kunion, kenum"
            raise self.error("IR304", f"{kind} {alias} is not defined", token, hint)
        return found

    def _pointer(self) -> Ptr:
        self.expect("<")
        token = self.token
        space = _SPACES.get(self.kind("word", "a kind of memory").text)
        if space is None:
            raise self.error("IR305", f"there is no memory '{token.text}'", token, f"it is one of {', '.join(_SPACES)}")
        self.expect(",")
        to = self._pointee()
        bound = self.size("a number of bytes") if self.take(",") else None
        self.expect(">")
        nullable = not self.token.first and self.take("?")
        return Ptr(space, to, nullable, bound)

    def _pointee(self) -> Any:
        if not self.at("bytes"):
            token = self.token
            to = self.type()
            if not isinstance(to, (Layout, KType, KArray, Ptr)):
                raise self.error("IR305", f"{to} is nothing to point to", token)
            return to
        token = self.next()
        if not self.at("["):
            return None
        self.expect("[")
        found: Layout = Bytes(self.size("a size"))
        self.expect("]")
        while self.at("["):
            found = self._array(found, token)
        return found

    # Constants

    def value(self) -> Any:
        """A constant: an attribute, an item of the extras."""
        self.deeper()
        token = self.token
        if token.kind == "text":
            found: Any = self.text()
        elif token.kind == "name" and token.text[0] != "%":
            found = self._named(self.next())
        elif token.kind == "bytes":
            found = self._bytes()
        elif token.kind == "number":
            found = self._float() if any(sign in token.text for sign in ".eE") else self.number()
        elif token.kind == "word" and token.text in _WORDS:
            found = _WORDS[self.next().text]
        elif token.kind == "word":
            found = self.type()
        elif self.take("("):
            found = tuple(self._items(")"))
        elif self.take("["):
            found = self._items("]")
        elif self.take("{"):
            found = self._pairs(token)
        else:
            raise self.error(
                "IR301", f"a value is expected here, not '{token.text}'" if token.text else "a value is missing"
            )
        self.depth -= 1
        return found

    def _float(self) -> float:
        token = self.next()
        value = float(token.text)
        if value - value != 0:
            raise self.error("IR302", "the number is too large", token)
        return value

    def _bytes(self) -> bytes:
        token = self.kind("bytes", 'bytes (x"...")')
        try:
            return bytes.fromhex(token.text[2:-1])
        except ValueError:
            raise self.error("IR302", "every byte has two hexadecimal digits", token) from None

    def _items(self, end: str) -> list[Any]:
        items = []
        while not self.take(end):
            items.append(self.value())
            if not self.at(end):
                self.expect(",")
        return items

    def _pairs(self, start: Token) -> dict[Any, Any]:
        pairs: dict[Any, Any] = {}
        while not self.take("}"):
            token = self.token
            key = self.value()
            try:
                known = key in pairs
            except TypeError:
                raise self.error("IR306", "a list or dict is no key", token) from None
            if known:
                raise self.error("IR306", "the key is there twice", token)
            self.expect(":")
            pairs[key] = self.value()
            if not self.at("}"):
                self.expect(",")
        return pairs
