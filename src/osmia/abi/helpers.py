"""Helper functions: what BPF programs may call in the kernel by number.

The rows are generated (see ``_helper_rows``); this module turns a row into an object when somebody asks for it.
Numbers, names and prototypes are those of every kernel from the row's version on; who may call a helper is told as
Linux 6.18 has it, older kernels allow fewer program types.
"""

from __future__ import annotations

from osmia.abi import prog_types as _prog_types
from osmia.abi._helper_rows import ROWS
from osmia.abi._table import Table, Version

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


class Arg:
    """One argument.

    :ivar name: as in the C prototype. :ivar ctype: its C type (``const void *``).
    :ivar kind: what the verifier expects, in its own word: ``ARG_CONST_MAP_PTR``, ``ARG_PTR_TO_MAP_KEY``,
        ``ARG_PTR_TO_MAP_VALUE``, ``ARG_PTR_TO_MEM``, ``ARG_CONST_SIZE`` (of the memory just before; not zero),
        ``ARG_CONST_SIZE_OR_ZERO``, ``ARG_PTR_TO_CTX``, ``ARG_ANYTHING`` (a number), ``ARG_PTR_TO_BTF_ID``,
        ``ARG_PTR_TO_BTF_ID_SOCK_COMMON``, ``ARG_PTR_TO_DYNPTR``, ``ARG_PTR_TO_FUNC`` (callback),
        ``ARG_PTR_TO_CONST_STR``,
        ``ARG_PTR_TO_TIMER``, ``ARG_PTR_TO_SPIN_LOCK``, ``ARG_PTR_TO_RINGBUF_MEM``, ``ARG_CONST_ALLOC_SIZE_OR_ZERO``,
        ``ARG_PTR_TO_STACK``, ``ARG_PTR_TO_SOCKET``, ``ARG_PTR_TO_SOCK_COMMON``, ``ARG_PTR_TO_PERCPU_BTF_ID``,
        ``ARG_KPTR_XCHG_DEST``.
    :ivar flags: further words: ``MEM_RDONLY`` (read only), ``MEM_UNINIT`` and ``MEM_WRITE`` (filled by the helper),
        ``MEM_FIXED_SIZE``, ``MEM_ALIGNED``, ``PTR_MAYBE_NULL`` (NULL is allowed), ``OBJ_RELEASE`` (the reference ends
        here),
        ``DYNPTR_TYPE_LOCAL``, ``DYNPTR_TYPE_RINGBUF``.
    :ivar size: bytes behind a ``MEM_FIXED_SIZE`` pointer, else 0.
    :ivar struct: kernel struct behind an ``ARG_PTR_TO_BTF_ID``, else ``""``.
    """

    __slots__ = ("ctype", "flags", "kind", "name", "size", "struct")

    def __init__(self, name: str, ctype: str, words: str) -> None:
        kinds, _, tail = words.partition(":")
        self.name = name
        self.ctype = ctype
        self.kind, *flags = kinds.split(" | ")
        self.flags = tuple(flags)
        self.size = int(tail) if tail.isdigit() else 0
        self.struct = "" if tail.isdigit() else tail

    @property
    def nullable(self) -> bool:
        """Whether NULL may be passed."""
        return "PTR_MAYBE_NULL" in self.flags

    def __repr__(self) -> str:
        return f"Arg({self.name!r}, {self.ctype!r}, {' | '.join((self.kind, *self.flags))!r})"


class Signature:
    """Arguments and result of a helper as some program types see it.

    :ivar args: the arguments the verifier checks. :ivar returns: the result's word: ``RET_INTEGER``, ``RET_VOID``,
        ``RET_PTR_TO_MAP_VALUE``, ``RET_PTR_TO_MEM``, ``RET_PTR_TO_SOCKET``, ``RET_PTR_TO_TCP_SOCK``,
        ``RET_PTR_TO_SOCK_COMMON``,
        ``RET_PTR_TO_BTF_ID``, ``RET_PTR_TO_MEM_OR_BTF_ID``.
    :ivar return_flags: ``PTR_MAYBE_NULL`` (check before use), ``MEM_RDONLY``, ``MEM_RINGBUF``, ``PTR_TRUSTED``.
    :ivar return_struct: kernel struct behind a returned ``RET_PTR_TO_BTF_ID``, else ``""``.
    :ivar prog_types: program types this signature holds for; empty: all that have no other.
    """

    __slots__ = ("args", "prog_types", "return_flags", "return_struct", "returns")

    def __init__(
        self, params: list[tuple[str, str]], returns: str, words: tuple[str, ...], prog_types: tuple[str, ...]
    ) -> None:
        kinds, _, self.return_struct = returns.partition(":")
        self.returns, *flags = kinds.split(" | ")
        self.return_flags = tuple(flags)
        self.args = tuple(Arg(name, ctype, word) for (name, ctype), word in zip(params, words, strict=False))
        self.prog_types = prog_types

    @property
    def may_return_null(self) -> bool:
        """Whether the program must compare the result with NULL before using it."""
        return "PTR_MAYBE_NULL" in self.return_flags


