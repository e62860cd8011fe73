"""BPF program types.

Made by hand. Numbers are those of ``enum bpf_prog_type`` in the kernel's BTF; versions are the releases that
first contained the commit that added the type; contexts are those of the kernel's ``bpf_types.h``; section
names are those that libbpf 1.5 knows. The ranges of return values were read off the verifier of Linux 6.18 by
loading programs that return a constant (``scripts/abi/probe_kernel.py``), which a test repeats.
"""

from __future__ import annotations

from osmia.abi._table import Table, Version

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


class ProgType:
    """One program type.

    :ivar number: its value in ``enum bpf_prog_type``. :ivar name: lower case, without prefix (``socket_filter``).
    :ivar version: kernel release it came in, ``(3, 19)``.
    :ivar context: C type of the argument that the program sees: a uapi struct (``__sk_buff``),
        ``""`` where BTF or the attach point decides.
    :ivar kernel_context: the kernel's own struct behind it (``sk_buff``), ``""`` where there is none.
    :ivar attach_types: attach types that such a program may name; empty where none is looked at.
    :ivar needs_attach_type: the kernel refuses the load when the expected attach type is not one of those.
    :ivar sections: ELF section names: ``(name, attach type or "", takes a target, flags)``; one that takes a target is
        also written ``name/target``; ``flags`` are of ``sleepable``, ``frags``.
    :ivar returns: ``(least, most)`` that the verifier allows, None when it takes any value; an attach type may narrow
        it.
    :ivar attach_btf: the load names a BTF type or function to attach to (``attach_btf_id``).
    :ivar test_run: ``BPF_PROG_TEST_RUN`` runs it.
    :ivar gpl: only programs with a GPL-compatible licence may be loaded.
    :ivar summary: what it is for, one line.
    """

    __slots__ = (
        "attach_btf", "attach_types", "context", "gpl", "kernel_context", "name", "needs_attach_type", "number",
        "returns", "sections", "summary", "test_run", "version",
    )  # fmt: skip

    def __init__(
        self, number: int, name: str, version: Version, context: str, kernel_context: str,
        attach_types: tuple[str, ...], sections: tuple[tuple[str, str, bool, tuple[str, ...]], ...],
        returns: tuple[int, int] | None, marks: str, summary: str,
    ) -> None:  # fmt: skip
        self.number = number
        self.name = name
        self.version = version
        self.context = context
        self.kernel_context = kernel_context
        self.attach_types = attach_types
        self.sections = sections
        self.returns = returns
        self.needs_attach_type = "a" in marks
        self.attach_btf = "b" in marks
        self.gpl = "g" in marks
        self.test_run = "t" in marks
        self.summary = summary

    @property
    def kernel_name(self) -> str:
        """The enumerator, ``BPF_PROG_TYPE_SOCKET_FILTER``."""
        return "BPF_PROG_TYPE_" + self.name.upper()

    def __repr__(self) -> str:
        return f"ProgType({self.name!r}, {self.number})"


_NO: tuple[str, ...] = ()
_SLEEP = ("sleepable",)
_FRAGS = ("frags",)
_SKB = "__sk_buff"

