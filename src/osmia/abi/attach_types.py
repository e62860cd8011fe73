"""BPF attach types.

Made by hand. Numbers are those of ``enum bpf_attach_type`` in the kernel's BTF (Linux 6.18) and, beyond, of the
uapi header of Linux 7.2; versions are the releases that first contained the commit that added the type; program types,
ways of attaching and ranges of return values come from the kernel's checks at load and at attachment
(``bpf_prog_attach_check_attach_type``, ``link_create``, ``check_return_code``) and were tried on Linux 6.18
(``scripts/abi/probe_kernel.py``).
"""

from __future__ import annotations

from osmia.abi._table import Table, Version

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


class AttachType:
    """One attach type.

    :ivar number: its value in ``enum bpf_attach_type``. :ivar name: lower case, without prefix (``xdp_devmap``).
    :ivar version: kernel release it came in.
    :ivar prog_types: the program types that use it; none for ``struct_ops`` links, which take a map.
    :ivar target: what it attaches to: ``cgroup``, ``netns``, ``device`` (interface index), ``map`` (sockmap, devmap,
        cpumap),
        ``btf`` (named when loading), ``tracepoint``, ``perf_event``, ``symbols`` (list of functions), ``offsets`` (in
        a file),
        ``lirc``, ``netfilter``, ``socket`` (set by a socket option), ``iterator``.
    :ivar link: name of the link type that ``BPF_LINK_CREATE`` makes for it, ``""`` when there is no link.
    :ivar link_version: release from which a link can be made, None for never.
    :ivar prog_attach: ``BPF_PROG_ATTACH`` and ``BPF_PROG_DETACH`` accept it.
    :ivar returns: the range of return values, None when the program type's range holds.
    :ivar sleepable: a program for it may be loaded as sleepable.
    """

    __slots__ = (
        "link", "link_version", "name", "number", "prog_attach", "prog_types", "returns", "sleepable", "target",
        "version",
    )  # fmt: skip

    def __init__(
        self, number: int, name: str, version: Version, prog_types: tuple[str, ...], target: str, link: str,
        link_version: Version | None, prog_attach: bool, returns: tuple[int, int] | None, sleepable: bool,
    ) -> None:  # fmt: skip
        self.number = number
        self.name = name
        self.version = version
        self.prog_types = prog_types
        self.target = target
        self.link = link
        self.link_version = link_version
        self.prog_attach = prog_attach
        self.returns = returns
        self.sleepable = sleepable

    @property
    def kernel_name(self) -> str:
        """The enumerator, ``BPF_XDP_DEVMAP``."""
        return "BPF_" + self.name.upper()

    def __repr__(self) -> str:
        return f"AttachType({self.name!r}, {self.number})"


_CG = (5, 7)  # links to cgroups and of tracing programs came together
_SA = ("cgroup_sock_addr",)

