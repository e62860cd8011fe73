"""Queues, stacks, bloom filters, stack traces, and maps of descriptors."""

import os
import socket

import pytest

from osmia.diagnostics import LoadError, MapError, UsageError
from osmia.kernel.cpu import possible_count
from osmia.kernel.maps.base import EmptyMap, Map, map_from_id, open_pinned
from osmia.object.layout import U32, U64, Char, Struct
from osmia.object.spec import MapSpec

pytestmark = pytest.mark.kernel


def test_queue_and_stack(kit):
    queue = kit.map("queue", value=U32, max_entries=3)
    stack = kit.map("stack", value=U32, max_entries=3)
    for number in (1, 2, 3):
        queue.push(number)
        stack.push(number)
    assert queue.peek() == 1 and stack.peek() == 3
    for full in (queue, stack):
        with pytest.raises(MapError) as caught:
            full.push(4)
        assert caught.value.code == "MAP001" and "replace_oldest" in caught.value.hint
    queue.push(4, replace_oldest=True)
    assert list(queue.drain()) == [2, 3, 4] and [stack.pop(), stack.pop()] == [3, 2]
    assert queue.pop(None) is None and queue.peek(7) == 7
    with pytest.raises(IndexError) as caught:
        queue.pop()
    assert isinstance(caught.value, EmptyMap) and caught.value.code == "MAP002"
    stack.clear()
    assert stack.pop(None) is None
    for action in (lambda: queue[1], lambda: queue.__setitem__(1, 1), lambda: len(queue), lambda: list(queue.keys())):
        with pytest.raises(MapError) as caught:
            action()
        assert caught.value.code == "MAP004"


def test_bloom_filter(kit):
    bloom = kit.map("bloom_filter", value=Char(16), max_entries=1000, extra=3)
    names = [f"name{number}" for number in range(200)]
    for name in names:
        bloom.add(name)
    assert all(name in bloom for name in names)
    assert sum(f"other{number}" in bloom for number in range(1000)) < 200
    for action in (bloom.clear, lambda: list(bloom), lambda: len(bloom)):
        with pytest.raises(MapError) as caught:
            action()
        assert caught.value.code == "MAP004"


def test_stack_traces(kit):
    code = """
        r2 = map[stacks] ll
        r3 = 0
        call get_stackid
        exit
    """
    stacks = MapSpec("stacks", "stack_trace", key=U32, value_size=127 * 8, max_entries=64)
    loaded = kit.load(kit.spec("trace", "raw_tracepoint", code, maps=[stacks]))
    result = loaded.programs["trace"].test_run()
    assert result.signed >= 0
    live = loaded.maps["stacks"]
    ips = live.ips(result.retval)
    assert len(ips) > 3 and all(ip > 1 << 63 for ip in ips)
    assert dict(live.traces()) == {result.retval: ips}
    assert live.pop_ips(result.retval) == ips
    with pytest.raises(KeyError):
        live.ips(result.retval)
    with pytest.raises(KeyError):
        live.ips(-14)


def test_stack_traces_by_build_id(kit):
    code = """
        r2 = map[stacks] ll
        r3 = 0x100
        call get_stackid
        exit
    """
    stacks = MapSpec("stacks", "stack_trace", key=U32, value_size=32 * 32, max_entries=64, flags=1 << 5)
    loaded = kit.load(kit.spec("trace", "raw_tracepoint", code, maps=[stacks]))
    result = loaded.programs["trace"].test_run()
    assert result.signed >= 0
    frames = loaded.maps["stacks"].frames(result.retval)
    assert frames and all(len(build_id) in (0, 20) for build_id, _ in frames)


def test_prog_array_and_tail_calls(kit):
    first = """
        r2 = map[jumps] ll
        r3 = 1
        call tail_call
        r0 = 5
        exit
    """
    jumps = MapSpec("jumps", "prog_array", key=U32, value_size=4, max_entries=4)
    spec = kit.spec("first", "socket_filter", first, maps=[jumps])
    kit.add(spec, "second", "socket_filter", "r0 = 77\nexit")
    jumps.contents.append((b"\1\0\0\0", "second"))
    loaded = kit.load(spec)
    live, first, second = loaded.maps["jumps"], loaded.programs["first"], loaded.programs["second"]
    assert first.test_run(bytes(64)).retval == 77
    assert live[1] == second.id and list(live.items()) == [(1, second.id)]
    assert live.unset(1) and not live.unset(1)
    assert first.test_run(bytes(64)).retval == 5
    live.set(1, second)
    assert first.test_run(bytes(64)).retval == 77
    other = kit.load(kit.spec("xdp", "xdp", "r0 = 2\nexit"))
    with pytest.raises(MapError) as caught:
        live.set(2, other.programs["xdp"])
    assert caught.value.code in ("MAP004", "MAP007")
    for wrong in ("x", None, -1, 1 << 30):
        with pytest.raises(MapError):
            live.set(0, wrong)


