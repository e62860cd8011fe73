"""Programs on a cgroup of the test's own; only processes that the test puts there are concerned."""

import os
import socket
import sys
from contextlib import suppress

import pytest

from osmia.diagnostics import AttachError, LoadError
from osmia.kernel import journal, release
from osmia.kernel.attach import attach
from osmia.kernel.attach.link import BpfLink, CalledLink
from osmia.object.spec import Hook

pytestmark = pytest.mark.kernel


@pytest.fixture(autouse=True)
def own_journal(journal_dir):
    return journal_dir


def inside(cgroup, work):
    """Runs ``work`` in a child in the cgroup; its result, or minus the error's number."""
    child = os.fork()
    if not child:
        code = 99
        try:
            with open(f"{cgroup}/cgroup.procs", "w") as file:
                file.write(str(os.getpid()))
            code = int(work() or 0)
        except OSError as error:
            code = 100 + (error.errno or 0)
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def connect():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.connect(("127.0.0.1", 9))


def send():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        one.settimeout(2)
        one.sendto(b"x", one.getsockname())
        one.recvfrom(10)


def open_socket():
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close()


def talk():
    server = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(server.getsockname())
    peer, _ = server.accept()
    for item in (client, peer, server):
        item.close()


def read_sysctl():
    with open("/proc/sys/kernel/ostype") as file:
        file.read()


def open_null():
    os.close(os.open("/dev/null", os.O_RDONLY))


def options():
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        one.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


def unix():
    with socket.socket(socket.AF_UNIX) as one, suppress(ConnectionRefusedError):
        one.connect("\0osmia-nobody-here")


CASES = [
    ("skb/ingress", "cgroup_skb", "cgroup_inet_ingress", send),
    ("skb/egress", "cgroup_skb", "cgroup_inet_egress", send),
    ("sock_create", "cgroup_sock", "cgroup_inet_sock_create", open_socket),
    ("sock_release", "cgroup_sock", "cgroup_inet_sock_release", open_socket),
    ("post_bind4", "cgroup_sock", "cgroup_inet4_post_bind", send),
    ("connect4", "cgroup_sock_addr", "cgroup_inet4_connect", connect),
    ("bind4", "cgroup_sock_addr", "cgroup_inet4_bind", send),
    ("sendmsg4", "cgroup_sock_addr", "cgroup_udp4_sendmsg", send),
    ("recvmsg4", "cgroup_sock_addr", "cgroup_udp4_recvmsg", send),
    ("getsockname4", "cgroup_sock_addr", "cgroup_inet4_getsockname", send),
    ("connect_unix", "cgroup_sock_addr", "cgroup_unix_connect", unix),
    ("sockops", "sock_ops", "cgroup_sock_ops", talk),
    ("device", "cgroup_device", "cgroup_device", open_null),
    ("sysctl", "cgroup_sysctl", "cgroup_sysctl", read_sysctl),
    ("getsockopt", "cgroup_sockopt", "cgroup_getsockopt", options),
    ("setsockopt", "cgroup_sockopt", "cgroup_setsockopt", options),
]


@pytest.mark.parametrize("target, kind, attach_type, work", CASES, ids=[case[0] for case in CASES])
def test_every_hook(kit, cgroup, target, kind, attach_type, work):
    program, count = kit.counting(kind, mine=False, verdict=1, attach=attach_type)
    with attach(program, Hook("cgroup", target, {"path": cgroup})) as link:
        assert isinstance(link, BpfLink)
        assert inside(cgroup, work) == 0
        assert count[0] >= 1
        info = link.info()
        assert info.kind == "cgroup" and info.attach_type == attach_type
        assert info.details["cgroup_id"] == os.stat(cgroup).st_ino
        after = count[0]
        work()  # not in the cgroup
        assert count[0] == after
    inside(cgroup, work)
    assert count[0] == after


@pytest.mark.parametrize(
    "target, kind, attach_type, work, error",
    [
        ("connect4", "cgroup_sock_addr", "cgroup_inet4_connect", connect, 1),
        ("sock_create", "cgroup_sock", "cgroup_inet_sock_create", open_socket, 1),
        ("device", "cgroup_device", "cgroup_device", open_null, 1),
        ("sysctl", "cgroup_sysctl", "cgroup_sysctl", read_sysctl, 1),
        ("setsockopt", "cgroup_sockopt", "cgroup_setsockopt", options, 1),
        ("skb/egress", "cgroup_skb", "cgroup_inet_egress", send, 1),
    ],
)
def test_refusing(kit, cgroup, target, kind, attach_type, work, error):
    program, _ = kit.counting(kind, mine=False, verdict=0, attach=attach_type)
    with attach(program, Hook("cgroup", target), path=cgroup):
        assert inside(cgroup, work) == 100 + error
    assert inside(cgroup, work) == 0


