"""From templates to a parser: the part that both assembly dialects share.

A dialect is a set of (row, template) pairs. Their tokens form a prefix tree; parsing a line walks it. So the grammar
is exactly the table's, and when a line fits nowhere the tree knows the furthest token that made sense and what could
have stood there.
"""

from __future__ import annotations

import re

from osmia.diagnostics.errors import IsaError
from osmia.diagnostics.span import Span

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from osmia.isa.table import Row

_TOKEN = re.compile(
    r"""
      (?P<space>[ \t\r\f\v]+)
    | (?P<comment>\#|//|;)
    | (?P<operator>s>>=|s>=|s<=|s/=|s%=|s>|s<|<<=|>>=|[-+*/|&%^=!<>]=|[-+*()\[\],:=<>&])
    | (?P<number>0[xX][0-9a-fA-F]+|0[bB][01]+|0|[1-9][0-9]*)(?![\w.])
    | (?P<word>[%]?[A-Za-z_.$][\w.$]*)
    """,
    re.VERBOSE | re.ASCII,
)
_PLACEHOLDER = re.compile(r"\{([a-z]+)(?:\.([a-z]+))?\}")
_NUMBERED_NAME = re.compile(r"#(-?[0-9]+)", re.ASCII)
_MAX_DIGITS = 80

NUMBER_RANGES = {"imm": (32, True), "wide": (64, True), "off": (16, False), "high": (32, True), "fd": (15, False)}
"""Fields and their bits; whether an unsigned hexadecimal pattern of all the bits is taken as well."""

_FIELD_NAMES = {
    "dst": "a register r0 to r10",
    "src": "a register r0 to r10",
    "dst.w": "a register w0 to w10",
    "src.w": "a register w0 to w10",
    "off": "an offset such as + 4",
    "imm": "a number",
    "high": "a number",
    "fd": "a number",
    "wide": "a number",
    "target": "a label or a distance such as +3",
    "callee": "a label or a distance such as pc+3",
    "helper": "a helper's number or name",
    "kfunc": "a kernel function's name",
    "map": "a map's name",
}


class Token:
    """A piece of a line: ``kind`` is ``operator``, ``number``, ``word`` or ``end``."""

    __slots__ = ("column", "kind", "text")

    def __init__(self, kind: str, text: str, column: int) -> None:
        self.kind = kind
        self.text = text
        self.column = column


class Node:
    """A place in the prefix tree: literal and placeholder edges, and the row that ends here."""

    __slots__ = ("fields", "literals", "row")

    def __init__(self) -> None:
        self.literals: dict[str, Node] = {}
        self.fields: dict[str, Node] = {}
        self.row: Row | None = None


class Value:
    """What a placeholder was filled with: a number, or a name to look up later."""

    __slots__ = ("name", "number", "token")

    def __init__(self, token: Token, number: int = 0, name: str = "") -> None:
        self.token = token
        self.number = number
        self.name = name


class Failure:
    """The furthest place that parsing reached, what could have followed, and complaints that are better than that."""

    __slots__ = ("complaint", "expected", "position")

    def __init__(self) -> None:
        self.position = -1
        self.expected: set[str] = set()
        self.complaint: tuple[int, IsaError] | None = None

    def expect(self, position: int, node: Node) -> None:
        """Remember what the node wanted at this position, when no other got further."""
        if position < self.position:
            return
        if position > self.position:
            self.position = position
            self.expected = set()
        self.expected.update(node.literals)
        self.expected.update("{" + name for name in node.fields)
        if node.row is not None:
            self.expected.add("")

    def complain(self, position: int, error: IsaError) -> None:
        """Remember an error about a token whose kind was right but whose value was not."""
        if self.complaint is None or position >= self.complaint[0]:
            self.complaint = (position, error)


Bindings = dict[str, Value]


class Grammar:
    """The prefix tree of a dialect.

    :param forms: pairs of row and template; the first row wins where two have the same template.
    """

    def __init__(self, forms: Iterable[tuple[Row, str]]) -> None:
        self.root = Node()
        for row, template in forms:
            self._add(row, template)
        _registers_first(self.root)

    def _add(self, row: Row, template: str) -> None:
        node = self.root
        for edge in _template_edges(template):
            edges = node.fields if edge.startswith("{") else node.literals
            node = edges.setdefault(edge.removeprefix("{"), Node())
        if node.row is None:
            node.row = row

    def first_words(self) -> set[str]:
        """The literal tokens that an instruction can begin with."""
        return {word for word in self.root.literals if word[0].isalpha()}

    def parse(self, tokens: list[Token], file: str, line: int) -> tuple[Row, Bindings]:
        """The row that a line's tokens make, and what its placeholders hold.

        :raises IsaError: ISA031 (no instruction has this form), ISA032 (wrong register), ISA033 (number out of range).
        """
        failure = Failure()
        place = (file, line)
        found = _walk(self.root, tokens, 0, {}, failure, place)
        if found is None:
            raise _syntax_error(self, tokens, failure, place)
        return found


