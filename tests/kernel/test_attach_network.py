"""Programs on network devices and sockets, in a network namespace of the test's own."""

import errno
import os
import socket
import struct
from contextlib import suppress

import pytest

from osmia.diagnostics import AttachError, LoadError, UnsupportedFeature
from osmia.kernel import journal, netlink, release, syscall
from osmia.kernel.attach import attach
from osmia.kernel.attach.link import BpfLink, CalledLink
from osmia.object.layout import U32, U64, Char
from osmia.object.spec import Hook, MapSpec

pytestmark = pytest.mark.kernel
ETHERTYPE = 0x88B5  # for local experiments


@pytest.fixture(autouse=True)
def own_journal(journal_dir):
    return journal_dir


def send(netns, count=5, device="near"):
    """Frames that leave by one end of the veth pair and arrive at the other."""
    with netns.inside(), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind((device, ETHERTYPE))
        for _ in range(count):
            raw.send(b"\xff" * 6 + b"\2" * 6 + struct.pack("!H", ETHERTYPE) + bytes(50))


def xdp(kit, verdict=2):
    return kit.counting("xdp", mine=False, verdict=verdict, attach="xdp")


def tc(kit, verdict=0):
    return kit.counting("sched_cls", mine=False, verdict=verdict)


# XDP


@pytest.mark.parametrize("mode", ["", "skb", "drv"])
def test_xdp(kit, netns, mode):
    program, count = xdp(kit)
    with attach(program, Hook("xdp", "far", {"frags": False}), netns=netns.path, mode=mode) as link:
        send(netns)
        assert count[0] == 5
        info = link.info()
        assert info.kind == "xdp" and info.prog_id == program.id
    send(netns)
    assert count[0] == 5


def test_xdp_drops_what_it_says(kit, netns):
    dropping, _ = xdp(kit, verdict=1)
    seen, count = tc(kit)
    with attach(seen, Hook("tc", "far", {"direction": "ingress"}), netns=netns.path):
        send(netns)
        assert count[0] == 5
        with attach(dropping, Hook("xdp", "far"), netns=netns.name):
            send(netns)
            assert count[0] == 5


def test_xdp_program_replaced_without_a_gap(kit, netns):
    first, first_count = xdp(kit)
    second, second_count = xdp(kit)
    with attach(first, Hook("xdp", "far"), netns=netns.path) as link:
        send(netns, 2)
        link.update(second)
        send(netns, 3)
        assert (first_count[0], second_count[0]) == (2, 3) and link.program is second
        assert link.info().prog_id == second.id


@pytest.mark.parametrize("links", [True, False])
def test_a_device_has_one_xdp_program(kit, netns, links):
    program, _ = xdp(kit)
    with attach(program, Hook("xdp", "far"), netns=netns.path, link=links):
        for way in (True, False):
            with pytest.raises(AttachError) as caught:
                attach(xdp(kit)[0], Hook("xdp", "far"), netns=netns.path, link=way)
            assert caught.value.code == "HOOK009" and caught.value.hint
    assert journal.entries() == []


@pytest.mark.parametrize("mode", ["", "skb", "drv"])
def test_xdp_without_a_link_is_journalled(kit, netns, mode):
    program, count = xdp(kit)
    other, other_count = xdp(kit)
    link = attach(program, Hook("xdp", "far"), netns=netns.path, link=False, mode=mode)
    assert isinstance(link, CalledLink)
    (entry,) = journal.entries()
    assert entry.facts["kind"] == "xdp" and entry.facts["prog_id"] == program.id and entry.alive
    send(netns, 2)
    link.update(other)
    assert journal.entries()[0].facts["prog_id"] == other.id
    send(netns, 3)
    assert (count[0], other_count[0]) == (2, 3)
    with netns.inside(), netlink.Route() as route:
        index = socket.if_nametoindex("far")
        assert route.xdp_of(index)[1] == other.id and route.name_of(index) == "far"
    link.close()
    link.close()
    assert journal.entries() == []
    with netns.inside(), netlink.Route() as route:
        assert route.xdp_of(index) == (0, 0)


def test_xdp_without_a_link_may_replace(kit, netns):
    first, _ = xdp(kit)
    second, count = xdp(kit)
    old = attach(first, Hook("xdp", "far"), netns=netns.path, link=False)
    with attach(second, Hook("xdp", "far"), netns=netns.path, link=False, replace=True):
        send(netns, 2)
        assert count[0] == 2
    old.close()  # its program is not on the device any more