def test_two_programs_and_replacing_one(kit, cgroup):
    first, first_count = kit.counting("cgroup_sock", mine=False, verdict=1, attach="cgroup_inet_sock_create")
    second, second_count = kit.counting("cgroup_sock", mine=False, verdict=1, attach="cgroup_inet_sock_create")
    third, third_count = kit.counting("cgroup_sock", mine=False, verdict=1, attach="cgroup_inet_sock_create")
    hook = Hook("cgroup", "sock_create", {"path": cgroup})
    with attach(first, hook) as link, attach(second, hook):
        inside(cgroup, open_socket)
        link.update(third)
        inside(cgroup, open_socket)
    assert (first_count[0], second_count[0], third_count[0]) == (1, 2, 1)


@pytest.mark.parametrize("mode", ["multi", "override", "exclusive"])
def test_without_a_link_it_is_journalled(kit, cgroup, mode):
    program, count = kit.counting("cgroup_sock", mine=False, verdict=1, attach="cgroup_inet_sock_create")
    hook = Hook("cgroup", "sock_create", {"path": cgroup})
    link = attach(program, hook, mode=mode)
    assert isinstance(link, CalledLink)
    (entry,) = journal.entries()
    assert entry.facts["kind"] == "cgroup" and entry.facts["prog_id"] == program.id and cgroup in entry.describe()
    inside(cgroup, open_socket)
    assert count[0] == 1
    if mode == "exclusive":
        with pytest.raises(LoadError) as caught:
            attach(kit.counting("cgroup_sock", mine=False, attach="cgroup_inet_sock_create")[0], hook)
        assert caught.value.code in ("HOOK009", "HOOK017", "KRN002")
    link.close()
    assert journal.entries() == []
    inside(cgroup, open_socket)
    assert count[0] == 1


def test_kernels_without_cgroup_links(kit, cgroup, monkeypatch):
    program, _ = kit.counting("cgroup_sock", mine=False, verdict=1, attach="cgroup_inet_sock_create")
    monkeypatch.setattr(release, "running", lambda: (5, 4, 0))
    link = attach(program, Hook("cgroup", "sock_create", {"path": cgroup}))
    assert isinstance(link, CalledLink)
    link.close()


def test_by_descriptor(kit, cgroup):
    program, count = kit.counting("cgroup_sock", mine=False, verdict=1, attach="cgroup_inet_sock_create")
    folder = os.open(cgroup, os.O_RDONLY)
    try:
        with attach(program, Hook("cgroup", "sock_create"), path=folder):
            inside(cgroup, open_socket)
    finally:
        os.close(folder)
    assert count[0] == 1


def test_targets_and_paths_that_make_no_sense(kit, cgroup, tmp_path):
    program, _ = kit.counting("cgroup_skb", mine=False, verdict=1)
    for hook, code in (
        (Hook("cgroup", "skb/ingress"), "HOOK012"),
        (Hook("cgroup", "skb/ingress", {"path": "/nonexistent"}), "HOOK012"),
        (Hook("cgroup", "skb/ingress", {"path": str(tmp_path)}), "HOOK012"),
        (Hook("cgroup", "skb/ingres", {"path": cgroup}), "HOOK006"),
        (Hook("cgroup", "connect4", {"path": cgroup}), "HOOK015"),
        (Hook("cgroup", "skb/ingress", {"path": cgroup, "mode": "shared"}), "HOOK006"),
    ):
        with pytest.raises(AttachError) as caught:
            attach(program, hook)
        assert caught.value.code == code, hook
    assert journal.entries() == []


def test_closing_after_the_cgroup_is_gone(kit, cgroup):
    program, _ = kit.counting("cgroup_sock", mine=False, verdict=1, attach="cgroup_inet_sock_create")
    hook = Hook("cgroup", "sock_create", {"path": cgroup})
    links = [attach(program, hook, mode="multi"), attach(kit.counting("cgroup_sock", mine=False, verdict=1,
             attach="cgroup_inet_sock_create")[0], hook)]  # fmt: skip
    os.rmdir(cgroup)
    for link in links:
        link.close()
    os.mkdir(cgroup)
    assert journal.entries() == [] and sys.platform == "linux"
