"""Classic programs as text: what ``tcpdump -d`` prints and what ``bpf_asm`` of the kernel's tools reads.

    ldh [12]                            (000) ldh      [12]
    jne #0x800, drop                    (001) jeq      #0x800           jt 2	jf 3
    ret #-1                             (002) ret      #262144
    drop: ret #0                        (003) ret      #0

Both forms may be mixed. Comments are ``; ...``, ``// ...``, ``/* ... */`` and ``#`` at the start of a line or before a
space. Facts about the packet are written ``#mark`` or ``mark``; see ``program.ANCILLARIES``.
"""

from __future__ import annotations

import re

from osmia.diagnostics.errors import IsaError
from osmia.diagnostics.span import Span
from osmia.isa.assembler import AssemblyError
from osmia.isa.cbpf.program import (
    ANCILLARY_BY_NAME,
    ANCILLARY_OFFSET,
    BY_CODE,
    CLASSIC_TABLE,
    ClassicInstruction,
    ClassicRow,
    ancillary_of,
)
from osmia.isa.instruction import InstructionError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_NUMBER = r"(?P<k>-?(?:0[xX][0-9a-fA-F]+|[0-9]+))"
_LABEL = r"[A-Za-z_][\w.]*"
_PATTERNS = {
    "abs": rf"\[\s*{_NUMBER}\s*\]|\[\s*#?(?P<inside>[a-z_]+)\s*\]|#?(?P<fact>[a-z_]+)",
    "ind": rf"\[\s*%?x\s*\+\s*{_NUMBER}\s*\]",
    "mem": rf"M\s*\[\s*{_NUMBER}\s*\]",
    "imm": rf"#\s*{_NUMBER}",
    "len": r"#?(?:pktlen|len)",
    "msh": rf"4\s*\*\s*\(\s*\[\s*{_NUMBER}\s*\]\s*&\s*0xf\s*\)",
    "x": r"%?x",
    "a": r"(?:%?a)?",
    "none": r"",
    "jump": rf"(?P<target>{_LABEL}|[0-9]+)",
}
_COMPILED = {name: re.compile(pattern, re.ASCII) for name, pattern in _PATTERNS.items()}
_JUMP = re.compile(
    rf"(?P<operand>.*?)\s*(?:,\s*(?P<jt>{_LABEL})\s*(?:,\s*(?P<jf>{_LABEL}))?"
    r"|(?:,\s*|\s+)jt\s+(?P<at>[0-9]+)\s*,?\s*jf\s+(?P<af>[0-9]+))",
    re.ASCII,
)
_LINE = re.compile(
    rf"\s*(?:\((?P<index>[0-9]+)\)\s*)?(?:(?P<label>{_LABEL})\s*:)?\s*(?P<word>[A-Za-z]+)?\s*(?P<rest>.*?)\s*", re.ASCII
)
_BLOCK_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_LINE_COMMENT = re.compile(r";.*|//.*|(?:^|(?<=\s))#(?=\s|$).*|^\s*#.*")
_MAX_ERRORS = 20

# Other spellings: the mnemonic they stand for, the only operand they take ("" for any), and whether they mean the
# opposite condition.
_ALIASES = {
    "jmp": ("ja", "", False),
    "jne": ("jeq", "", True),
    "jneq": ("jeq", "", True),
    "jlt": ("jge", "", True),
    "jle": ("jgt", "", True),
    "ldi": ("ld", "imm", False),
    "ldxi": ("ldx", "imm", False),
}


def _rows_by_mnemonic() -> dict[str, list[ClassicRow]]:
    rows: dict[str, list[ClassicRow]] = {}
    for row in CLASSIC_TABLE:
        rows.setdefault(row.mnemonic, []).append(row)
    # Packet length comes before the other facts, whose pattern would take the word too.
    for candidates in rows.values():
        candidates.sort(key=lambda row: row.operand == "abs")
    rows["ldx"] = rows["ldx"] + [row for row in CLASSIC_TABLE if row.operand == "msh"]
    return rows


