"""Reads functions of the textual form."""

from __future__ import annotations

from osmia.compiler.ir import VOID, Block, Function, KArray, KType, Local, Op, Value
from osmia.compiler.ir.ops import OPS
from osmia.compiler.text.lexer import Token
from osmia.compiler.text.reader import Reader
from osmia.compiler.text.shape import shape_problem
from osmia.diagnostics.text import did_you_mean
from osmia.object.layout import Array, Bytes, Char, Struct
from osmia.object.spec import Hook

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class FunctionReader:
    """Reads one function: values may be used before the line that defines them, so operands are filled in last."""

    def __init__(self, parser: Reader, function: Function) -> None:
        self.parser = parser
        self.function = function
        self.values: dict[str, Value] = {}
        self.uses: list[tuple[Op, list[tuple[str, Token]]]] = []

    def read(self) -> Function:
        """From the parameters to the closing brace."""
        parser, function = self.parser, self.function
        parser.expect("(")
        while not parser.take(")"):
            function.params.append(self._definition())
            if not parser.at(")"):
                parser.expect(",")
        if parser.take("->"):
            function.result = self._value_type()
        function.span = parser.span()
        parser.expect("{")
        self._head()
        while not parser.take("}"):
            self._block()
        for op, names in self.uses:
            op.args = tuple(self._use(name, token) for name, token in names)
        return function

    def _value_type(self) -> Any:
        token = self.parser.token
        type_ = self.parser.type()
        if isinstance(type_, (Struct, Array, Char, Bytes, KType, KArray)):
            raise self.parser.error("IR305", f"{type_} is no type of a value", token, "values are scalars and pointers")
        return type_

    def _definition(self) -> Value:
        parser = self.parser
        token = parser.token
        name = parser.name("%", "the name of a value")
        if name in self.values:
            raise parser.error("IR306", f"%{name} is defined twice", token)
        parser.expect(":")
        made = self.values[name] = Value(name, self._value_type())
        return made

    def _use(self, name: str, token: Token) -> Value:
        found = self.values.get(name)
        if found is None:
            raise self.parser.error("IR304", f"%{name} is not defined", token, did_you_mean(name, self.values))
        return found

    def _head(self) -> None:
        parser, function = self.parser, self.function
        if parser.take("section"):
            function.section = parser.text("a section in quotes")
        if parser.take("hook"):
            kind, target = parser.text("a hook's kind in quotes"), parser.text("a hook's target in quotes")
            options: Any = {}
            token = parser.token
            if parser.at("{") and not token.first:
                options = parser.value()
                if not all(isinstance(key, str) for key in options):
                    raise parser.error("IR307", "a hook's options have names", token)
            function.hook = Hook(kind, target, options)
        function.sleepable = parser.take("sleepable")
        while parser.take("local"):
            token = parser.token
            key = parser.name("$", "the name of a local")
            if key in function.locals:
                raise parser.error("IR306", f"local {key} is there twice", token)
            name = parser.text() if parser.take("named") else key
            parser.expect(":")
            token = parser.token
            type_ = parser.type()
            if isinstance(type_, (KType, KArray)):
                raise parser.error("IR305", f"{type_} is no type of a local", token)
            function.locals[key] = Local(name, type_, parser.span())

    def _block(self) -> None:
        parser = self.parser
        token = parser.token
        block = Block(parser.name("^", "a label"))
        if any(other.label == block.label for other in self.function.blocks):
            raise parser.error("IR306", f"two blocks have the label {block.label}", token)
        parser.expect(":")
        self.function.blocks.append(block)
        while not parser.at("}") and not (parser.token.kind == "name" and parser.token.text[0] == "^"):
            block.ops.append(self._op())

    def _op(self) -> Op:
        parser = self.parser
        result = None
        if parser.token.kind == "name" and parser.token.text[0] == "%":
            result = self._definition()
            parser.expect("=")
        token = parser.token
        name = parser.kind("word", "an operation").text
        if name not in OPS:
            raise parser.error("IR308", f"there is no operation '{name}'", token, did_you_mean(name, OPS))
        names = self._operands()
        attrs: dict[str, Any] = {}
        if not parser.token.first and parser.take(";"):
            attrs = self._attributes()
        op = Op(name, (), attrs, result, parser.span())
        if not parser.token.first and not parser.at("}"):
            raise parser.error(
                "IR301",
                f"'{parser.token.text}' does not belong to the operation before it",
                hint="attributes follow a semicolon, and every operation has its own line",
            )
        # The operands' number matters to the check of the shape; the values come when all are known.
        op.args = (Value("", VOID),) * len(names)
        problem = shape_problem(op)
        if problem is not None:
            raise parser.error("IR308", problem, token, "docs/ir.md has all operations")
        self.uses.append((op, names))
        return op

    def _operands(self) -> list[tuple[str, Token]]:
        parser = self.parser
        found: list[tuple[str, Token]] = []
        while not parser.token.first and parser.token.kind == "name":
            token = parser.token
            found.append((parser.name("%", "an operand"), token))
            if parser.token.first or not parser.take(","):
                break
        return found

    def _attributes(self) -> dict[str, Any]:
        parser = self.parser
        found: dict[str, Any] = {}
        while True:
            token = parser.token
            key = parser.word("an attribute")
            if key in found:
                raise parser.error("IR306", f"the attribute '{key}' is there twice", token)
            parser.expect("=")
            found[key] = parser.value()
            if parser.token.first or not parser.take(","):
                return found