def _registers_first(node: Node) -> None:
    """Where a register or a name may stand, a word that is a register is a register."""
    node.fields = dict(sorted(node.fields.items(), key=lambda item: item[0][:3] not in ("dst", "src")))
    for following in (*node.literals.values(), *node.fields.values()):
        _registers_first(following)


def _template_edges(template: str) -> Iterator[str]:
    """The tokens of a template: literals as they are, placeholders as ``{dst``, ``{dst.w``, ``{target``..."""
    position = 0
    for match in _PLACEHOLDER.finditer(template):
        yield from (token.text for token in tokenize(template[position : match.start()], "", 0)[:-1])
        name, style = match.group(1), match.group(2)
        yield "{" + name + (".w" if style == "w" else "")
        position = match.end()
    yield from (token.text for token in tokenize(template[position:], "", 0)[:-1])


def tokenize(text: str, file: str, line: int) -> list[Token]:
    """Cut a line into tokens, without comments, with an ``end`` token.

    :raises IsaError: ISA030 for a character or a number that cannot be.
    """
    tokens: list[Token] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise _bad_character(text, position, file, line)
        kind = match.lastgroup or ""
        if kind == "comment":
            break
        position = match.end()
        if kind == "space":
            continue
        word = match.group()
        if tokens and tokens[-1].text == "call" and kind == "word":
            numbered = _NUMBERED_NAME.match(text, position)
            if numbered:
                word, position = word + numbered.group(), numbered.end()
        tokens.append(Token(kind, word, match.start()))
    end = tokens[-1].column + len(tokens[-1].text) if tokens else 0
    tokens.append(Token("end", "", end))
    return tokens


def _bad_character(text: str, position: int, file: str, line: int) -> IsaError:
    word = re.compile(r"[\w.$]+").match(text, position)
    end = word.end() if word else position + 1
    if word and text[position].isdigit():
        return IsaError(
            "ISA030",
            f"{text[position:end]!r} is no number",
            span=Span(file, line, position, line, end),
            hint="numbers are decimal, or hexadecimal after 0x",
        )
    return IsaError(
        "ISA030",
        f"no instruction contains the character {text[position]!r}",
        span=Span(file, line, position, line, position + 1),
    )


def _walk(
    node: Node, tokens: list[Token], position: int, bound: Bindings, failure: Failure, place: tuple[str, int]
) -> tuple[Row, Bindings] | None:
    token = tokens[position]
    if token.kind == "end":
        if node.row is not None:
            return node.row, bound
        failure.expect(position, node)
        return None
    following = node.literals.get(token.text.removeprefix("%") if token.kind == "word" else token.text)
    if following is not None:
        found = _walk(following, tokens, position + 1, bound, failure, place)
        if found is not None:
            return found
    for field, after in node.fields.items():
        taken = _take(field, tokens, position, bound, failure, place)
        if taken is None:
            continue
        value, length = taken
        found = _walk(after, tokens, position + length, {**bound, field.partition(".")[0]: value}, failure, place)
        if found is not None:
            return found
    failure.expect(position, node)
    return None


def _take(
    field: str, tokens: list[Token], position: int, bound: Bindings, failure: Failure, place: tuple[str, int]
) -> tuple[Value, int] | None:
    """Fill a placeholder from the tokens at ``position``: the value and how many tokens it took."""
    token = tokens[position]
    name, _, style = field.partition(".")
    if name in ("dst", "src"):
        return _take_register(name, "w" if style else "r", tokens, position, bound, failure, place)
    if name in ("target", "callee"):
        return _take_target(name, tokens, position)
    if name in ("kfunc", "map"):
        return (Value(token, name=token.text), 1) if token.kind == "word" else None
    if name == "helper" and token.kind == "word":
        return Value(token, name=token.text), 1
    if name == "off" and token.text not in ("+", "-"):
        return Value(token), 0
    if name == "helper":
        # A sign would be a distance; only "call -1" is a number, that of a call which nobody has resolved yet.
        return None if token.text == "+" else _take_number("imm", tokens, position, failure, place)
    return _take_number(name, tokens, position, failure, place)


