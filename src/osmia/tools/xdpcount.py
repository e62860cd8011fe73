"""xdpcount: count the packets and bytes an interface receives, by protocol, before the kernel looks at them.

All packets pass. IPv4 and IPv6 are counted by their protocol number, everything else by its Ethernet type.
--interface is needed; the rate
of a line is for the last interval.

Option of its own: --interface NAME, the network interface.

Example:

    # osmia run xdpcount --interface eth0 --interval 1
    TYPE    PROTOCOL    PACKETS    BYTES
    IPv4    TCP            1204     1.1M
    IPv4    ICMP              2      196
"""

from __future__ import annotations

from osmia import Program, XdpContext, ntohs, u8, u16, u64
from osmia.lang.net import ETH_P_IP, ETH_P_IPV6, XDP_PASS, EthHdr, Ipv4Hdr, Ipv6Hdr

prog = Program("xdpcount", description="Count received packets by protocol with XDP.")


@prog.struct
class Kind:
    ether_type: u16
    protocol: u8


@prog.struct
class Traffic:
    packets: u64
    size: u64


_traffic = prog.percpu_hash(Kind, Traffic, max_entries=4_096)


@prog.xdp
def count(ctx: XdpContext) -> int:
    ethernet = ctx.packet(EthHdr)
    if ethernet is None:
        return XDP_PASS
    kind = Kind(ether_type=ntohs(ethernet.proto), protocol=u8(0))
    if kind.ether_type == ETH_P_IP:
        ip4 = ctx.packet(Ipv4Hdr, 14)
        if ip4 is not None:
            kind.protocol = ip4.protocol
    elif kind.ether_type == ETH_P_IPV6:
        ip6 = ctx.packet(Ipv6Hdr, 14)
        if ip6 is not None:
            kind.protocol = ip6.next_header
    size: u64 = u64(ctx.data_end - ctx.data)
    seen = _traffic.get(kind)
    if seen is None:
        _traffic.insert(kind, Traffic(packets=1, size=size))
    else:
        seen.packets += 1
        seen.size += size
    return XDP_PASS


@prog.report
def totals() -> None:
    rows = [(kind.ether_type, kind.protocol, seen.packets, seen.size) for kind, seen in _traffic.sums()]
    columns = {"type": "ether_type", "protocol": "ip_protocol", "size": "size"}
    prog.table("traffic", ("type", "protocol", "packets", "size"), rows, sort="size", formats=columns)
    _traffic.clear()


if __name__ == "__main__":
    prog.run()