def test_xdp_modes_and_devices_that_are_not_there(kit, netns):
    program, _ = xdp(kit)
    for options, code in (
        ({"mode": "fast"}, "HOOK006"),
        ({"mode": "hw"}, "HOOK011"),
        ({"mode": "hw", "link": False}, "HOOK011"),
        ({"interface": "fare"}, "HOOK010"),
        ({"interface": "", "ifindex": 9999}, "HOOK010"),
        ({"netns": "osmia-no-such"}, "HOOK019"),
    ):
        with pytest.raises(LoadError) as caught:
            attach(program, Hook("xdp", "far"), **{"netns": netns.path, **options})
        assert caught.value.code == code, options
        if code == "HOOK010" and "fare" in str(options):
            assert "far" in caught.value.hint
    with pytest.raises(AttachError) as caught:
        attach(program, Hook("xdp", ""))
    assert caught.value.code == "HOOK006"
    with pytest.raises(AttachError) as caught:
        attach(tc(kit)[0], Hook("xdp", "lo"))
    assert caught.value.code == "HOOK015"
    assert journal.entries() == []


# tc


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("direction, device", [("ingress", "far"), ("egress", "near")])
def test_tc(kit, netns, links, direction, device):
    program, count = tc(kit)
    with attach(program, Hook("tc", device, {"direction": direction}), netns=netns.path, link=links) as link:
        send(netns)
        assert count[0] == 5
        assert isinstance(link, BpfLink if links else CalledLink)
        if links:
            assert link.info().kind == "tcx"
    send(netns)
    assert count[0] == 5 and journal.entries() == []
    with netns.inside(), netlink.Route() as route:
        assert not route.has_clsact(socket.if_nametoindex(device))


def test_tc_takes_several_programs(kit, netns):
    hook = Hook("tc", "far", {"direction": "ingress"})
    first, first_count = tc(kit)
    second, second_count = tc(kit)
    with attach(first, hook, netns=netns.path), attach(second, hook, netns=netns.path):
        send(netns)
    assert first_count[0] == 5 and second_count[0] in (0, 5)  # TC_ACT_OK ends the chain


def test_clsact_filters_are_described_and_replaced(kit, netns):
    program, count = tc(kit)
    other, other_count = tc(kit)
    options = {"direction": "ingress", "priority": 7, "handle": 3}
    with attach(program, Hook("tc", "far", options), netns=netns.path, link=False) as link:
        with netns.inside(), netlink.Route() as route:
            (found,) = route.filters(socket.if_nametoindex("far"), "ingress")
            assert (found.kind, found.priority, found.handle) == ("bpf", 7, 3)
            assert found.prog_id == program.id and found.tag == program.info().tag and found.name == "counting"
        (entry,) = journal.entries()
        assert entry.facts["direction"] == "ingress" and entry.facts["device"] == "far" and entry.facts["qdisc"]
        send(netns, 1)
        link.update(other)
        send(netns, 2)
        assert (count[0], other_count[0]) == (1, 2)


def test_a_qdisc_of_others_stays(kit, netns):
    with netns.inside(), netlink.Route() as route:
        index = socket.if_nametoindex("far")
        assert route.add_clsact(index) and not route.add_clsact(index)
    program, _ = tc(kit)
    attach(program, Hook("tc", "far", {"direction": "egress"}), netns=netns.path, link=False).close()
    with netns.inside(), netlink.Route() as route:
        assert route.has_clsact(index) and route.filters(index, "egress") == []
        # and with a filter of somebody else's, a qdisc that we made stays too
        route.remove_clsact(index)
    ours = attach(program, Hook("tc", "far", {"direction": "egress"}), netns=netns.path, link=False)
    with netns.inside(), netlink.Route() as route:
        route.add_filter(index, "ingress", tc(kit)[0].fileno(), "other")
    ours.close()
    with netns.inside(), netlink.Route() as route:
        assert route.has_clsact(index) and len(route.filters(index, "ingress")) == 1


def test_closing_after_the_device_is_gone(kit, netns):
    tc_link = attach(tc(kit)[0], Hook("tc", "far", {"direction": "ingress"}), netns=netns.path, link=False)
    xdp_link = attach(xdp(kit)[0], Hook("xdp", "near"), netns=netns.path, link=False)
    tcx_link = attach(tc(kit)[0], Hook("tc", "far", {"direction": "egress"}), netns=netns.path)
    netns.run("ip", "link", "del", "near")
    for link in (tc_link, xdp_link, tcx_link):
        link.close()
    assert journal.entries() == []


