"""The error classes. Each error carries a code, a place, a cause and a hint.

A class says which room refused (and so which handler may recover); the *code* says what exactly is
wrong. Codes are rows in ``osmia.diagnostics.codes``.
"""

from __future__ import annotations

from osmia.diagnostics.span import NO_SPAN, Span

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class OsmiaError(Exception):
    """Any error that Osmia raises on purpose.

    :param code: a row of the code table, such as ``PY101``.
    :param message: one line: what is wrong, in the user's terms, without a trailing full stop.
    :param span: the place in a source text, if there is one.
    :param hint: what to do about it, one or two lines.
    :param notes: further places or facts: pairs of text and optional span.
    :param details: long raw material, such as the kernel's verifier log; printed last, on demand.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        span: Span | None = None,
        hint: str | None = None,
        notes: Sequence[tuple[str, Span | None]] = (),
        details: str = "",
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.span = span or NO_SPAN
        self.hint = hint
        self.notes = list(notes)
        self.details = details

    def __str__(self) -> str:
        place = f"{self.span}: " if self.span.file else ""
        hint = f" (hint: {self.hint})" if self.hint else ""
        return f"{place}{self.code}: {self.message}{hint}"

    def to_dict(self) -> dict[str, object]:
        """The error as plain data, for ``--json``."""
        span = self.span
        place = (
            {
                "file": span.file,
                "line": span.line,
                "column": span.column + 1,
                "end_line": span.end_line,
                "end_column": span.end_column + 1,
            }
            if span.file
            else None
        )
        return {
            "code": self.code,
            "message": self.message,
            "place": place,
            "hint": self.hint,
            "notes": [{"message": text, "place": str(where) if where else None} for text, where in self.notes],
            "details": self.details,
        }


class CompileError(OsmiaError):
    """A source text that cannot be compiled exactly."""


class IsaError(OsmiaError):
    """Bytes or text that are no BPF instructions."""


class BtfError(OsmiaError):
    """BTF data that is malformed, or a type that it does not have."""


class ObjectError(OsmiaError):
    """An object file that is malformed or holds something unknown."""


class RelocationError(OsmiaError):
    """A CO-RE or symbol relocation that cannot be resolved for the target kernel."""


class SymbolError(OsmiaError):
    """A binary, symbol or stack that cannot be resolved."""


class LoadError(OsmiaError):
    """The kernel (or the VM) refused a program, map or BTF object.

    :ivar errno: the system call's error number, 0 where there is none.
    """

    def __init__(self, code: str, message: str, *, errno: int = 0, **rest: object) -> None:
        super().__init__(code, message, **rest)  # type: ignore[arg-type]
        self.errno = errno


class PermissionMissing(LoadError):
    """The caller lacks a capability, or the machine's owner forbids the operation."""


class UnsupportedFeature(LoadError):
    """This kernel does not have what was asked for."""


class AttachError(LoadError):
    """A hook that does not exist or refuses the program."""


class MapError(LoadError):
    """A map operation failed; ``errno`` says how (E2BIG: full, ENOENT, EEXIST...)."""


class CacheError(OsmiaError):
    """The cache cannot be used; callers go on without it."""


class RunError(OsmiaError):
    """A session that cannot go on."""


class UsageError(OsmiaError):
    """A command line or an API call that makes no sense."""


class MultiError(OsmiaError):
    """Several independent errors of one input, in source order."""

    def __init__(self, errors: Sequence[OsmiaError]) -> None:
        first = errors[0]
        super().__init__(first.code, first.message, span=first.span, hint=first.hint)
        self.errors = list(errors)

    def __str__(self) -> str:
        return "\n".join(str(error) for error in self.errors)

    def to_dict(self) -> dict[str, object]:
        """The first error as plain data, with all of them under ``errors``."""
        return {**super().to_dict(), "errors": [error.to_dict() for error in self.errors]}