@pytest.mark.parametrize("kind", ["array_of_maps", "hash_of_maps"])
def test_maps_of_maps(kit, kind):
    inner = MapSpec("inner", "hash", key=U32, value=U64, max_entries=8)
    outer = kit.map(kind, key=U32, value_size=4, max_entries=4, inner=inner)
    first = kit.map("hash", key=U32, value=U64, max_entries=8, name="first")
    first[1] = 11
    outer[2] = first
    assert outer.ids() == {2: first.id}
    with outer[2] as found:
        assert found[1] == 11 and found.id == first.id
    wrong = kit.map("array", key=U32, value=U64, max_entries=8)
    with pytest.raises(MapError):
        outer[3] = wrong
    del outer[2]
    assert outer.ids() == {}


def test_maps_of_maps_with_contents(kit):
    inner = MapSpec("one", "array", key=U32, value=U64, max_entries=1)
    outer = MapSpec("outer", "array_of_maps", key=U32, value_size=4, max_entries=2, inner=inner)
    outer.contents.append((b"\1\0\0\0", "one"))
    loaded = kit.load(kit.spec("p", "socket_filter", "r0 = 0\nexit", maps=[inner, outer]))
    assert loaded.maps["outer"].ids() == {1: loaded.maps["one"].id}


def test_a_map_of_maps_needs_an_inner_spec(kit):
    with pytest.raises(LoadError) as caught:
        kit.map("array_of_maps", key=U32, value_size=4, max_entries=4)
    assert caught.value.code == "KRN017"


@pytest.fixture
def connection():
    server = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(server.getsockname())
    peer, _ = server.accept()
    yield client, peer
    for item in (server, client, peer):
        item.close()


def test_sockmap_and_sockhash(kit, connection):
    client, peer = connection
    by_slot = kit.map("sockmap", key=U32, value_size=8, max_entries=4)
    by_slot[0] = client
    cookie = int.from_bytes(client.getsockopt(socket.SOL_SOCKET, 57, 8), "little")  # SO_COOKIE
    assert by_slot[0] == cookie
    by_key = kit.map("sockhash", key=Char(8), value_size=8, max_entries=4)
    by_key["peer"] = peer.fileno()
    assert "peer" in by_key and list(by_key) == ["peer"]
    del by_key["peer"]
    by_slot.delete(0)
    assert by_slot.get(0) is None
    with pytest.raises(MapError):
        by_slot[1] = os.open("/dev/null", os.O_RDONLY)


def test_reuseport_array(kit):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        one.bind(("127.0.0.1", 0))
        m = kit.map("reuseport_sockarray", key=U32, value_size=8, max_entries=4)
        m[1] = one
        assert m.get(0) is None and m[1] > 0


@pytest.mark.parametrize("kind", ["devmap", "devmap_hash"])
def test_device_maps(kit, kind, netns):
    with netns.inside():
        m = kit.map(kind, key=U32, value_size=8, max_entries=4)
        m[1] = "near"
        index = socket.if_nametoindex("far")
        forward = kit.load(kit.spec("f", "xdp", "r0 = 2\nexit", attach="xdp_devmap")).programs["f"]
        m[2] = (index, forward)
        assert m[1] == (socket.if_nametoindex("near"), 0) and m[2] == (index, forward.id)
        with pytest.raises(MapError) as caught:
            m[3] = "nope0"
        assert caught.value.code == "MAP006" and "near" in caught.value.hint
        small = kit.map(kind, key=U32, value_size=4, max_entries=4)
        small[0] = "near"
        assert small[0] == (socket.if_nametoindex("near"), 0)
        with pytest.raises(MapError):
            small[1] = (index, forward)


