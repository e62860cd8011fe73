"""Packet headers and verdicts: structs for ``ctx.packet(EthHdr)``.

Fields of more than one byte are in network byte order, as on the wire: ``ntohs(eth.proto)``. Verdicts and protocol
numbers are
those of the kernel's uapi headers.
"""

from __future__ import annotations

from osmia.lang.structs import struct_class
from osmia.lang.types import Bytes, u8, u16, u32

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar, dataclass_transform

    _C = TypeVar("_C")

    @dataclass_transform()
    def _header(cls: type[_C]) -> type[_C]: ...
else:
    _header = struct_class


@_header
class EthHdr:
    """Ethernet header, 14 bytes."""

    dst: Bytes[6]
    src: Bytes[6]
    proto: u16


@_header
class VlanHdr:
    """802.1Q tag, 4 bytes after the Ethernet header's type."""

    tci: u16
    proto: u16


@_header
class ArpHdr:
    """ARP header, 8 bytes."""

    hardware: u16
    proto: u16
    hardware_len: u8
    proto_len: u8
    op: u16


@_header
class Ipv4Hdr:
    """IPv4 header without options, 20 bytes. ``version_ihl`` holds the version (high) and the length in words (low)."""

    version_ihl: u8
    tos: u8
    total_len: u16
    id: u16
    frag_off: u16
    ttl: u8
    protocol: u8
    check: u16
    src: u32
    dst: u32


@_header
class Ipv6Hdr:
    """IPv6 header, 40 bytes. ``flow`` holds version, traffic class and flow label."""

    flow: u32
    payload_len: u16
    next_header: u8
    hop_limit: u8
    src: Bytes[16]
    dst: Bytes[16]


@_header
class TcpHdr:
    """TCP header without options, 20 bytes. ``data_off`` holds the length in words (high four bits)."""

    src_port: u16
    dst_port: u16
    seq: u32
    ack: u32
    data_off: u8
    flags: u8
    window: u16
    check: u16
    urgent: u16


@_header
class UdpHdr:
    """UDP header, 8 bytes."""

    src_port: u16
    dst_port: u16
    len: u16
    check: u16


@_header
class IcmpHdr:
    """ICMP and ICMPv6 header, 8 bytes."""

    type: u8
    code: u8
    check: u16
    rest: u32


ETH_P_IP = 0x0800
ETH_P_ARP = 0x0806
ETH_P_8021Q = 0x8100
ETH_P_8021AD = 0x88A8
ETH_P_IPV6 = 0x86DD

IPPROTO_ICMP = 1
IPPROTO_TCP = 6
IPPROTO_UDP = 17
IPPROTO_ICMPV6 = 58

TCP_FIN, TCP_SYN, TCP_RST, TCP_PSH, TCP_ACK, TCP_URG, TCP_ECE, TCP_CWR = (1 << bit for bit in range(8))

XDP_ABORTED, XDP_DROP, XDP_PASS, XDP_TX, XDP_REDIRECT = range(5)

TC_ACT_UNSPEC = -1
TC_ACT_OK, TC_ACT_RECLASSIFY, TC_ACT_SHOT, TC_ACT_PIPE, TC_ACT_STOLEN, TC_ACT_QUEUED, TC_ACT_REPEAT = range(7)
TC_ACT_REDIRECT = 7
TCX_NEXT, TCX_PASS, TCX_DROP, TCX_REDIRECT = -1, 0, 2, 7

SK_DROP, SK_PASS = range(2)
CGROUP_REFUSE, CGROUP_ALLOW = range(2)
