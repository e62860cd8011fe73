"""BPF link types.

Made by hand: numbers are those of ``enum bpf_link_type`` in the kernel's BTF (Linux 6.18) and, beyond, of the uapi
header
of Linux 7.2; versions are the releases that first contained the commit that added the type. Links without a type
number existed since Linux 5.5; the numbers came in 5.8.
"""

from __future__ import annotations

from osmia.abi._table import Table, Version

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


class LinkType:
    """One link type.

    :ivar number: its value in ``enum bpf_link_type``. :ivar name: lower case, without prefix.
    :ivar version: kernel release it came in.
    :ivar update: ``BPF_LINK_UPDATE`` may replace the program (for ``struct_ops``: the map).
    :ivar detach: ``BPF_LINK_DETACH`` may take the program off while the link lives.
    :ivar summary: what it holds, one line.
    """

    __slots__ = ("detach", "name", "number", "summary", "update", "version")

    def __init__(self, number: int, name: str, version: Version, update: bool, detach: bool, summary: str) -> None:
        self.number = number
        self.name = name
        self.version = version
        self.update = update
        self.detach = detach
        self.summary = summary

    @property
    def kernel_name(self) -> str:
        """The enumerator, ``BPF_LINK_TYPE_CGROUP``."""
        return "BPF_LINK_TYPE_" + self.name.upper()

    def __repr__(self) -> str:
        return f"LinkType({self.name!r}, {self.number})"


_ROWS = (
    (0, "unspec", (5, 8), False, False, "no type"),
    (1, "raw_tracepoint", (5, 8), False, False, "a raw or BTF tracepoint"),
    (2, "tracing", (5, 8), False, False, "entry, exit or return value of a function, a security hook, an extension"),
    (3, "cgroup", (5, 8), True, True, "a cgroup"),
    (4, "iter", (5, 8), True, False, "an iterator over kernel objects"),
    (5, "netns", (5, 8), True, True, "a network namespace"),
    (6, "xdp", (5, 9), True, True, "XDP on a network device"),
    (7, "perf_event", (5, 15), False, False, "a perf event: sample, tracepoint, kprobe or uprobe"),
    (8, "kprobe_multi", (5, 18), False, False, "many kernel functions"),
    (9, "struct_ops", (5, 19), True, True, "a struct of callbacks"),
    (10, "netfilter", (6, 4), False, True, "a netfilter hook"),
    (11, "tcx", (6, 6), True, True, "ingress or egress of a network device"),
    (12, "uprobe_multi", (6, 6), False, False, "many places of a user-space file"),
    (13, "netkit", (6, 7), True, True, "a netkit device"),
    (14, "sockmap", (6, 10), True, True, "a socket map"),
    (15, "tracing_multi", (7, 2), False, False, "entry and exit of many functions"),
)

TABLE = Table("link type", "ABI003", "BPF_LINK_TYPE_", _ROWS, LinkType)


def link_type(key: str | int) -> LinkType:
    """The link type of a name (``tcx``, ``BPF_LINK_TYPE_TCX``) or number.

    :raises UsageError: ABI003 when there is none.
    """
    row: LinkType = TABLE.get(key)
    return row


def link_types() -> Iterator[LinkType]:
    """All link types in the order of their numbers, ``unspec`` first."""
    return iter(TABLE)