# number, name, version, program types, target, link, link since, PROG_ATTACH, returns, sleepable
_ROWS = (
    (0, "cgroup_inet_ingress", (4, 10), ("cgroup_skb",), "cgroup", "cgroup", _CG, True, (0, 1), False),
    (1, "cgroup_inet_egress", (4, 10), ("cgroup_skb",), "cgroup", "cgroup", _CG, True, (0, 3), False),
    (2, "cgroup_inet_sock_create", (4, 10), ("cgroup_sock",), "cgroup", "cgroup", _CG, True, (0, 1), False),
    (3, "cgroup_sock_ops", (4, 13), ("sock_ops",), "cgroup", "cgroup", _CG, True, (0, 1), False),
    (4, "sk_skb_stream_parser", (4, 14), ("sk_skb",), "map", "sockmap", (6, 10), True, None, False),
    (5, "sk_skb_stream_verdict", (4, 14), ("sk_skb",), "map", "sockmap", (6, 10), True, None, False),
    (6, "cgroup_device", (4, 15), ("cgroup_device",), "cgroup", "cgroup", _CG, True, (0, 1), False),
    (7, "sk_msg_verdict", (4, 17), ("sk_msg",), "map", "sockmap", (6, 10), True, None, False),
    (8, "cgroup_inet4_bind", (4, 17), _SA, "cgroup", "cgroup", _CG, True, (0, 3), False),
    (9, "cgroup_inet6_bind", (4, 17), _SA, "cgroup", "cgroup", _CG, True, (0, 3), False),
    (10, "cgroup_inet4_connect", (4, 17), _SA, "cgroup", "cgroup", _CG, True, (0, 1), False),
    (11, "cgroup_inet6_connect", (4, 17), _SA, "cgroup", "cgroup", _CG, True, (0, 1), False),
    (12, "cgroup_inet4_post_bind", (4, 17), ("cgroup_sock",), "cgroup", "cgroup", _CG, True, (0, 1), False),
    (13, "cgroup_inet6_post_bind", (4, 17), ("cgroup_sock",), "cgroup", "cgroup", _CG, True, (0, 1), False),
    (14, "cgroup_udp4_sendmsg", (4, 18), _SA, "cgroup", "cgroup", _CG, True, (0, 1), False),
    (15, "cgroup_udp6_sendmsg", (4, 18), _SA, "cgroup", "cgroup", _CG, True, (0, 1), False),
    (16, "lirc_mode2", (4, 18), ("lirc_mode2",), "lirc", "", None, True, None, False),
    (17, "flow_dissector", (4, 20), ("flow_dissector",), "netns", "netns", (5, 8), True, None, False),
    (18, "cgroup_sysctl", (5, 2), ("cgroup_sysctl",), "cgroup", "cgroup", _CG, True, (0, 1), False),
    (19, "cgroup_udp4_recvmsg", (5, 2), _SA, "cgroup", "cgroup", _CG, True, (1, 1), False),
    (20, "cgroup_udp6_recvmsg", (5, 2), _SA, "cgroup", "cgroup", _CG, True, (1, 1), False),
    (21, "cgroup_getsockopt", (5, 3), ("cgroup_sockopt",), "cgroup", "cgroup", _CG, True, (0, 1), False),
    (22, "cgroup_setsockopt", (5, 3), ("cgroup_sockopt",), "cgroup", "cgroup", _CG, True, (0, 1), False),
    (23, "trace_raw_tp", (5, 5), ("tracing",), "btf", "raw_tracepoint", (5, 5), False, None, False),
    (24, "trace_fentry", (5, 5), ("tracing",), "btf", "tracing", (5, 5), False, (0, 0), True),
    (25, "trace_fexit", (5, 5), ("tracing",), "btf", "tracing", (5, 5), False, (0, 0), True),
    (26, "modify_return", (5, 7), ("tracing",), "btf", "tracing", (5, 7), False, None, True),
    (27, "lsm_mac", (5, 7), ("lsm",), "btf", "tracing", (5, 7), False, None, True),
    (28, "trace_iter", (5, 8), ("tracing",), "iterator", "iter", (5, 8), False, (0, 1), True),
    (29, "cgroup_inet4_getpeername", (5, 8), _SA, "cgroup", "cgroup", (5, 8), True, (1, 1), False),
    (30, "cgroup_inet6_getpeername", (5, 8), _SA, "cgroup", "cgroup", (5, 8), True, (1, 1), False),
    (31, "cgroup_inet4_getsockname", (5, 8), _SA, "cgroup", "cgroup", (5, 8), True, (1, 1), False),
    (32, "cgroup_inet6_getsockname", (5, 8), _SA, "cgroup", "cgroup", (5, 8), True, (1, 1), False),
    (33, "xdp_devmap", (5, 8), ("xdp",), "map", "", None, False, None, False),
    (34, "cgroup_inet_sock_release", (5, 9), ("cgroup_sock",), "cgroup", "cgroup", (5, 9), True, (0, 1), False),
    (35, "xdp_cpumap", (5, 9), ("xdp",), "map", "", None, False, None, False),
    (36, "sk_lookup", (5, 9), ("sk_lookup",), "netns", "netns", (5, 9), False, (0, 1), False),
    (37, "xdp", (5, 9), ("xdp",), "device", "xdp", (5, 9), False, None, False),
    (38, "sk_skb_verdict", (5, 13), ("sk_skb",), "map", "sockmap", (6, 10), True, None, False),
    (39, "sk_reuseport_select", (5, 14), ("sk_reuseport",), "socket", "", None, False, None, False),
    (40, "sk_reuseport_select_or_migrate", (5, 14), ("sk_reuseport",), "socket", "", None, False, None, False),
    (41, "perf_event", (5, 15), ("perf_event", "tracepoint", "kprobe"), "perf_event", "perf_event", (5, 15), False,
     None, True),
    (42, "trace_kprobe_multi", (5, 18), ("kprobe",), "symbols", "kprobe_multi", (5, 18), False, None, False),
    (43, "lsm_cgroup", (6, 0), ("lsm",), "cgroup", "cgroup", (6, 0), True, None, False),
    (44, "struct_ops", (6, 4), (), "map", "struct_ops", (6, 4), False, None, False),
    (45, "netfilter", (6, 4), ("netfilter",), "netfilter", "netfilter", (6, 4), False, (0, 1), False),
    (46, "tcx_ingress", (6, 6), ("sched_cls",), "device", "tcx", (6, 6), True, None, False),
    (47, "tcx_egress", (6, 6), ("sched_cls",), "device", "tcx", (6, 6), True, None, False),
    (48, "trace_uprobe_multi", (6, 6), ("kprobe",), "offsets", "uprobe_multi", (6, 6), False, None, True),
    (49, "cgroup_unix_connect", (6, 7), _SA, "cgroup", "cgroup", (6, 7), True, (0, 1), False),
    (50, "cgroup_unix_sendmsg", (6, 7), _SA, "cgroup", "cgroup", (6, 7), True, (0, 1), False),
    (51, "cgroup_unix_recvmsg", (6, 7), _SA, "cgroup", "cgroup", (6, 7), True, (1, 1), False),
    (52, "cgroup_unix_getpeername", (6, 7), _SA, "cgroup", "cgroup", (6, 7), True, (1, 1), False),
    (53, "cgroup_unix_getsockname", (6, 7), _SA, "cgroup", "cgroup", (6, 7), True, (1, 1), False),
    (54, "netkit_primary", (6, 7), ("sched_cls",), "device", "netkit", (6, 7), True, None, False),
    (55, "netkit_peer", (6, 7), ("sched_cls",), "device", "netkit", (6, 7), True, None, False),
    (56, "trace_kprobe_session", (6, 10), ("kprobe",), "symbols", "kprobe_multi", (6, 10), False, (0, 1), False),
    (57, "trace_uprobe_session", (6, 13), ("kprobe",), "offsets", "uprobe_multi", (6, 13), False, (0, 1), True),
    (58, "trace_fsession", (7, 0), ("tracing",), "btf", "tracing", (7, 0), False, (0, 1), True),
    (59, "trace_fentry_multi", (7, 2), ("tracing",), "symbols", "tracing_multi", (7, 2), False, (0, 0), True),
    (60, "trace_fexit_multi", (7, 2), ("tracing",), "symbols", "tracing_multi", (7, 2), False, (0, 0), True),
    (61, "trace_fsession_multi", (7, 2), ("tracing",), "symbols", "tracing_multi", (7, 2), False, (0, 1), True),
)  # fmt: skip

TABLE = Table("attach type", "ABI002", "BPF_", _ROWS, AttachType)


def attach_type(key: str | int) -> AttachType:
    """The attach type of a name (``trace_iter``, ``BPF_TRACE_ITER``) or number.

    :raises UsageError: ABI002 when there is none.
    """
    row: AttachType = TABLE.get(key)
    return row


def number(name: str) -> int:
    """The number of an attach type's name."""
    return TABLE.number(name)


def attach_types() -> Iterator[AttachType]:
    """All attach types in the order of their numbers."""
    return iter(TABLE)
