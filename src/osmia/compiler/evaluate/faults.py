"""How the evaluator refuses: a fault is what the verifier would refuse, or what generated code must never do."""

from __future__ import annotations

from osmia.diagnostics import RunError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from osmia.compiler.ir import Op


class EvaluationFault(RunError):
    """The program did what no compiled program may do; the span is the operation's.

    :ivar op: the operation, None where the fault is not one operation's. :ivar function: the function it stands in.
    """

    op: Op | None = None
    function: str = ""


class Fault(Exception):
    """A fault on its way to the operation that it belongs to; callers of the evaluator never see it."""

    def __init__(self, code: str, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint


def malformed(what: str) -> Fault:
    """The function breaks a rule of the IR."""
    return Fault("IR340", what, "compiler.legality says what is wrong before a program is evaluated")


def bad_argument(what: str) -> Fault:
    """A helper got an argument that the verifier would refuse."""
    return Fault("IR349", what, "the table of helpers (osmia.abi.helpers) has the arguments of each")
