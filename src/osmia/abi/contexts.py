"""Structs of the contract between kernel and programs: contexts, iterator contexts, records.

A *context* is what a program type gets as its argument; its fields have access rights, and reading some of them gives a
pointer. An *iterator* context is a BTF struct of pointers to typed kernel objects. A *record* is a struct that programs
or loaders exchange with the kernel. The rows are generated (see ``_context_rows``).
"""

from __future__ import annotations

from osmia.abi._context_rows import STRUCTS
from osmia.abi._table import Version, suggest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Field:
    """One field.

    :ivar name: with a dot for members of unnamed structs inside (``iter.task.tid``).
    :ivar offset: bytes from the start. :ivar size: bytes in all. :ivar count: elements of an array, 0 for no array.
    :ivar signed: whether (an element of) it is a signed number. :ivar ctype: C type, ``__u32[4]``.
    :ivar bit: first bit of a bitfield, counted from the least significant of the ``size`` bytes at ``offset``.
    :ivar bits: its number of bits, 0 when it is none. :ivar version: kernel release it came in.
    :ivar gives: of contexts: what the verifier takes a loaded value for: ``scalar``, ``pkt``, ``pkt_end``,
        ``pkt_meta``, ``sock``,
        ``sock_or_null``, ``sock_common_or_null``, ``flow_keys``, ``trusted_ptr_<struct>``; ``""`` when nobody may
        read it.
    :ivar readers: of contexts: program types, or ``type/attach type``, that may read it.
    :ivar writers: likewise for writing.
    """

    __slots__ = (
        "bit", "bits", "count", "ctype", "gives", "name", "offset", "readers", "signed", "size", "version", "writers",
    )  # fmt: skip

    def __init__(
        self, name: str, offset: int, size: int, count: int, signed: bool, ctype: str, bit: int, bits: int,
        version: Version, gives: str, readers: tuple[str, ...], writers: tuple[str, ...],
    ) -> None:  # fmt: skip
        self.name = name
        self.offset = offset
        self.size = size
        self.count = count
        self.signed = signed
        self.ctype = ctype
        self.bit = bit
        self.bits = bits
        self.version = version
        self.gives = gives
        self.readers = readers
        self.writers = writers

    @property
    def element_size(self) -> int:
        """Bytes of one element: of the whole when it is no array."""
        return self.size // self.count if self.count else self.size

    def readable(self, prog_type: str, attach_type: str = "") -> bool:
        """Whether such a program may read it; without attach type: whether any of that type may."""
        return _may(self.readers, prog_type, attach_type)

    def writable(self, prog_type: str, attach_type: str = "") -> bool:
        """Whether such a program may write it; without attach type: whether any of that type may."""
        return _may(self.writers, prog_type, attach_type)

    def __repr__(self) -> str:
        return f"Field({self.name!r}, {self.offset}, {self.size}, {self.ctype!r})"


class Struct:
    """One struct.

    :ivar name: its tag. :ivar version: kernel release it came in. :ivar size: bytes (0: as long as the event).
    :ivar kind: ``context``, ``iterator`` or ``record``. :ivar fields: by name, in order of declaration.
    """

    __slots__ = ("fields", "kind", "name", "size", "version")

    def __init__(self, name: str, version: Version, size: int, kind: str, fields: Iterable[tuple[object, ...]]) -> None:
        self.name = name
        self.version = version
        self.size = size
        self.kind = kind
        self.fields = {str(row[0]): Field(*row) for row in fields}  # type: ignore[arg-type]

    def field(self, name: str) -> Field:
        """The field of that name.

        :raises UsageError: ABI008 when there is none.
        """
        found = self.fields.get(name)
        if found is None:
            from osmia.diagnostics import UsageError

            hint = suggest(name, self.fields) or "it has " + ", ".join(self.fields)
            raise UsageError("ABI008", f"struct {self.name} has no field {name!r}", hint=hint)
        return found

    def __repr__(self) -> str:
        return f"Struct({self.name!r}, {self.size})"


_BY_NAME = {row[0]: row for row in STRUCTS}
_MADE: dict[str, Struct] = {}


def struct(name: str) -> Struct:
    """The struct with that tag (``xdp_md``).

    :raises UsageError: ABI008 when it is not in the table.
    """
    made = _MADE.get(name)
    if made is None:
        row = _BY_NAME.get(name)
        if row is None:
            from osmia.diagnostics import UsageError

            raise UsageError("ABI008", f"struct {name} is not in the tables", hint=suggest(name, _BY_NAME))
        made = _MADE[name] = Struct(*row)
    return made


def context(prog_type: str) -> Struct | None:
    """The context struct of a program type, None where the attach point decides (tracepoints, typed tracing).

    For ``kprobe`` it is x86-64's ``pt_regs``; see :mod:`osmia.abi.registers` for other machines.

    :raises UsageError: ABI001 for an unknown program type.
    """
    from osmia.abi.prog_types import prog_type as find

    name = find(prog_type).context
    if name == "bpf_user_pt_regs_t":
        name = "pt_regs"
    return struct(name) if name in _BY_NAME else None


def iterator(name: str) -> Struct:
    """The context of an iterator: ``task`` gives ``bpf_iter__task``.

    :raises UsageError: ABI008 when it is not in the table (the kernel may have it: see its BTF).
    """
    return struct(f"bpf_iter__{name}")


def structs() -> Iterator[Struct]:
    """All structs."""
    return (struct(row[0]) for row in STRUCTS)


def _may(who: tuple[str, ...], prog_type: str, attach_type: str) -> bool:
    if prog_type in who:
        return True
    if attach_type:
        return f"{prog_type}/{attach_type}" in who
    return any(one.startswith(prog_type + "/") for one in who)