# Marks: a = attach type is checked at load, b = BTF attach target, g = GPL only, t = test run.
_ROWS = (
    (0, "unspec", (3, 18), "", "", (), (), None, "", "no type: never loads"),
    (
        1, "socket_filter", (3, 19), _SKB, "sk_buff", (), (("socket", "", False, _NO),), None, "t",
        "decides how much of a packet a socket receives",
    ),
    (
        2, "kprobe", (4, 1), "bpf_user_pt_regs_t", "pt_regs",
        ("perf_event", "trace_kprobe_multi", "trace_kprobe_session", "trace_uprobe_multi", "trace_uprobe_session"),
        (
            ("kprobe", "", True, _NO), ("uprobe", "", True, _NO), ("uprobe.s", "", True, _SLEEP),
            ("kretprobe", "", True, _NO), ("uretprobe", "", True, _NO), ("uretprobe.s", "", True, _SLEEP),
            ("kprobe.multi", "trace_kprobe_multi", True, _NO), ("kretprobe.multi", "trace_kprobe_multi", True, _NO),
            ("kprobe.session", "trace_kprobe_session", True, _NO),
            ("uprobe.multi", "trace_uprobe_multi", True, _NO), ("uretprobe.multi", "trace_uprobe_multi", True, _NO),
            ("uprobe.session", "trace_uprobe_session", True, _NO),
            ("uprobe.multi.s", "trace_uprobe_multi", True, _SLEEP),
            ("uretprobe.multi.s", "trace_uprobe_multi", True, _SLEEP),
            ("uprobe.session.s", "trace_uprobe_session", True, _SLEEP),
            ("ksyscall", "", True, _NO), ("kretsyscall", "", True, _NO),
            ("usdt", "", True, _NO), ("usdt.s", "", True, _SLEEP),
        ),
        None, "", "runs at entry, return or any instruction of a kernel or user function",
    ),
    (
        3, "sched_cls", (4, 1), _SKB, "sk_buff", ("tcx_ingress", "tcx_egress", "netkit_primary", "netkit_peer"),
        (
            ("tc/ingress", "tcx_ingress", False, _NO), ("tc/egress", "tcx_egress", False, _NO),
            ("tcx/ingress", "tcx_ingress", False, _NO), ("tcx/egress", "tcx_egress", False, _NO),
            ("tc", "", False, _NO), ("classifier", "", False, _NO),
            ("netkit/primary", "netkit_primary", False, _NO), ("netkit/peer", "netkit_peer", False, _NO),
        ),
        None, "t", "classifies, edits, drops or redirects packets of a network device (tc, tcx, netkit)",
    ),
    (
        4, "sched_act", (4, 1), _SKB, "sk_buff", (), (("action", "", False, _NO),), None, "t",
        "the action of a tc filter",
    ),
    (
        5, "tracepoint", (4, 7), "", "", ("perf_event",),
        (("tracepoint", "", True, _NO), ("tp", "", True, _NO)), None, "",
        "runs at a kernel tracepoint; the context is the event's record",
    ),
    (
        6, "xdp", (4, 8), "xdp_md", "xdp_buff", ("xdp", "xdp_devmap", "xdp_cpumap"),
        (
            ("xdp.frags/devmap", "xdp_devmap", False, _FRAGS), ("xdp/devmap", "xdp_devmap", False, _NO),
            ("xdp.frags/cpumap", "xdp_cpumap", False, _FRAGS), ("xdp/cpumap", "xdp_cpumap", False, _NO),
            ("xdp.frags", "xdp", False, _FRAGS), ("xdp", "xdp", False, _NO),
        ),
        None, "t", "sees packets in the driver before the network stack does",
    ),
    (
        7, "perf_event", (4, 9), "bpf_perf_event_data", "bpf_perf_event_data_kern", ("perf_event",),
        (("perf_event", "", False, _NO),), None, "", "runs at each sample of a perf event",
    ),
    (
        8, "cgroup_skb", (4, 10), _SKB, "sk_buff", ("cgroup_inet_ingress", "cgroup_inet_egress"),
        (
            ("cgroup_skb/ingress", "cgroup_inet_ingress", False, _NO),
            ("cgroup_skb/egress", "cgroup_inet_egress", False, _NO), ("cgroup/skb", "", False, _NO),
        ),
        (0, 1), "at", "lets packets of a cgroup's sockets pass or not",
    ),
    (
        9, "cgroup_sock", (4, 10), "bpf_sock", "sock",
        (
            "cgroup_inet_sock_create", "cgroup_inet_sock_release", "cgroup_inet4_post_bind",
            "cgroup_inet6_post_bind",
        ),
        (
            ("cgroup/sock_create", "cgroup_inet_sock_create", False, _NO),
            ("cgroup/sock_release", "cgroup_inet_sock_release", False, _NO),
            ("cgroup/sock", "cgroup_inet_sock_create", False, _NO),
            ("cgroup/post_bind4", "cgroup_inet4_post_bind", False, _NO),
            ("cgroup/post_bind6", "cgroup_inet6_post_bind", False, _NO),
        ),
        (0, 1), "a", "watches or refuses creation, binding and release of sockets in a cgroup",
    ),
    (10, "lwt_in", (4, 10), _SKB, "sk_buff", (), (("lwt_in", "", False, _NO),), None, "t",
     "packets that arrive on a route with a lightweight tunnel"),
    (11, "lwt_out", (4, 10), _SKB, "sk_buff", (), (("lwt_out", "", False, _NO),), None, "t",
     "packets that leave by a route with a lightweight tunnel"),
    (12, "lwt_xmit", (4, 10), _SKB, "sk_buff", (), (("lwt_xmit", "", False, _NO),), None, "t",
     "packets of a lightweight tunnel just before they are sent; may push headers and redirect"),
    (
        13, "sock_ops", (4, 13), "bpf_sock_ops", "bpf_sock_ops_kern", ("cgroup_sock_ops",),
        (("sockops", "cgroup_sock_ops", False, _NO),), (0, 1), "",
        "follows and tunes TCP connections of a cgroup",
    ),
    (
        14, "sk_skb", (4, 14), _SKB, "sk_buff", ("sk_skb_stream_parser", "sk_skb_stream_verdict", "sk_skb_verdict"),
        (
            ("sk_skb/stream_parser", "sk_skb_stream_parser", False, _NO),
            ("sk_skb/stream_verdict", "sk_skb_stream_verdict", False, _NO),
            ("sk_skb/verdict", "sk_skb_verdict", False, _NO), ("sk_skb", "", False, _NO),
        ),
        None, "", "parses and redirects what sockets of a sockmap receive",
    ),
    (
        15, "cgroup_device", (4, 15), "bpf_cgroup_dev_ctx", "bpf_cgroup_dev_ctx", ("cgroup_device",),
        (("cgroup/dev", "cgroup_device", False, _NO),), (0, 1), "",
        "allows or refuses access to device files in a cgroup",
    ),
    (
        16, "sk_msg", (4, 17), "sk_msg_md", "sk_msg", ("sk_msg_verdict",),
        (("sk_msg", "sk_msg_verdict", False, _NO),), None, "",
        "passes, drops or redirects what sockets of a sockmap send",
    ),
    (
        17, "raw_tracepoint", (4, 17), "bpf_raw_tracepoint_args", "", (),
        (("raw_tracepoint", "", True, _NO), ("raw_tp", "", True, _NO)), None, "t",
        "runs at a kernel tracepoint with its raw arguments",
    ),
    (
        18, "cgroup_sock_addr", (4, 17), "bpf_sock_addr", "bpf_sock_addr_kern",
        (
            "cgroup_inet4_bind", "cgroup_inet6_bind", "cgroup_inet4_connect", "cgroup_inet6_connect",
            "cgroup_unix_connect", "cgroup_udp4_sendmsg", "cgroup_udp6_sendmsg", "cgroup_unix_sendmsg",
            "cgroup_udp4_recvmsg", "cgroup_udp6_recvmsg", "cgroup_unix_recvmsg", "cgroup_inet4_getpeername",
            "cgroup_inet6_getpeername", "cgroup_unix_getpeername", "cgroup_inet4_getsockname",
            "cgroup_inet6_getsockname", "cgroup_unix_getsockname",
        ),
        (
            ("cgroup/bind4", "cgroup_inet4_bind", False, _NO), ("cgroup/bind6", "cgroup_inet6_bind", False, _NO),
            ("cgroup/connect4", "cgroup_inet4_connect", False, _NO), ("cgroup/connect6", "cgroup_inet6_connect",
            False, _NO),
            ("cgroup/connect_unix", "cgroup_unix_connect", False, _NO),
            ("cgroup/sendmsg4", "cgroup_udp4_sendmsg", False, _NO), ("cgroup/sendmsg6", "cgroup_udp6_sendmsg", False,
            _NO),
            ("cgroup/sendmsg_unix", "cgroup_unix_sendmsg", False, _NO),
            ("cgroup/recvmsg4", "cgroup_udp4_recvmsg", False, _NO), ("cgroup/recvmsg6", "cgroup_udp6_recvmsg", False,
            _NO),
            ("cgroup/recvmsg_unix", "cgroup_unix_recvmsg", False, _NO),
            ("cgroup/getpeername4", "cgroup_inet4_getpeername", False, _NO),
            ("cgroup/getpeername6", "cgroup_inet6_getpeername", False, _NO),
            ("cgroup/getpeername_unix", "cgroup_unix_getpeername", False, _NO),
            ("cgroup/getsockname4", "cgroup_inet4_getsockname", False, _NO),
            ("cgroup/getsockname6", "cgroup_inet6_getsockname", False, _NO),
            ("cgroup/getsockname_unix", "cgroup_unix_getsockname", False, _NO),
        ),
        (0, 1), "a", "inspects and rewrites the addresses of socket calls in a cgroup",
    ),
    (19, "lwt_seg6local", (4, 18), _SKB, "sk_buff", (), (("lwt_seg6local", "", False, _NO),), None, "t",
     "the End.BPF action of an IPv6 segment-routing route"),
    (20, "lirc_mode2", (4, 18), "u32", "", ("lirc_mode2",), (("lirc_mode2", "lirc_mode2", False, _NO),), None, "",
     "decodes infrared remote controls"),
    (
        21, "sk_reuseport", (4, 19), "sk_reuseport_md", "sk_reuseport_kern",
        ("sk_reuseport_select", "sk_reuseport_select_or_migrate"),
        (
            ("sk_reuseport/migrate", "sk_reuseport_select_or_migrate", False, _NO),
            ("sk_reuseport", "sk_reuseport_select", False, _NO),
        ),
        None, "a", "picks the socket of an SO_REUSEPORT group",
    ),
    (
        22, "flow_dissector", (4, 20), _SKB, "bpf_flow_dissector", ("flow_dissector",),
        (("flow_dissector", "flow_dissector", False, _NO),), None, "t", "parses packet headers into flow keys",
    ),
    (
        23, "cgroup_sysctl", (5, 2), "bpf_sysctl", "bpf_sysctl_kern", ("cgroup_sysctl",),
        (("cgroup/sysctl", "cgroup_sysctl", False, _NO),), (0, 1), "",
        "watches or refuses sysctl reads and writes in a cgroup",
    ),
    (
        24, "raw_tracepoint_writable", (5, 2), "bpf_raw_tracepoint_args", "", (),
        (("raw_tracepoint.w", "", True, _NO), ("raw_tp.w", "", True, _NO)), None, "t",
        "a raw tracepoint whose buffer the program may write",
    ),
    (
        25, "cgroup_sockopt", (5, 3), "bpf_sockopt", "bpf_sockopt_kern", ("cgroup_getsockopt", "cgroup_setsockopt"),
        (
            ("cgroup/getsockopt", "cgroup_getsockopt", False, _NO), ("cgroup/setsockopt", "cgroup_setsockopt", False,
            _NO),
        ),
        (0, 1), "a", "watches and rewrites socket options in a cgroup",
    ),
    (
        26, "tracing", (5, 5), "", "",
        (
            "trace_raw_tp", "trace_fentry", "trace_fexit", "modify_return", "trace_iter", "trace_fsession",
            "trace_fentry_multi", "trace_fexit_multi", "trace_fsession_multi",
        ),
        (
            ("tp_btf", "trace_raw_tp", True, _NO), ("fentry", "trace_fentry", True, _NO),
            ("fmod_ret", "modify_return", True, _NO), ("fexit", "trace_fexit", True, _NO),
            ("fentry.s", "trace_fentry", True, _SLEEP), ("fmod_ret.s", "modify_return", True, _SLEEP),
            ("fexit.s", "trace_fexit", True, _SLEEP), ("iter", "trace_iter", True, _NO),
            ("iter.s", "trace_iter", True, _SLEEP),
        ),
        None, "bt", "runs at a kernel function or tracepoint with typed arguments, or walks kernel objects",
    ),
    (
        27, "struct_ops", (5, 6), "", "", (), (("struct_ops", "", True, _NO), ("struct_ops.s", "", True, _SLEEP)),
        None, "bg", "implements a callback of a kernel struct of function pointers",
    ),
    (28, "ext", (5, 6), "", "", (), (("freplace", "", True, _NO),), None, "b",
     "replaces a global function of another loaded program"),
    (
        29, "lsm", (5, 7), "", "", ("lsm_mac", "lsm_cgroup"),
        (
            ("lsm", "lsm_mac", True, _NO), ("lsm.s", "lsm_mac", True, _SLEEP), ("lsm_cgroup", "lsm_cgroup", True, _NO),
        ),
        None, "bg", "watches or refuses at a security hook",
    ),
    (
        30, "sk_lookup", (5, 9), "bpf_sk_lookup", "bpf_sk_lookup_kern", ("sk_lookup",),
        (("sk_lookup", "sk_lookup", False, _NO),), (0, 1), "at",
        "picks the socket that receives a packet or connection",
    ),
    (
        31, "syscall", (5, 14), "", "", (), (("syscall", "", False, _SLEEP),), None, "t",
        "run from user space by bpf(2); may itself issue bpf(2) commands",
    ),
    (
        32, "netfilter", (6, 4), "bpf_nf_ctx", "bpf_nf_ctx", ("netfilter",), (("netfilter", "netfilter", False, _NO),),
        (0, 1), "at", "accepts or drops packets at a netfilter hook",
    ),
)  # fmt: skip

TABLE = Table("program type", "ABI001", "BPF_PROG_TYPE_", _ROWS, ProgType)


def prog_type(key: str | int) -> ProgType:
    """The program type of a name (``xdp``, ``BPF_PROG_TYPE_XDP``) or number.

    :raises UsageError: ABI001 when there is none.
    """
    row: ProgType = TABLE.get(key)
    return row


def number(name: str) -> int:
    """The number of a program type's name."""
    return TABLE.number(name)


def prog_types() -> Iterator[ProgType]:
    """All program types in the order of their numbers, ``unspec`` first."""
    return iter(TABLE)


def section(name: str) -> tuple[ProgType, str, str, tuple[str, ...]] | None:
    """What an ELF section name means to a loader: program type, attach type, target, flags; None if nothing.

    ``tracepoint/sched/sched_switch`` gives the tracepoint row, ``""``, ``sched/sched_switch`` and no flags. A leading
    ``?`` (do not load by default) is not looked at: strip it first.
    """
    for row in _ROWS:
        for prefix, attach, target, flags in row[6]:
            if name == prefix:
                return prog_type(row[0]), attach, "", flags
            if target and name.startswith(prefix + "/"):
                return prog_type(row[0]), attach, name[len(prefix) + 1 :], flags
    return None
