"""The arguments of kernel functions, as types: ``def drop(ctx: XdpContext) -> int``.

The hook decides what the argument is; the annotation is for readers and checkers, and one that contradicts the hook
is an error. Fields are those of the kernel's uapi structs (``include/uapi/linux/bpf.h``); ``osmia.abi.contexts`` knows
where they are and which programs may read and write them.
"""

from __future__ import annotations

from osmia.lang.maps import kernel_only

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    from osmia.lang.types import s32, u8, u16, u32, u64

    _T = TypeVar("_T")


class Context:
    """Base of all contexts.

    :cvar STRUCT: the uapi struct with the fields, ``""`` where the hook's target decides.
    """

    __slots__ = ()
    STRUCT = ""


class _Open(Context):
    """A context whose attributes depend on the hook's target."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise kernel_only(f"{type(self).__name__}.{name}")


class TracepointArgs(_Open):
    """Fields of a tracepoint, by the names of its format; of a system call, by the names of its manual."""

    __slots__ = ()


class RawArgs(Context):
    """Arguments of a raw tracepoint by position: ``args[0]``."""

    __slots__ = ()

    def __getitem__(self, index: int) -> Any:
        raise kernel_only("RawArgs[...]")


class PtRegs(_Open):
    """Registers at a probe: ``regs.arg(0)``, ``regs.ret``, ``regs.ip``, ``regs.sp``, or a register's name."""

    __slots__ = ()

    def arg(self, index: int) -> int:
        """An integer argument of the probed function by the platform's calling convention; ``u64``."""
        raise kernel_only("PtRegs.arg")


class UsdtArgs(Context):
    """Arguments of a USDT probe: ``args.arg(0)``; ``u64``, sign-extended where the probe says so."""

    __slots__ = ()

    def arg(self, index: int) -> int:
        """One argument of the probe; ``u64``."""
        raise kernel_only("UsdtArgs.arg")


class PerfContext(_Open):
    """A sample: ``ctx.sample_period``, ``ctx.addr``, ``ctx.ip``, or a register's name."""

    __slots__ = ()
    if TYPE_CHECKING:
        sample_period: u64
        addr: u64
        ip: u64


class IterContext(_Open):
    """An iterator's step: ``ctx.meta`` and the object, such as ``ctx.task``, ``None`` at the end."""

    __slots__ = ()


class _Packet(Context):
    __slots__ = ()

    def packet(self, header: type[_T], offset: int = 0) -> _T | None:
        """The header at ``offset`` bytes into the packet, ``None`` where the packet is shorter than that."""
        raise kernel_only("packet")


class XdpContext(_Packet):
    """A packet at an XDP hook (``struct xdp_md``)."""

    STRUCT = "xdp_md"
    if TYPE_CHECKING:
        data: u64
        data_end: u64
        data_meta: u64
        ingress_ifindex: u32
        rx_queue_index: u32
        egress_ifindex: u32


class SkbContext(_Packet):
    """A packet in the network stack (``struct __sk_buff``)."""

    STRUCT = "__sk_buff"
    if TYPE_CHECKING:
        data: u64
        data_end: u64
        len: u32
        pkt_type: u32
        mark: u32
        queue_mapping: u32
        protocol: u32
        vlan_present: u32
        vlan_tci: u32
        vlan_proto: u32
        priority: u32
        ingress_ifindex: u32
        ifindex: u32
        tc_index: u32
        cb: list[u32]
        hash: u32
        tc_classid: u32
        napi_id: u32
        family: u32
        remote_ip4: u32
        local_ip4: u32
        remote_ip6: list[u32]
        local_ip6: list[u32]
        remote_port: u32
        local_port: u32
        tstamp: u64
        wire_len: u32
        gso_segs: u32
        sk: SockContext | None
        gso_size: u32
        tstamp_type: u8
        hwtstamp: u64


