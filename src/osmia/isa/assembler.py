"""Text to instructions: the kernel's own syntax, as its verifier and llvm-objdump print it.

    r0 = *(u32 *)(r1 + 4)
    if r0 s> 5 goto done
    call bpf_get_prandom_u32        # with helpers={"bpf_get_prandom_u32": 7}
    done:
    exit

One instruction a line; ``name:`` defines a label; ``#``, ``//`` and ``;`` start a comment; ``.raw`` followed by eight
hexadecimal bytes stands for one slot as it is. Decimal immediates are signed; a hexadecimal one may also be the bit
pattern of all 32 bits.
"""

from __future__ import annotations

import re

from osmia.diagnostics.errors import IsaError, MultiError
from osmia.diagnostics.span import Span
from osmia.isa.check import check_instruction, check_program
from osmia.isa.grammar import Bindings, Grammar, Token, Value, tokenize
from osmia.isa.instruction import WIDE_OPCODE, Instruction, InstructionError, decode_program, signed32
from osmia.isa.table import BY_NAME, TABLE, Row

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

_LABEL = re.compile(r"[ \t]*([A-Za-z_.$][\w.$]*)[ \t]*:", re.ASCII)
_RAW = re.compile(r"[ \t]*\.raw\b[ \t]*([^#;]*)", re.ASCII)
_REGISTER = re.compile(r"[rw][0-9]+|pc", re.ASCII)
_MAX_ERRORS = 20


class AssemblyError(MultiError, IsaError):
    """The errors of one text, in order; ``errors`` holds each."""


class Dialect:
    """One way to write instructions.

    :param name: its name. :param forms: yields pairs of row and template, when the first line is parsed.
    :param implicit_exit: whether the first ``exit`` instruction also is the label ``exit``.
    """

    def __init__(
        self, name: str, forms: Callable[[], Iterable[tuple[Row, str]]], *, implicit_exit: bool = False
    ) -> None:
        self.name = name
        self.implicit_exit = implicit_exit
        self._forms = forms
        self._grammar: Grammar | None = None

    @property
    def grammar(self) -> Grammar:
        """The parser, made from the table at first use."""
        if self._grammar is None:
            self._grammar = Grammar(self._forms())
        return self._grammar


def _kernel_forms() -> Iterable[tuple[Row, str]]:
    for choose in (lambda r: (r.text,), lambda r: (r.kernel_text,), lambda r: r.aliases):
        for row in TABLE:
            if row.name == "load_imm64":
                yield row, row.text
                continue
            for template in choose(row):
                yield row, template


KERNEL = Dialect("kernel", _kernel_forms)


class Assembly:
    """What a text was assembled to.

    :ivar instructions: the program. :ivar labels: each label's slot. :ivar lines: for each instruction its line.
    """

    __slots__ = ("instructions", "labels", "lines")

    def __init__(self, instructions: list[Instruction], labels: dict[str, int], lines: list[int]) -> None:
        self.instructions = instructions
        self.labels = labels
        self.lines = lines


def assemble(
    text: str,
    *,
    file: str = "<assembly>",
    helpers: Mapping[str, int] | None = None,
    kfuncs: Mapping[str, int] | None = None,
    maps: Mapping[str, int] | None = None,
    check: bool = True,
    dialect: Dialect = KERNEL,
) -> list[Instruction]:
    """The instructions of an assembly text.

    :param file: what errors call the text. :param helpers: helper names and numbers for ``call NAME``.
    :param kfuncs: names and BTF ids for ``call kfunc[NAME]``.
    :param maps: names and file descriptors for ``map[NAME]``.
    :param check: whether the whole must be a well-formed program (jumps that land, an end); ``False`` for fragments.
    :raises AssemblyError: an ``IsaError`` (and ``MultiError``) with the errors of all lines, each with its span.
    """
    return assemble_source(
        text, file=file, helpers=helpers, kfuncs=kfuncs, maps=maps, check=check, dialect=dialect
    ).instructions


def assemble_source(
    text: str,
    *,
    file: str = "<assembly>",
    helpers: Mapping[str, int] | None = None,
    kfuncs: Mapping[str, int] | None = None,
    maps: Mapping[str, int] | None = None,
    check: bool = True,
    dialect: Dialect = KERNEL,
) -> Assembly:
    """As :func:`assemble`, with the labels and the line of each instruction."""
    return _Assembler(file, dialect, {"helper": helpers, "kfunc": kfuncs, "map": maps}).run(text, check)


class _Statement:
    """A parsed line: a row with its operands, or (``row`` is ``None``) an instruction given as bytes."""

    __slots__ = ("bindings", "line", "raw", "row", "slot", "span")

    def __init__(self, row: Row | None, bindings: Bindings, span: Span, slot: int, raw: Instruction | None) -> None:
        self.row = row
        self.bindings = bindings
        self.span = span
        self.line = span.line
        self.slot = slot
        self.raw = raw


