"""A packet filter: drop UDP packets to one port, count what is dropped. Run it with --interface NAME."""

from osmia import Program, XdpContext, ntohs, u16, u64
from osmia.lang.net import ETH_P_IP, IPPROTO_UDP, XDP_DROP, XDP_PASS, EthHdr, Ipv4Hdr, UdpHdr

prog = Program("drop")

port = prog.option("port", u16, 9, help="the UDP port to block", metavar="PORT")
dropped = prog.var(u64, 0)


@prog.xdp
def block(ctx: XdpContext) -> int:
    eth = ctx.packet(EthHdr)
    if eth is None or ntohs(eth.proto) != ETH_P_IP:
        return XDP_PASS
    ip = ctx.packet(Ipv4Hdr, 14)
    if ip is None or ip.protocol != IPPROTO_UDP:
        return XDP_PASS
    udp = ctx.packet(UdpHdr, 14 + (ip.version_ihl & 15) * 4)
    if udp is None or ntohs(udp.dst_port) != port.value:
        return XDP_PASS
    dropped.value += 1
    return XDP_DROP


@prog.at_end
def total() -> None:
    print(f"{dropped.value} packets dropped")


if __name__ == "__main__":
    prog.run()