class SockContext(Context):
    """A socket (``struct bpf_sock``)."""

    STRUCT = "bpf_sock"
    if TYPE_CHECKING:
        bound_dev_if: u32
        family: u32
        type: u32
        protocol: u32
        mark: u32
        priority: u32
        src_ip4: u32
        src_ip6: list[u32]
        src_port: u32
        dst_port: u16
        dst_ip4: u32
        dst_ip6: list[u32]
        state: u32
        rx_queue_mapping: s32


class SockAddrContext(Context):
    """An address given to a socket call (``struct bpf_sock_addr``)."""

    STRUCT = "bpf_sock_addr"
    if TYPE_CHECKING:
        user_family: u32
        user_ip4: u32
        user_ip6: list[u32]
        user_port: u32
        family: u32
        type: u32
        protocol: u32
        msg_src_ip4: u32
        msg_src_ip6: list[u32]
        sk: SockContext | None


class SockOpsContext(Context):
    """A TCP connection's event (``struct bpf_sock_ops``)."""

    STRUCT = "bpf_sock_ops"
    if TYPE_CHECKING:
        op: u32
        args: list[u32]
        reply: u32
        family: u32
        remote_ip4: u32
        local_ip4: u32
        remote_ip6: list[u32]
        local_ip6: list[u32]
        remote_port: u32
        local_port: u32
        is_fullsock: u32
        snd_cwnd: u32
        srtt_us: u32
        bpf_sock_ops_cb_flags: u32
        state: u32
        rtt_min: u32
        snd_ssthresh: u32
        rcv_nxt: u32
        snd_nxt: u32
        snd_una: u32
        mss_cache: u32
        ecn_flags: u32
        rate_delivered: u32
        rate_interval_us: u32
        packets_out: u32
        retrans_out: u32
        total_retrans: u32
        segs_in: u32
        data_segs_in: u32
        segs_out: u32
        data_segs_out: u32
        lost_out: u32
        sacked_out: u32
        sk_txhash: u32
        bytes_received: u64
        bytes_acked: u64
        sk: SockContext | None
        skb_len: u32
        skb_tcp_flags: u32
        skb_hwtstamp: u64


class SockoptContext(Context):
    """A getsockopt or setsockopt call (``struct bpf_sockopt``)."""

    STRUCT = "bpf_sockopt"
    if TYPE_CHECKING:
        sk: SockContext | None
        level: s32
        optname: s32
        optlen: s32
        retval: s32


class SysctlContext(Context):
    """A read or write of a sysctl (``struct bpf_sysctl``)."""

    STRUCT = "bpf_sysctl"
    if TYPE_CHECKING:
        write: u32
        file_pos: u32


class DeviceContext(Context):
    """An access to a device file (``struct bpf_cgroup_dev_ctx``)."""

    STRUCT = "bpf_cgroup_dev_ctx"
    if TYPE_CHECKING:
        access_type: u32
        major: u32
        minor: u32


class SkLookupContext(Context):
    """The search for a listening socket (``struct bpf_sk_lookup``)."""

    STRUCT = "bpf_sk_lookup"
    if TYPE_CHECKING:
        sk: SockContext | None
        family: u32
        protocol: u32
        remote_ip4: u32
        remote_ip6: list[u32]
        remote_port: u16
        local_ip4: u32
        local_ip6: list[u32]
        local_port: u32
        ingress_ifindex: u32


class SkMsgContext(Context):
    """Data on its way out of a socket (``struct sk_msg_md``)."""

    STRUCT = "sk_msg_md"
    if TYPE_CHECKING:
        family: u32
        remote_ip4: u32
        local_ip4: u32
        remote_ip6: list[u32]
        local_ip6: list[u32]
        remote_port: u32
        local_port: u32
        size: u32
        sk: SockContext | None

    def packet(self, header: type[_T], offset: int = 0) -> _T | None:
        """The data at ``offset`` bytes into the message, ``None`` where there is less."""
        raise kernel_only("packet")