def _take_register(
    name: str,
    letter: str,
    tokens: list[Token],
    position: int,
    bound: Bindings,
    failure: Failure,
    place: tuple[str, int],
) -> tuple[Value, int] | None:
    token = tokens[position]
    text = token.text.removeprefix("%")
    if token.kind != "word" or text[:1] != letter or not text[1:].isdecimal() or not text.isascii():
        return None
    number = int(text[1:]) if len(text) < 4 else 99
    span = _span(place, token)
    if number > 10 or (len(text) > 2 and text[1] == "0"):
        failure.complain(
            position,
            IsaError(
                "ISA032",
                f"there is no register {token.text}",
                span=span,
                hint=f"registers are {letter}0 to {letter}10",
            ),
        )
        return None
    before = bound.get(name)
    if before is not None and before.number != number:
        failure.complain(
            position,
            IsaError(
                "ISA032",
                f"this instruction works in place: {token.text} must be {before.token.text}",
                span=span,
                hint="the register is written twice in the text but stands once in the encoding",
            ),
        )
        return None
    return Value(token, number), 1


def _take_target(name: str, tokens: list[Token], position: int) -> tuple[Value, int] | None:
    token = tokens[position]
    start = position
    if token.kind == "word" and token.text != "pc":
        return Value(token, name=token.text), 1
    if token.text == "pc":
        start += 1
    sign = tokens[start]
    if sign.text not in ("+", "-") or tokens[start + 1].kind != "number":
        return (Value(token, name=token.text), 1) if token.text == "pc" else None
    if name == "callee" and start == position and tokens[position - 1].text == "call":
        return None
    number = _number(tokens[start + 1].text)
    return Value(token, -number if sign.text == "-" else number), start + 2 - position


def _number(text: str) -> int:
    if len(text) > _MAX_DIGITS:
        return 1 << 256
    if text[:2] in ("0x", "0X"):
        return int(text, 16)
    return int(text, 2) if text[:2] in ("0b", "0B") else int(text)


def _take_number(
    name: str, tokens: list[Token], position: int, failure: Failure, place: tuple[str, int]
) -> tuple[Value, int] | None:
    sign = 1
    sign_text = ""
    length = 1
    token = tokens[position]
    if token.text in ("-", "+"):
        sign_text = token.text
        sign = -1 if sign_text == "-" else 1
        token = tokens[position + 1]
        length = 2
    if token.kind != "number":
        return None
    number = _number(token.text) * sign
    bits, patterns = NUMBER_RANGES[name]
    low, high = -(1 << bits - 1), (1 << bits - 1) - 1
    if name == "fd":
        low, high = 0, (1 << bits) - 1
    unsigned = patterns and sign > 0 and (name in ("wide", "high") or token.text[:2] in ("0x", "0X", "0b", "0B"))
    if low <= number <= high or (unsigned and 0 <= number < 1 << bits):
        return Value(tokens[position], number), length
    span = Span(place[0], place[1], tokens[position].column, place[1], token.column + len(token.text))
    hint = f"this field has {bits} bits: {low} to {high}"
    if patterns and bits == 32 and high < number < 1 << bits:
        hint += f"; write the bit pattern as {number:#x} if you mean {number - (1 << bits)}"
    failure.complain(
        position, IsaError("ISA033", f"{_clip(sign_text + token.text)} does not fit", span=span, hint=hint)
    )
    return None


def _clip(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:40]}..."


def _span(place: tuple[str, int], token: Token) -> Span:
    return Span(place[0], place[1], token.column, place[1], token.column + max(1, len(token.text)))


def _syntax_error(grammar: Grammar, tokens: list[Token], failure: Failure, place: tuple[str, int]) -> IsaError:
    if failure.complaint is not None and failure.complaint[0] >= failure.position - 1:
        return failure.complaint[1]
    token = tokens[max(failure.position, 0)]
    span = _span(place, token)
    expected = failure.expected
    if failure.position <= 0:
        what = f"no instruction begins with {token.text!r}"
    elif token.kind == "end":
        what = "the instruction ends too early"
    else:
        what = f"{token.text!r} cannot follow {tokens[failure.position - 1].text!r} here"
    return IsaError("ISA031", what, span=span, hint=_hint(grammar, token, expected, failure.position))


def _hint(grammar: Grammar, token: Token, expected: set[str], position: int) -> str | None:
    if position <= 0 and token.kind == "word":
        import difflib

        words = sorted(grammar.first_words())
        near = difflib.get_close_matches(token.text.lower(), words, n=3, cutoff=0.5)
        if near:
            return f"similar: {', '.join(near)}"
    words = [f"'{word}'" for word in sorted(expected) if word and not word.startswith("{")]
    kinds = sorted({_FIELD_NAMES[word[1:]] for word in expected if word.startswith("{")})
    if "" in expected:
        kinds.append("the end of the line")
    shown = kinds + words
    if len(shown) > 12:
        shown = [*shown[:12], "..."]
    return f"expected {', '.join(shown)}" if shown else None