_ROWS = _rows_by_mnemonic()


class _Target:
    """A jump target: a label or an absolute instruction number."""

    __slots__ = ("label", "number", "span")

    def __init__(self, text: str, span: Span) -> None:
        self.label = "" if text.isdecimal() else text
        self.number = int(text[:12]) if text.isdecimal() else 0
        self.span = span


class _Statement:
    __slots__ = ("insn", "jf", "jt", "row", "span")

    def __init__(self, row: ClassicRow, insn: ClassicInstruction, span: Span) -> None:
        self.row = row
        self.insn = insn
        self.span = span
        self.jt: _Target | None = None
        self.jf: _Target | None = None


def assemble(text: str, *, file: str = "<assembly>") -> list[ClassicInstruction]:
    """The instructions of a classic assembly text.

    What it says is not judged here; ``check`` does that.

    :raises AssemblyError: an ``IsaError`` with all errors: ISA061 (syntax), ISA062 (labels), ISA063 (numbers).
    """
    return _Assembler(file).run(text)


class _Assembler:
    def __init__(self, file: str) -> None:
        self.file = file
        self.statements: list[_Statement] = []
        self.labels: dict[str, int] = {}
        self.errors: list[IsaError] = []

    def run(self, text: str) -> list[ClassicInstruction]:
        text = _BLOCK_COMMENT.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), text)
        for number, line in enumerate(text.split("\n"), 1):
            try:
                self.read_line(_LINE_COMMENT.sub("", line), number)
            except IsaError as error:
                self.fail(error)
        for index, statement in enumerate(self.statements):
            try:
                self.resolve(index, statement)
            except IsaError as error:
                self.fail(error)
        if self.errors:
            raise AssemblyError(self.errors)
        return [statement.insn for statement in self.statements]

    def fail(self, error: IsaError) -> None:
        self.errors.append(error)
        if len(self.errors) >= _MAX_ERRORS:
            raise AssemblyError(self.errors)

    def read_line(self, line: str, number: int) -> None:
        match = _LINE.fullmatch(line)
        if match is None or not line.strip():
            return

        def span(group: str) -> Span:
            start = max(match.start(group), 0)
            return Span(self.file, number, start, number, max(match.end(group), start + 1))

        if match["index"] is not None and match["index"].lstrip("0") != str(len(self.statements)).lstrip("0"):
            raise IsaError(
                "ISA062", f"this is instruction {len(self.statements)}, not {match['index']}", span=span("index")
            )
        label = match["label"]
        if label is not None:
            if label in self.labels:
                raise IsaError("ISA062", f"the label {label} is defined twice", span=span("label"))
            self.labels[label] = len(self.statements)
        if match["word"] is None:
            if match["rest"]:
                raise IsaError("ISA061", f"{match['rest'][:40]!r} is no instruction", span=span("rest"))
            return
        whole = Span(self.file, number, match.start("word"), number, match.end("rest"))
        self.statements.append(self.parse(match["word"], match["rest"], span("word"), span("rest"), whole))

    def parse(self, word: str, rest: str, at_word: Span, at_rest: Span, whole: Span) -> _Statement:
        mnemonic, only, inverted = _ALIASES.get(word, (word, "", False))
        rows = _ROWS.get(mnemonic)
        if rows is None:
            raise self.unknown(word, at_word)
        jump = None
        operand = rest
        if rows[0].kind == "jump":
            jump = _JUMP.fullmatch(rest)
            if jump is None:
                raise IsaError(
                    "ISA061",
                    f"{word} needs an operand and where to jump",
                    span=at_rest,
                    hint=f"for example: {word} #0x800, LABEL or {word} #0x800, LABEL1, LABEL2",
                )
            operand = jump["operand"]
        elif only and not rest.startswith("#"):
            operand = f"#{rest}"
        for row in rows:
            if only and row.operand != only:
                continue
            match = _COMPILED[row.operand].fullmatch(operand)
            if match is None:
                continue
            k = self.operand(match, at_rest)
            if k is None:
                continue
            statement = _Statement(row, ClassicInstruction(row.code, 0, 0, k), whole)
            self.targets(statement, match, jump, inverted, at_rest)
            return statement
        raise self.no_operand(word, operand, rows, at_rest)

    def operand(self, match: re.Match[str], span: Span) -> int | None:
        groups = match.groupdict()
        fact = groups.get("fact") or groups.get("inside")
        if fact:
            row = ANCILLARY_BY_NAME.get(fact)
            return None if row is None else ANCILLARY_OFFSET + row.offset
        text = groups.get("k")
        if text is None:
            return 0
        digits = text.lstrip("-")
        number = -1 << 64 if len(digits) > 40 else int(digits, 16 if digits[:2] in ("0x", "0X") else 10)
        if text.startswith("-"):
            number = -number
        if not -(1 << 31) <= number < 1 << 32:
            raise IsaError("ISA063", f"{text[:40]} does not fit 32 bits", span=span)
        return number & 0xFFFFFFFF

    def targets(
        self, statement: _Statement, match: re.Match[str], jump: re.Match[str] | None, inverted: bool, span: Span
    ) -> None:
        if statement.row.kind == "goto":
            statement.jt = _Target(match["target"], span)
        if jump is None:
            return
        jt, jf = jump["jt"] or jump["at"], jump["jf"] or jump["af"]
        statement.jt = _Target(jt, span)
        statement.jf = _Target(jf, span) if jf else None
        if inverted:
            statement.jt, statement.jf = statement.jf, statement.jt

    def resolve(self, index: int, statement: _Statement) -> None:
        insn, row = statement.insn, statement.row
        if row.kind == "goto" and statement.jt is not None:
            insn.k = self.distance(index, statement.jt, (1 << 32) - 1)
        elif row.kind == "jump":
            insn.jt = self.distance(index, statement.jt, 255) if statement.jt is not None else 0
            insn.jf = self.distance(index, statement.jf, 255) if statement.jf is not None else 0

    def distance(self, index: int, target: _Target, limit: int) -> int:
        if target.label and target.label not in self.labels:
            import difflib

            near = difflib.get_close_matches(target.label, list(self.labels), n=3)
            hint = f"similar: {', '.join(near)}" if near else None
            raise IsaError("ISA062", f"there is no label {target.label}", span=target.span, hint=hint)
        to = self.labels[target.label] if target.label else target.number
        distance = to - index - 1
        name = target.label or f"instruction {to}"
        if distance < 0:
            raise IsaError(
                "ISA062",
                f"{name} stands before this jump",
                span=target.span,
                hint="the classic machine only jumps forward",
            )
        if distance > limit:
            raise IsaError(
                "ISA062",
                f"{name} is {distance} instructions away, and a conditional jump reaches {limit}",
                span=target.span,
                hint="jump to a ja instruction that is nearer",
            )
        return distance

    def unknown(self, word: str, span: Span) -> IsaError:
        import difflib

        near = difflib.get_close_matches(word.lower(), sorted({*_ROWS, *_ALIASES}), n=3, cutoff=0.5)
        hint = f"similar: {', '.join(near)}" if near else None
        return IsaError("ISA061", f"there is no classic instruction {word}", span=span, hint=hint)

    def no_operand(self, word: str, operand: str, rows: list[ClassicRow], span: Span) -> IsaError:
        fact = re.fullmatch(r"#?([a-z_]+)|\[#?([a-z_]+)\]", operand)
        if fact and any(row.operand == "abs" for row in rows):
            import difflib

            near = difflib.get_close_matches(fact[1] or fact[2], [*ANCILLARY_BY_NAME, "len"], n=3)
            hint = f"similar: {', '.join(near)}" if near else f"known: {', '.join(sorted(ANCILLARY_BY_NAME))}, len"
        else:
            hint = f"{word} takes {', '.join(sorted({_SHAPES[row.operand] for row in rows}))}"
        what = f"{operand[:40]!r} is no operand of {word}" if operand else f"{word} needs an operand"
        return IsaError("ISA061", what, span=span, hint=hint)