def test_cpu_map(kit):
    m = kit.map("cpumap", key=U32, value_size=8, max_entries=possible_count())
    m[0] = 64
    assert m[0] == (64, 0)
    on_cpu = kit.load(kit.spec("c", "xdp", "r0 = 2\nexit", attach="xdp_cpumap")).programs["c"]
    m[0] = (128, on_cpu)
    assert m[0] == (128, on_cpu.id)


def test_xsk_map_cannot_be_read(kit):
    m = kit.map("xskmap", key=U32, value_size=4, max_entries=4)
    with pytest.raises(MapError) as caught:
        m[0]
    assert caught.value.code == "MAP004"
    with pytest.raises(MapError), socket.socket() as other:
        m[0] = other


def test_cgroup_array(kit, cgroup):
    m = kit.map("cgroup_array", key=U32, value_size=4, max_entries=2)
    m[0] = cgroup
    code = """
        r1 = map[groups] ll
        r2 = 0
        call current_task_under_cgroup
        exit
    """
    loaded = kit.load(
        kit.spec(
            "under",
            "raw_tracepoint",
            code,
            maps=[MapSpec("groups", "cgroup_array", key=U32, value_size=4, max_entries=2)],
        )
    )
    live = loaded.maps["groups"]
    live[0] = cgroup
    assert loaded.programs["under"].test_run().retval == 0
    child = os.fork()
    if not child:
        with open(f"{cgroup}/cgroup.procs", "w") as file:
            file.write(str(os.getpid()))
        os._exit(loaded.programs["under"].test_run().retval)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
    with pytest.raises(MapError):
        m[1] = "/nonexistent"


def test_socket_storage(kit):
    m = kit.map("sk_storage", key=U32, value=U64)
    with socket.socket() as one, socket.socket() as two:
        m[one] = 5
        assert m[one] == 5 and m.get(two) is None and one in m
        assert m.delete(one) and one not in m
        with pytest.raises(MapError) as caught:
            list(m)
        assert caught.value.code == "MAP004"
        with pytest.raises(MapError):
            m[-1] = 5


def test_file_task_and_cgroup_storage(kit, cgroup, tmp_path):
    files = kit.map("inode_storage", key=U32, value=U64)
    place = tmp_path / "file"
    place.write_text("x")
    with open(place) as one, open(place) as again:
        files[one] = 7
        assert files[again] == 7
    tasks = kit.map("task_storage", key=U32, value=Struct.of("v", [("a", U32), ("b", U64)]))
    handle = os.pidfd_open(os.getpid())
    tasks[handle] = (1, 2)
    assert tasks[handle] == (1, 2) and tasks.of_pid(os.getpid()) == (1, 2) and tasks.of_pid(1) is None
    os.close(handle)
    with pytest.raises(MapError):
        tasks.of_pid(1 << 22)
    groups = kit.map("cgrp_storage", key=U32, value=U64)
    folder = os.open(cgroup, os.O_RDONLY)
    groups[folder] = 3
    os.close(folder)
    assert groups.of_path(cgroup) == 3
    with pytest.raises(MapError):
        groups.of_path("/nonexistent")


def test_old_cgroup_storage(kit):
    m = kit.map("cgroup_storage", key_size=8, value=U64)
    assert list(m) == []
    with pytest.raises(MapError):
        del m[bytes(8)]
    assert list(kit.map("percpu_cgroup_storage", key_size=8, value=U64)) == []


@pytest.mark.parametrize("kind", ["ringbuf", "user_ringbuf", "arena"])
def test_maps_without_entries(kit, kind):
    m = kit.map(kind, max_entries=4096 if kind != "arena" else 4)
    assert type(m) is Map and m.info().kind == kind


def test_sizes_that_specs_leave_open(kit):
    assert kit.map("perf_event_array", key=U32, value_size=4).max_entries == possible_count()
    ring = kit.map("ringbuf")
    assert ring.max_entries == ring.info().max_entries == 1 << 20


@pytest.mark.parametrize(
    "kind, settings, words",
    [
        ("hash", {"key_size": 4, "value_size": 8, "max_entries": 0}, "max_entries must be at least 1"),
        ("hash", {"key_size": 0, "value_size": 8, "max_entries": 1}, "key size"),
        ("array", {"key_size": 8, "value_size": 8, "max_entries": 1}, "key size is 4 bytes, not 8"),
        ("ringbuf", {"max_entries": 5000}, "power of two"),
        ("hash", {"key_size": 4, "value_size": 8, "max_entries": 1, "flags": 1 << 10}, "MMAPABLE"),
        ("percpu_array", {"key_size": 4, "value_size": 40_000, "max_entries": 1}, "32768"),
    ],
)
def test_bad_settings_are_refused_in_words(kit, kind, settings, words):
    with pytest.raises(LoadError) as caught:
        kit.map(kind, **settings)
    assert caught.value.code == "KRN017" and words in str(caught.value)