class _Assembler:
    """One run over one text."""

    def __init__(self, file: str, dialect: Dialect, names: dict[str, Mapping[str, int] | None]) -> None:
        self.file = file
        self.dialect = dialect
        self.names = names
        self.labels: dict[str, int] = {}
        self.label_spans: dict[str, Span] = {}
        self.statements: list[_Statement] = []
        self.errors: list[IsaError] = []
        self.slot = 0
        self.line = 0

    def run(self, text: str, check: bool) -> Assembly:
        raw: list[tuple[Span, bytes]] = []
        for number, line in enumerate(text.split("\n"), 1):
            try:
                self.read_line(line, number, raw)
            except IsaError as error:
                self.fail(error)
        self.flush_raw(raw)
        if self.dialect.implicit_exit and "exit" not in self.labels:
            first = next((s for s in self.statements if s.row is not None and s.row.name == "exit"), None)
            if first is not None:
                self.labels["exit"] = first.slot
        program: list[Instruction] = []
        for statement in self.statements:
            try:
                program.append(self.build(statement))
            except IsaError as error:
                self.fail(error)
        if check and not self.errors:
            self.check(program)
        if self.errors:
            raise AssemblyError(self.errors)
        return Assembly(program, self.labels, [statement.line for statement in self.statements])

    def fail(self, error: IsaError) -> None:
        self.errors.append(error)
        if len(self.errors) >= _MAX_ERRORS:
            raise AssemblyError(self.errors)

    def read_line(self, line: str, number: int, raw: list[tuple[Span, bytes]]) -> None:
        position = 0
        while (match := _LABEL.match(line, position)) is not None:
            self.flush_raw(raw)
            self.define(match.group(1), Span(self.file, number, match.start(1), number, match.end(1)))
            position = match.end()
        match = _RAW.match(line, position)
        if match is not None:
            self.read_raw(match, number, raw)
            return
        # Columns count from the start of the line, so that the labels before are blanked, not cut.
        tokens = tokenize(" " * position + line[position:], self.file, number)
        if tokens[0].kind == "end":
            return
        self.flush_raw(raw)
        row, bindings = self.dialect.grammar.parse(tokens, self.file, number)
        span = Span(self.file, number, tokens[0].column, number, tokens[-1].column)
        self.add(_Statement(row, bindings, span, self.slot, None))

    def add(self, statement: _Statement) -> None:
        self.statements.append(statement)
        source = statement.raw or statement.row
        self.slot += 2 if source is not None and source.opcode == WIDE_OPCODE else 1

    def define(self, name: str, span: Span) -> None:
        if _REGISTER.fullmatch(name):
            raise IsaError("ISA035", f"a label cannot be called {name}, which is a register", span=span)
        if name in self.labels:
            raise IsaError(
                "ISA035",
                f"the label {name} is defined twice",
                span=span,
                notes=[("first defined here", self.label_spans[name])],
            )
        self.labels[name] = self.slot
        self.label_spans[name] = span

    def read_raw(self, match: re.Match[str], number: int, raw: list[tuple[Span, bytes]]) -> None:
        digits = match.group(1).split("//")[0].strip()
        span = Span(self.file, number, match.start(1), number, max(match.end(1), match.start(1) + 1))
        try:
            data = bytes.fromhex(digits)
        except ValueError:
            data = b""
        if len(data) != 8 or not digits.isascii():
            raise IsaError("ISA030", ".raw takes the eight bytes of a slot in hexadecimal", span=span)
        raw.append((span, data))
        if data[0] != WIDE_OPCODE or len(raw) == 2:
            self.flush_raw(raw)

    def flush_raw(self, raw: list[tuple[Span, bytes]]) -> None:
        """Turn collected ``.raw`` slots into an instruction: one slot, or the two of a wide load."""
        if not raw:
            return
        span = raw[0][0]
        data = b"".join(part for _, part in raw)
        raw.clear()
        try:
            for insn in decode_program(data):
                self.add(_Statement(None, {}, span, self.slot, insn))
        except IsaError as error:
            self.fail(IsaError(error.code, error.message, span=span, hint=error.hint))

    def build(self, statement: _Statement) -> Instruction:
        row, bindings = statement.row, statement.bindings
        if row is None:
            return statement.raw or Instruction(0)
        self.line = statement.line
        if row.name == "call_helper" and bindings["helper"].name in self.labels:
            row = self.local_instead(bindings)
        elif row.name == "call_helper" and "#" in bindings["helper"].name:
            row = self.numbered_call(bindings)
        following = statement.slot + (2 if row.opcode == WIDE_OPCODE else 1)
        insn = Instruction(row.opcode)
        insn.dst = bindings["dst"].number if row.dst else 0
        insn.src = bindings["src"].number if isinstance(row.src, str) else row.src
        insn.off = self.offset(row, bindings, following)
        insn.imm = self.immediate(row, bindings, following)
        if isinstance(row.high, str):
            insn.high = signed32(bindings["wide"].number >> 32 if "wide" in bindings else bindings["high"].number)
        try:
            check_instruction(insn)
        except InstructionError as error:
            raise IsaError(error.code, error.message, span=statement.span, hint=error.hint) from None
        return insn

    def offset(self, row: Row, bindings: Bindings, following: int) -> int:
        if isinstance(row.off, int):
            return row.off
        if row.off == "jump":
            return self.distance(bindings["target"], following, 16)
        return bindings["fd" if row.off == "fd" else "off"].number

    def immediate(self, row: Row, bindings: Bindings, following: int) -> int:
        if isinstance(row.imm, int):
            return row.imm
        if row.imm in ("jump", "call"):
            return self.distance(bindings["target" if row.imm == "jump" else "callee"], following, 32)
        for kind in ("helper", "kfunc", "map"):
            if kind in bindings:
                return signed32(self.named(kind, bindings[kind]))
        if "wide" in bindings:
            return signed32(bindings["wide"].number)
        return signed32(bindings["imm"].number) if "imm" in bindings else 0

    def distance(self, value: Value, following: int, bits: int) -> int:
        distance = value.number
        if value.name:
            if value.name not in self.labels:
                raise self.unknown(value.token, f"there is no label {value.name}", "ISA034", self.labels)
            distance = self.labels[value.name] - following
        limit = 1 << bits - 1
        if not -limit <= distance < limit:
            hint = "gotol reaches further (cpu v4)" if bits == 16 else None
            raise IsaError(
                "ISA033",
                f"a distance of {distance if abs(distance) < 1 << 64 else 'that many'} slots does not fit {bits} bits",
                span=self.span(value.token),
                hint=hint,
            )
        return distance

    def named(self, kind: str, value: Value) -> int:
        if not value.name:
            return value.number
        words = {"helper": "helper", "kfunc": "kernel function", "map": "map"}[kind]
        known = self.names[kind]
        if known is None:
            raise IsaError(
                "ISA036",
                f"{value.name!r} is a name, and no {words} names are known here",
                span=self.span(value.token),
                hint="write its number, or give the assembler a table of names",
            )
        number = known.get(value.name)
        if number is None:
            raise self.unknown(value.token, f"there is no {words} called {value.name}", "ISA036", known)
        return number

    def local_instead(self, bindings: Bindings) -> Row:
        """``call NAME`` where NAME is a label."""
        value = bindings.pop("helper")
        helpers = self.names["helper"]
        if helpers is not None and value.name in helpers:
            raise IsaError(
                "ISA037",
                f"{value.name} is a label of this text and also a helper",
                span=self.span(value.token),
                notes=[("the label", self.label_spans.get(value.name))],
                hint="rename the label",
            )
        bindings["callee"] = value
        return BY_NAME["call_local"]

    def numbered_call(self, bindings: Bindings) -> Row:
        """``call NAME#NUMBER``, as the verifier prints calls: of helpers with their number, of kfuncs with a BTF id."""
        value = bindings["helper"]
        name, _, digits = value.name.partition("#")
        known = self.names["helper"] or {}
        number = int(digits) if len(digits) < 12 else 1 << 40
        if signed32(number) != number:
            raise IsaError("ISA033", f"{digits} does not fit 32 bits", span=self.span(value.token))
        if name == "unknown" or known.get(name) == number:
            bindings["helper"] = Value(value.token, number)
            return BY_NAME["call_helper"]
        if name in known:
            raise IsaError(
                "ISA037", f"{name} is helper {known[name]}, not {number}", span=self.span(value.token), hint="drop one"
            )
        if not known:
            raise IsaError(
                "ISA036",
                f"{name} may be a helper or a kernel function, and no helper names are known here",
                span=self.span(value.token),
                hint=f"write 'call {number}' or 'call kfunc[id:{number}]'",
            )
        bindings["imm"] = Value(value.token, number)
        del bindings["helper"]
        return BY_NAME["call_kfunc"]

    def unknown(self, token: Token, message: str, code: str, known: Iterable[str]) -> IsaError:
        import difflib

        near = difflib.get_close_matches(token.text, list(known), n=3)
        return IsaError(code, message, span=self.span(token), hint=f"similar: {', '.join(near)}" if near else None)

    def span(self, token: Token) -> Span:
        return Span(self.file, self.line, token.column, self.line, token.column + len(token.text))

    def check(self, program: Sequence[Instruction]) -> None:
        try:
            check_program(program)
        except InstructionError as error:
            span = self.statements[error.index].span if error.index >= 0 else Span(self.file)
            self.errors.append(IsaError(error.code, error.message, span=span, hint=error.hint))