_SHAPES = {
    "abs": "[k] or a fact such as #mark",
    "ind": "[x + k]",
    "mem": "M[k]",
    "imm": "#k",
    "len": "#len",
    "msh": "4*([k]&0xf)",
    "x": "x",
    "a": "a",
    "none": "nothing",
    "jump": "a label",
}
_DECIMAL = frozenset({"add", "sub", "mul", "div", "mod", "lsh", "rsh", "ret"})


def _operand_text(row: ClassicRow, insn: ClassicInstruction) -> str:
    k = insn.k
    signed = k - (1 << 32) if k >> 31 else k
    ancillary = ancillary_of(insn)
    if ancillary is not None:
        return f"#{ancillary.name}"
    return {
        "abs": f"[{signed}]",
        "ind": f"[x + {signed}]",
        "mem": f"M[{k}]",
        "imm": f"#{k}" if row.mnemonic in _DECIMAL else f"#{k:#x}",
        "len": "#pktlen",
        "msh": f"4*([{signed}]&0xf)",
        "x": "x",
        "a": "a",
        "none": "",
        "jump": "",
    }[row.operand]


def _row(insn: ClassicInstruction, index: int) -> ClassicRow:
    row = BY_CODE.get(insn.code)
    if row is None:
        raise InstructionError(
            "ISA051", f"instruction {index}: there is no classic opcode 0x{insn.code:04x}", index=index
        )
    return row