def test_too_much_memory_is_refused(kit):
    with pytest.raises(LoadError) as caught:
        kit.map("array", key=U32, value_size=1 << 20, max_entries=1 << 30)
    assert caught.value.code in ("KRN005", "KRN017")


def test_kinds_from_the_future_and_unknown_ones(kit):
    with pytest.raises(UsageError) as caught:
        kit.map("hashh", key=U32, value=U32, max_entries=1)
    assert caught.value.code == "ABI005"
    with pytest.raises(LoadError) as caught:
        kit.map("rhash", key=U32, value=U32, max_entries=1)
    assert caught.value.code in ("KRN013",) and "7.2" in caught.value.message


def test_pins(kit, bpffs):
    m = kit.map("hash", key=U32, value=U64, max_entries=4)
    m[1] = 2
    m.pin(f"{bpffs}/counts")
    with open_pinned(f"{bpffs}/counts", key=U32, value=U64) as again:
        assert again[1] == 2 and again.name == "counts"
    with open_pinned(f"{bpffs}/counts", key=U32, value=U64, read_only=True) as again, pytest.raises(MapError) as caught:
        again[1] = 3
    assert caught.value.code == "MAP005"
    with pytest.raises(LoadError) as caught:
        m.pin(f"{bpffs}/counts")
    assert caught.value.code == "KRN024"
    m.unpin(f"{bpffs}/counts")
    for path in (f"{bpffs}/counts", f"{bpffs}/none", "/tmp"):
        with pytest.raises(LoadError) as caught:
            open_pinned(path)
        assert caught.value.code == "KRN025"
    for path in ("/tmp/osmia-no-pin", f"{bpffs}/no/folder"):
        with pytest.raises(LoadError) as caught:
            m.pin(path)
        assert caught.value.code == "KRN025"
    with pytest.raises(LoadError):
        m.unpin("/etc/hostname")
    assert os.path.exists("/etc/hostname")


def test_a_pinned_map_is_used_again_and_must_be_the_same(kit, bpffs):
    path = f"{bpffs}/shared"
    first = kit.map("hash", key=U32, value=U64, max_entries=4, pin=path)
    first[7] = 70
    first.close()
    again = kit.map("hash", key=U32, value=U64, max_entries=4, pin=path)
    assert again[7] == 70
    with pytest.raises(LoadError) as caught:
        kit.map("hash", key=U32, value=U32, max_entries=4, pin=path)
    assert caught.value.code == "KRN024" and "value size" in caught.value.message


def test_a_temporary_pin_goes_with_its_map(kit, bpffs, journal_dir):
    m = kit.map("hash", key=U32, value=U64, max_entries=4)
    m.pin(f"{bpffs}/brief", temporary=True)
    assert os.listdir(journal_dir) and os.path.exists(f"{bpffs}/brief")
    m.close()
    assert not os.listdir(journal_dir) and not os.path.exists(f"{bpffs}/brief")


def test_map_by_id(kit):
    m = kit.map("hash", key=U32, value=U64, max_entries=4)
    with map_from_id(m.id, key=U32, value=U64) as again:
        again[1] = 1
    assert m[1] == 1
    with pytest.raises(LoadError) as caught:
        map_from_id((1 << 31) - 1)
    assert caught.value.code == "KRN030"


def test_contents_and_their_sizes(kit):
    m = kit.map("hash", key=U32, value=U32, max_entries=4, contents=[(b"\1\0\0\0", b"\2\0\0\0")])
    assert dict(m.items()) == {1: 2}
    p = kit.map("percpu_array", key=U32, value=U32, max_entries=1, contents=[(bytes(4), b"\5\0\0\0")])
    assert p[0] == [5] * possible_count()
    with pytest.raises(LoadError) as caught:
        kit.map("hash", key=U32, value=U32, max_entries=4, contents=[(b"\1", b"\2\0\0\0")])
    assert caught.value.code == "KRN017"
