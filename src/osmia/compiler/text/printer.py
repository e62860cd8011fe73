"""Modules, functions and operations as text."""

from __future__ import annotations

from osmia.compiler.ir import VOID
from osmia.compiler.ir.ops import OPS
from osmia.compiler.text.lexer import name, quote, word
from osmia.compiler.text.types import Names
from osmia.diagnostics import NO_SPAN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from osmia.compiler.ir import Function, Global, Module, Op
    from osmia.diagnostics import Span
    from osmia.object.spec import EventSchema, MapSpec

_SIGILS = {"local": "$", "map": "@", "global": "@", "function": "@", "label": "^"}
_KINDS = ("program", "inline", "static", "global", "callback")
MAP_ITEMS = (
    "key", "value", "key_size", "value_size", "max_entries", "flags", "extra", "numa_node", "pin", "inner", "contents",
    "frozen", "section", "key_btf", "value_btf", "role",
)  # fmt: skip
"""Attributes of a map's spec in the order of the text."""


class Printer:
    """The state while a text is made: names of layouts, numbers of source files."""

    def __init__(self, spans: bool = True) -> None:
        self.names = Names()
        self.spans = spans
        self.files: dict[str, int] = {}

    def span(self, span: Span) -> str:
        """The mark behind something that has a place in a source."""
        if not self.spans or span == NO_SPAN:
            return ""
        number = self.files.setdefault(span.file, len(self.files))
        if (span.end_line, span.end_column) == (span.line, span.column + 1):
            if span.line == 0 and span.column == 0:
                return f" !{number}"
            return f" !{number}:{span.line}:{span.column}"
        line = "" if span.end_line == span.line else f"{span.end_line}:"
        return f" !{number}:{span.line}:{span.column}..{line}{span.end_column}"

    def _attribute(self, kind: str, value: object) -> str:
        kind = kind.removesuffix("?")
        sigil = _SIGILS.get(kind)
        if sigil and isinstance(value, str):
            return name(sigil, value)
        if kind == "cases" and isinstance(value, (tuple, list)):
            pairs = [
                f"({case[0]}, {name('^', case[1])})"
                for case in value
                if isinstance(case, tuple) and len(case) == 2 and type(case[0]) is int and isinstance(case[1], str)
            ]
            if len(pairs) == len(value):
                both = "[]" if isinstance(value, list) else "()"
                comma = "," if len(pairs) == 1 and isinstance(value, tuple) else ""
                return f"{both[0]}{', '.join(pairs)}{comma}{both[1]}"
        return self.names.value(value)

    def op(self, op: Op) -> str:
        """An operation on one line."""
        row = OPS.get(op.name)
        kinds = row.attrs if row is not None else {}
        head = "" if op.result is None else f"{name('%', op.result.name)}: {self.names.type(op.result.type)} = "
        args = ", ".join(name("%", arg.name) for arg in op.args)
        attrs = ", ".join(f"{word(key)}={self._attribute(kinds.get(key, ''), op.attrs[key])}" for key in op.attrs)
        return f"{head}{op.name}{f' {args}' if args else ''}{f'; {attrs}' if attrs else ''}{self.span(op.span)}"

    def function(self, function: Function, key: str | None = None) -> Iterator[str]:
        """A function's lines."""
        kind = function.kind if function.kind in _KINDS else quote(function.kind)
        params = ", ".join(f"{name('%', param.name)}: {self.names.type(param.type)}" for param in function.params)
        result = "" if function.result is VOID else f" -> {self.names.type(function.result)}"
        alias = "" if key is None or key == function.name else f" named {quote(function.name)}"
        yield (
            f"function {kind} {name('@', function.name if key is None else key)}{alias}({params}){result}"
            f"{self.span(function.span)} {{"
        )
        if function.section:
            yield f"  section {quote(function.section)}"
        if function.hook is not None:
            options = f" {self.names.value(function.hook.options)}" if function.hook.options else ""
            yield f"  hook {quote(function.hook.kind)} {quote(function.hook.target)}{options}"
        if function.sleepable:
            yield "  sleepable"
        for local_key, local in function.locals.items():
            alias = "" if local_key == local.name else f" named {quote(local.name)}"
            yield f"  local {name('$', local_key)}{alias}: {self.names.type(local.type)}{self.span(local.span)}"
        for block in function.blocks:
            yield f"{name('^', block.label)}:"
            for op in block.ops:
                yield f"  {self.op(op)}"
        yield "}"

    def map(self, spec: MapSpec, key: str) -> str:
        """A map."""
        alias = "" if key == spec.name else f" named {quote(spec.name)}"
        items = []
        for item in MAP_ITEMS:
            value = getattr(spec, item)
            layout = spec.key if item == "key_size" else spec.value if item == "value_size" else None
            if layout is not None and value == layout.size:
                continue
            if item == "inner" and value is not None:
                items.append(f"inner={self.map(value, value.name)}")
            elif value is not None and (value or not isinstance(value, (int, str, list)) or layout is not None):
                items.append(f"{item}={self.names.value(value)}")
        return f"map {name('@', key)}{alias}: {word(spec.kind)} {{{', '.join(items)}}}"

    def variable(self, variable: Global, key: str) -> str:
        """A global variable."""
        alias = "" if key == variable.name else f" named {quote(variable.name)}"
        init = variable.init
        shown = "" if init == bytes(variable.layout.size) else f" = {self.names.value(init)}"
        type_ = self.names.type(variable.layout)
        return f"global {name('@', key)}{alias}: {type_} in {quote(variable.section)}{shown}{self.span(variable.span)}"

    def event(self, event: EventSchema, key: str) -> str:
        """An event."""
        columns = f" {self.names.value(event.columns)}" if event.columns else ""
        on = "" if event.map_name == key else f" on {quote(event.map_name)}"
        return f"event {name('@', key)}{on}: {quote(event.name)} {self.names.type(event.layout)}{columns}"


def print_module(module: Module, *, spans: bool = True) -> str:
    """A module as text that :func:`~osmia.compiler.text.parse_module` reads back exactly.

    :param spans: with the places in the source program; without them the text is easier to read.
    :raises CompileError: IR309: the module holds a value that has no textual form.
    """
    printer = Printer(spans)
    body = [printer.map(spec, key) for key, spec in module.maps.items()]
    body += [printer.variable(variable, key) for key, variable in module.globals.items()]
    body += [printer.event(event, key) for key, event in module.events.items()]
    if module.extras:
        body.append("extras {")
        body += [f"  {quote(key)}: {printer.names.value(value)}" for key, value in module.extras.items()]
        body.append("}")
    for key, function in module.functions.items():
        body += ["", *printer.function(function, key)]
    head = [f"module {quote(module.name)} license {quote(module.license)}"]
    head += [f"source !{number} {quote(file)}" for file, number in printer.files.items()]
    definitions = list(printer.names.definitions())
    return "\n".join([*head, *definitions, *body]) + "\n"


def print_function(function: Function, *, spans: bool = False) -> str:
    """One function for reading: as in its module's text, without the definitions of layouts."""
    return "\n".join(Printer(spans).function(function)) + "\n"


def op_text(op: Op) -> str:
    """One operation for messages."""
    return Printer(spans=False).op(op)