def disassemble(program: Sequence[ClassicInstruction], *, style: str = "tcpdump") -> str:
    """The text of a program.

    :param style: ``tcpdump`` (numbered, targets as instruction numbers) or ``asm`` (labels, what ``bpf_asm`` reads).
    :raises InstructionError: ISA051 for an opcode that is none.
    """
    if style not in ("tcpdump", "asm"):
        raise ValueError(f"style is 'tcpdump' or 'asm', not {style!r}")
    rows = [_row(insn, index) for index, insn in enumerate(program)]
    if style == "tcpdump":
        return "".join(
            _tcpdump_line(index, insn, row) for index, (insn, row) in enumerate(zip(program, rows, strict=True))
        )
    return _labelled(program, rows)


def _tcpdump_line(index: int, insn: ClassicInstruction, row: ClassicRow) -> str:
    operand = _operand_text(row, insn)
    if row.kind == "goto":
        operand = str(index + 1 + insn.k)
    if row.kind == "jump":
        jumps = f"jt {index + 1 + insn.jt}\tjf {index + 1 + insn.jf}"
        return f"({index:03d}) {row.mnemonic:<8} {operand:<16} {jumps}\n"
    return f"({index:03d}) {row.mnemonic:<8} {operand}".rstrip() + "\n"


def _labelled(program: Sequence[ClassicInstruction], rows: Sequence[ClassicRow]) -> str:
    targets: set[int] = set()
    for index, (insn, row) in enumerate(zip(program, rows, strict=True)):
        if row.kind == "goto":
            targets.add(index + 1 + insn.k)
        elif row.kind == "jump":
            targets |= {index + 1 + insn.jt, index + 1 + insn.jf}
    lines = []
    for index, (insn, row) in enumerate(zip(program, rows, strict=True)):
        label = f"L{index}:" if index in targets else ""
        operand = _operand_text(row, insn)
        if row.kind == "goto":
            operand = f"L{index + 1 + insn.k}"
        elif row.kind == "jump":
            operand = f"{operand}, L{index + 1 + insn.jt}, L{index + 1 + insn.jf}"
        lines.append(f"{label:<8}{row.mnemonic} {operand}".rstrip() + "\n")
    return "".join(lines)