class Helper:
    """One helper function.

    :ivar number: what ``call`` names. :ivar name: without ``bpf_``. :ivar version: kernel release it came in.
    :ivar prototype: in C, as in the uapi header (``u64`` and friends as ``__u64``).
    :ivar variadic: further numbers may follow the arguments (``trace_printk``: up to three).
    :ivar gpl_only: only programs with a GPL-compatible licence may call it.
    :ivar packet_access: memory arguments may point into a packet.
    :ivar sleeps: only sleepable programs may call it.
    :ivar fast_call: leaves all registers but r0 alone where the JIT inlines it.
    :ivar selective: some programs of the types given may call it only from certain attach points.
    :ivar needs: what it needs beside the program type: a configuration option, ``""`` for nothing.
    :ivar attach_types: for program types in which not every attach type allows it: those that do.
    """

    __slots__ = (
        "_mask", "_params", "_row", "attach_types", "fast_call", "gpl_only", "name", "needs", "number",
        "packet_access", "prototype", "return_ctype", "selective", "sleeps", "variadic", "version",
    )  # fmt: skip

    def __init__(
        self, number: int, name: str, version: Version, prototype: str, returns: str, words: tuple[str, ...],
        marks: str, mask: int, attach_types: dict[str, tuple[str, ...]],
        variants: tuple[tuple[tuple[str, ...], str, tuple[str, ...]], ...], needs: str,
    ) -> None:  # fmt: skip
        self.number = number
        self.name = name
        self.version = version
        self.prototype = prototype
        self.gpl_only = "g" in marks
        self.packet_access = "p" in marks
        self.sleeps = "s" in marks
        self.fast_call = "f" in marks
        self.selective = "a" in marks
        self.needs = needs
        self.attach_types = attach_types
        self._mask = mask
        self._row = (returns, words, variants)
        self.return_ctype, self._params, self.variadic = parse_prototype(prototype)

    @property
    def kernel_name(self) -> str:
        """The enumerator, ``BPF_FUNC_map_lookup_elem``."""
        return "BPF_FUNC_" + self.name

    @property
    def signature(self) -> Signature:
        """The usual arguments and result."""
        return Signature(self._params, self._row[0], self._row[1], ())

    @property
    def args(self) -> tuple[Arg, ...]:
        """The usual arguments."""
        return self.signature.args

    @property
    def variants(self) -> tuple[Signature, ...]:
        """Other signatures, each with the program types that have it."""
        params = self._params
        return tuple(Signature(params, returns, words, kinds) for kinds, returns, words in self._row[2])

    def signature_for(self, prog_type: str) -> Signature:
        """Arguments and result as a program type sees them."""
        for kinds, returns, words in self._row[2]:
            if prog_type in kinds:
                return Signature(self._params, returns, words, kinds)
        return self.signature

    @property
    def prog_types(self) -> tuple[str, ...]:
        """Names of the program types that may call it, in the order of their numbers (``ext``: as its target)."""
        return tuple(row.name for row in _prog_types.prog_types() if self._mask >> row.number & 1)

    def allowed(self, prog_type: str | int, attach_type: str = "", sleepable: bool = False) -> bool:
        """Whether a program may call it. With no attach type: whether any program of that type may.

        :raises UsageError: ABI001 for an unknown program type.
        """
        row = _prog_types.prog_type(prog_type)
        if not self._mask >> row.number & 1 or (self.sleeps and attach_type and not sleepable):
            return False
        limited = self.attach_types.get(row.name)
        return not attach_type or limited is None or attach_type in limited

    @property
    def summary(self) -> str:
        """What it does, one line."""
        from osmia.abi._helper_text import SUMMARIES

        return SUMMARIES[self.name]

    def __repr__(self) -> str:
        return f"Helper({self.name!r}, {self.number})"


def parse_prototype(text: str) -> tuple[str, list[tuple[str, str]], bool]:
    """A C prototype as return type, ``(name, type)`` of each parameter, and whether it ends with ``...``."""
    head, opening, rest = text.partition("(")
    if not opening or not rest.endswith(")"):
        raise ValueError(f"not a prototype: {text}")
    params = []
    variadic = False
    for piece in rest[:-1].split(","):
        param = piece.strip()
        if param == "...":
            variadic = True
        elif param != "void":
            params.append(_split_name(param))
    return _split_name(head)[1], params, variadic


def _split_name(declaration: str) -> tuple[str, str]:
    """``const void *key`` as ``("key", "const void *")``."""
    end = len(declaration)
    start = end
    while start and (declaration[start - 1].isalnum() or declaration[start - 1] == "_"):
        start -= 1
    if start in (0, end):
        raise ValueError(f"no name in {declaration!r}")
    return declaration[start:], declaration[:start].strip()


TABLE = Table("helper function", "ABI006", "BPF_FUNC_", ROWS, Helper)


def helper(key: str | int) -> Helper:
    """The helper of a name (``ktime_get_ns``, ``bpf_ktime_get_ns``, ``BPF_FUNC_ktime_get_ns``) or number.

    :raises UsageError: ABI006 when there is none.
    """
    row: Helper = TABLE.get(_plain(key))
    return row


def find(key: str | int) -> Helper | None:
    """As :func:`helper`, None when there is none."""
    row: Helper | None = TABLE.find(_plain(key))
    return row


def number(name: str) -> int:
    """The number of a helper's name, without looking at the rest of the row."""
    return TABLE.number(str(_plain(name)))


def helpers() -> Iterator[Helper]:
    """All helpers in the order of their numbers, from 1."""
    return iter(TABLE)


def _plain(key: str | int) -> str | int:
    if isinstance(key, str) and key.startswith("bpf_") and key not in TABLE:
        return key[4:]
    return key