def test_tc_without_a_direction(kit, netns):
    with pytest.raises(AttachError) as caught:
        attach(tc(kit)[0], Hook("tc", "far"), netns=netns.path)
    assert caught.value.code == "HOOK006" and "ingress" in caught.value.message


def test_older_kernels_get_clsact_and_netlink(kit, netns, monkeypatch):
    monkeypatch.setattr(release, "running", lambda: (5, 4, 0))
    program, _ = tc(kit)
    link = attach(program, Hook("tc", "far", {"direction": "ingress"}), netns=netns.path)
    assert isinstance(link, CalledLink)
    link.close()
    link = attach(xdp(kit)[0], Hook("xdp", "far"), netns=netns.path)
    assert isinstance(link, CalledLink)
    link.close()


def test_netkit_here_or_a_clear_refusal(kit, netns):
    with pytest.raises(LoadError) as caught:
        attach(tc(kit)[0], Hook("netkit", "far"), netns=netns.path)
    assert caught.value.code in ("HOOK016", "HOOK017")
    with pytest.raises(AttachError) as caught:
        attach(tc(kit)[0], Hook("netkit", "far", {"side": "left"}), netns=netns.path)
    assert caught.value.code == "HOOK006"


# netfilter


def udp(netns, port=9, count=3, address="127.0.0.1"):
    with netns.inside(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        for _ in range(count):
            try:
                out.sendto(b"x", (address, port))
            except OSError as error:
                if error.errno not in (errno.ECONNREFUSED, errno.EPERM):
                    raise


def test_netfilter(kit, netns):
    program, count = kit.counting("netfilter", mine=False, verdict=1, attach="netfilter")
    with attach(program, Hook("netfilter", "output", {"family": "ipv4", "priority": -128}), netns=netns.path) as link:
        udp(netns)
        assert count[0] >= 3 and link.info().details["priority"] == -128
        with pytest.raises(AttachError) as caught:
            attach(program, Hook("netfilter", "output", {"family": "ipv4", "priority": -128}), netns=netns.path)
        assert caught.value.code == "HOOK009"
    after = count[0]
    udp(netns)
    assert count[0] == after
    for target, options in (("middle", {}), ("input", {"family": "ipx"})):
        with pytest.raises(AttachError) as caught:
            attach(program, Hook("netfilter", target, options), netns=netns.path)
        assert caught.value.code == "HOOK006"


# Sockets


def test_socket_filter(kit):
    program, count = kit.counting("socket_filter", mine=False, verdict=0)
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out,
    ):
        server.bind(("127.0.0.1", 0))
        server.setblocking(False)
        link = attach(program, Hook("socket_filter"), socket=server)
        out.sendto(b"dropped", server.getsockname())
        assert count[0] == 1
        with pytest.raises(BlockingIOError):
            server.recv(100)
        passing = kit.load(kit.spec("pass", "socket_filter", "r0 = 65535\nexit")).programs["pass"]
        link.update(passing)
        out.sendto(b"passed", server.getsockname())
        assert server.recv(100) == b"passed"
        link.close()
        link.close()
        out.sendto(b"free", server.getsockname())
        assert server.recv(100) == b"free" and count[0] == 1


def test_socket_filter_by_descriptor_and_without_socket(kit):
    program, count = kit.counting("socket_filter", mine=False, verdict=0)
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with left, right:
        left.setblocking(False)
        with attach(program, Hook("socket_filter"), socket=right.fileno()), suppress(OSError):
            left.send(b"x")
        assert count[0] == 1
    read, write = os.pipe()
    for options in ({}, {"socket": "x"}, {"socket": read}, {"socket": -1}):
        with pytest.raises(AttachError) as caught:
            attach(program, Hook("socket_filter"), **options)
        assert caught.value.code == "HOOK006"
    os.close(read)
    os.close(write)


def test_reuseport_group(kit):
    """A program picks the socket of a group by its index."""
    program = kit.load(kit.spec("second", "socket_filter", "r0 = 1\nexit")).programs["second"]
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
    port = 0
    for item in sockets:
        item.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        item.bind(("127.0.0.1", port))
        port = item.getsockname()[1]
        item.setblocking(False)
    with (
        attach(program, Hook("sk_reuseport"), socket=sockets[0]),
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out,
    ):
        for _ in range(5):
            out.sendto(b"x", ("127.0.0.1", port))
        assert [sockets[1].recv(10) for _ in range(5)] == [b"x"] * 5
        with pytest.raises(BlockingIOError):
            sockets[0].recv(10)
    for item in sockets:
        item.close()


def test_sk_lookup_chooses_the_socket(kit, netns):
    text = """
        r6 = r1
        r7 = *(u32 *)(r1 + 60)
        if r7 != 7777 goto pass
        r1 = map[targets] ll
        *(u32 *)(r10 - 4) = 0
        r2 = r10
        r2 += -4
        call map_lookup_elem
        if r0 == 0 goto pass
        r7 = r0
        r1 = r6
        r2 = r7
        r3 = 0
        call sk_assign
        r1 = r7
        call sk_release
    pass:
        r0 = 1
        exit
    """
    targets = MapSpec("targets", "sockmap", key=U32, value_size=8, max_entries=1)
    loaded = kit.load(kit.spec("pick", "sk_lookup", text, maps=[targets], attach="sk_lookup"))
    program = loaded.programs["pick"]
    with netns.inside():
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        server.bind(("127.0.0.1", 0))
        server.settimeout(5)
    loaded.maps["targets"][0] = server
    with attach(program, Hook("sk_lookup"), netns=netns.path) as link:
        udp(netns, port=7777, count=1)
        assert server.recv(10) == b"x"
        assert link.info().kind == "netns"
    udp(netns, port=7777, count=1)
    server.settimeout(0.05)
    with pytest.raises(TimeoutError):
        server.recv(10)
    server.close()
    with pytest.raises(AttachError) as caught:
        attach(program, Hook("sk_lookup"), netns="/nonexistent/ns")
    assert caught.value.code == "HOOK019"


def test_flow_dissector(kit, netns):
    program = kit.load(kit.spec("flow", "flow_dissector", "r0 = 0\nexit", attach="flow_dissector")).programs["flow"]
    other = kit.load(kit.spec("flow", "flow_dissector", "r0 = 0\nexit", attach="flow_dissector")).programs["flow"]
    with attach(program, Hook("flow_dissector"), netns=netns.path) as link:
        assert link.info().attach_type == "flow_dissector"
        with pytest.raises(LoadError) as caught:
            attach(other, Hook("flow_dissector"), netns=netns.path)
        assert caught.value.code in ("HOOK009", "HOOK017")
        link.update(other)
        assert link.info().prog_id == other.id


@pytest.fixture
def connection():
    server = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(server.getsockname())
    peer, _ = server.accept()
    yield client, peer
    for item in (client, peer, server):
        item.close()


@pytest.mark.parametrize("old", [False, True])
def test_sk_skb_and_sk_msg(kit, connection, monkeypatch, old):
    client, peer = connection
    if old:
        monkeypatch.setattr(release, "has", lambda version: version <= (6, 9))
    sockets = kit.map("sockmap", key=U32, value_size=8, max_entries=4, name="sockets")
    verdict, seen = kit.counting("sk_skb", mine=False, verdict=1)
    message, sent = kit.counting("sk_msg", mine=False, verdict=1)
    by_name = Hook("sk_skb", "stream_verdict", {"map": "sockets"})
    with attach(verdict, by_name, maps={"sockets": sockets}), attach(message, Hook("sk_msg"), map=sockets):
        sockets[0] = peer
        sockets[1] = client
        client.sendall(b"hello")
        peer.settimeout(5)
        assert peer.recv(100) == b"hello"
        assert seen[0] >= 1 and sent[0] >= 1
        with pytest.raises(LoadError) as caught:
            attach(kit.counting("sk_skb", mine=False)[0], Hook("sk_skb", "verdict"), map=sockets)
        assert caught.value.code in ("HOOK009", "HOOK017")
    assert syscall.prog_query(sockets.fd, 5) == [] and syscall.prog_query(sockets.fd, 7) == []


def test_sk_skb_bad_words(kit):
    program, _ = kit.counting("sk_skb", mine=False)
    sockets = kit.map("sockmap", key=U32, value_size=4, max_entries=4)
    table = kit.map("hash", key=Char(4), value=U64, max_entries=4)
    for hook, options, codes in (
        (Hook("sk_skb", "sideways"), {"map": sockets}, ("HOOK006",)),
        (Hook("sk_skb", "verdict"), {}, ("HOOK006",)),
        (Hook("sk_skb", "verdict", {"map": "nowhere"}), {}, ("HOOK006",)),
        (Hook("sk_skb", "verdict"), {"map": table}, ("HOOK016", "HOOK017")),
        (Hook("sk_msg"), {"map": sockets}, ("HOOK015",)),
    ):
        with pytest.raises(LoadError) as caught:
            attach(program, hook, **options)
        assert caught.value.code in codes


def test_unsupported_is_a_kind_of_load_error():
    assert issubclass(UnsupportedFeature, LoadError)
