"""Maps: results of operations, what programs see, and what tests see."""

from __future__ import annotations

import errno
import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ir_build import body, build, fault

from osmia.compiler.evaluate import Evaluator
from osmia.compiler.ir import Module
from osmia.diagnostics import UsageError
from osmia.object.layout import U32, U64, Bytes, Struct
from osmia.object.spec import MapSpec

OPERATE = """
map @m: {kind} {{{spec}}}
function program @lookup(%key: ptr<mem, bytes>) -> u64 {{
^entry: %v: ptr<map, u64>? = map.lookup %key; map=@m
  %p: ptr<map, u64> = br.nonnull %v; then=^there, other=^missing
^there: %r: u64 = load %p
  ret %r
^missing: %no: u64 = const; value=-1
  ret %no
}}
function program @update(%key: ptr<mem, bytes>, %value: ptr<mem, bytes>, %flags: u64) -> s64 {{
^entry: %m: map = map.ref; map=@m
  %r: s64 = helper %m, %key, %value, %flags; name="bpf_map_update_elem"
  ret %r
}}
function program @set(%key: ptr<mem, bytes>, %value: ptr<mem, bytes>) -> s64 {{
^entry: %r: s64 = map.update %key, %value; map=@m, flags=1
  ret %r
}}
function program @delete(%key: ptr<mem, bytes>) -> s64 {{
^entry: %r: s64 = map.delete %key; map=@m
  ret %r
}}
function program @other(%key: ptr<mem, bytes>, %cpu: u32) -> u64 {{
^entry: %m: map = map.ref; map=@m
  %v: ptr<map, u64>? = helper %m, %key, %cpu; name="map_lookup_percpu_elem"
  %p: ptr<map, u64> = br.nonnull %v; then=^there, other=^missing
^there: %r: u64 = load %p
  ret %r
^missing: %no: u64 = const; value=-1
  ret %no
}}
function program @push(%value: ptr<mem, bytes>, %flags: u64) -> s64 {{
^entry: %m: map = map.ref; map=@m
  %r: s64 = helper %m, %value, %flags; name="map_push_elem"
  ret %r
}}
function program @pop(%value: ptr<mem, bytes>) -> s64 {{
^entry: %m: map = map.ref; map=@m
  %r: s64 = helper %m, %value; name="map_pop_elem"
  ret %r
}}
function program @peek(%value: ptr<mem, bytes>) -> s64 {{
^entry: %m: map = map.ref; map=@m
  %r: s64 = helper %m, %value; name="map_peek_elem"
  ret %r
}}
"""
NOTHING = 2**64 - 1


class Driver:
    """Runs one map operation at a time as a program."""

    def __init__(self, kind, spec="key=u32, value=u64, max_entries=3", **options):
        self.evaluator = build(OPERATE.format(kind=kind, spec=spec), **options)
        self.map = self.evaluator.maps["m"]

    def run(self, name, *args, **options):
        return self.evaluator.call(name, *args, **options)

    def lookup(self, key, **options):
        return self.run("lookup", u32(key), **options)

    def update(self, key, value, flags=0, **options):
        return self.run("update", u32(key), u64(value), flags, **options)

    def delete(self, key):
        return self.run("delete", u32(key))


def u32(value):
    return struct.pack("=I", value)


def u64(value):
    return struct.pack("=Q", value)


@pytest.mark.parametrize("kind", ["hash", "lru_hash", "percpu_hash", "lru_percpu_hash"])
def test_hash_tables(kind):
    m = Driver(kind)
    assert m.lookup(1) == NOTHING
    assert m.update(1, 10) == 0 and m.lookup(1) == 10
    assert m.update(1, 11, 1) == -errno.EEXIST
    assert m.run("set", u32(1), u64(11)) == -errno.EEXIST
    assert m.update(2, 20, 2) == -errno.ENOENT
    assert m.update(1, 12, 2) == 0 and m.lookup(1) == 12
    assert m.update(1, 13, 3) == m.update(1, 13, 8) == -errno.EINVAL
    assert m.update(1, 13, 4) == (0 if kind == "hash" else -errno.EINVAL)
    assert m.delete(1) == 0 and m.delete(1) == -errno.ENOENT and m.lookup(1) == NOTHING
    for key in (5, 6, 7):
        assert m.update(key, key) == 0
    assert m.update(8, 8) == (0 if kind.startswith("lru") else -errno.E2BIG)
    assert len(m.map) == 3
    assert m.update(7, 77) == 0


def test_least_recently_used_goes_first():
    m = Driver("lru_hash")
    for key in (1, 2, 3):
        m.update(key, key)
    m.lookup(1)
    m.update(4, 4)
    assert sorted(m.map.keys()) == [1, 3, 4]
    m.update(3, 33)
    m.update(5, 5)
    assert sorted(m.map.keys()) == [3, 4, 5]


@pytest.mark.parametrize("kind", ["array", "percpu_array"])
def test_arrays(kind):
    m = Driver(kind)
    assert [m.lookup(index) for index in range(4)] == [0, 0, 0, NOTHING]
    assert m.update(2, 5) == 0 and m.lookup(2) == 5
    assert m.update(3, 5) == -errno.E2BIG
    assert m.update(2, 5, 1) == -errno.EEXIST and m.update(2, 6, 2) == 0
    assert m.update(2, 5, 3) == -errno.EINVAL
    assert m.update(2, 5, 4) == (0 if kind == "array" else -errno.EINVAL)
    assert m.delete(2) == -errno.EINVAL


@pytest.mark.parametrize("kind", ["percpu_hash", "percpu_array", "lru_percpu_hash"])
def test_every_cpu_has_its_value(kind):
    m = Driver(kind, cpus=3)
    m.update(1, 10, cpu=0)
    m.update(1, 30, cpu=2)
    assert [m.lookup(1, cpu=cpu) for cpu in range(3)] == [10, 0, 30]
    assert m.map[1] == [10, 0, 30]
    assert [m.run("other", u32(1), cpu) for cpu in range(4)] == [10, 0, 30, NOTHING]
    m.map[1] = [1, 2, 3]
    assert [m.lookup(1, cpu=cpu) for cpu in range(3)] == [1, 2, 3]
    m.map[2] = 9
    assert m.map[2] == [9, 9, 9]
    with pytest.raises(UsageError, match="IR357"):
        m.map[1] = [1, 2]
    assert m.run("other", u32(77), 0) == NOTHING


def test_other_cpus_need_a_per_cpu_map():
    fault("IR349", Driver("hash").evaluator, b"", u32(1), 0, function="other")


def test_old_pointers_see_the_old_value():
    text = """
    %k: ptr<stack, u32> = local.addr; local=$k
    %v: ptr<stack, u64> = local.addr; local=$v
    store %v, %a
    %r0: s64 = map.update %k, %v; map=@m
    %x: ptr<map, u64>? = map.lookup %k; map=@m
    %p: ptr<map, u64> = br.nonnull %x; then=^there, other=^missing
    ^there: store %v, %b
      %r1: s64 = map.update %k, %v; map=@m
      %r: u64 = load %p
      ret %r
    ^missing: unreachable
    """
    for kind, seen in (("hash", 1), ("array", 2), ("percpu_hash", 2)):
        before = f"map @m: {kind} {{key=u32, value=u64, max_entries=3}}"
        evaluator = body(text, "%a: u64, %b: u64", head="local $k: u32\nlocal $v: u64", before=before)
        assert evaluator.call("f", 1, 2) == seen


def prefix(length, *data):
    return struct.pack("=I", length) + bytes(data)


def test_longest_prefixes():
    m = Driver("lpm_trie", "key_size=8, value=u64, max_entries=3, flags=1")

    def lookup(*data):
        return m.run("lookup", prefix(32, *data))

    def update(length, *data, value=1, flags=0):
        return m.run("update", prefix(length, *data), u64(value), flags)

    assert update(8, 10, 0, 0, 0, value=8) == 0
    assert update(16, 10, 1, 0, 0, value=16) == 0
    assert lookup(10, 2, 3, 4) == 8 and lookup(10, 1, 3, 4) == 16 and lookup(11, 1, 3, 4) == NOTHING
    assert update(0, 1, 2, 3, 4, value=99) == 0 and lookup(200, 0, 0, 0) == 99
    assert update(24, 10, 1, 1, 0) == -errno.ENOSPC
    assert update(16, 10, 1, 77, 0, value=17) == 0 and lookup(10, 1, 3, 4) == 17
    assert update(33, 1, 2, 3, 4) == -errno.EINVAL and update(8, 10, 0, 0, 0, flags=3) == -errno.EINVAL
    assert update(8, 10, 0, 0, 0, flags=1) == -errno.EEXIST and update(9, 10, 0, 0, 0, flags=2) == -errno.ENOENT
    assert m.run("delete", prefix(8, 10, 9, 9, 9)) == 0 and lookup(10, 2, 3, 4) == 99
    assert m.run("delete", prefix(9, 10, 9, 9, 9)) == -errno.ENOENT
    assert m.run("delete", prefix(40, 10, 9, 9, 9)) == -errno.EINVAL
    assert len(m.map) == 2 and m.map.get(prefix(16, 10, 1, 2, 3)) == 17
    assert m.map.get(prefix(17, 200, 1, 2, 3)) is not None


@pytest.mark.parametrize(("kind", "order"), [("queue", [1, 2, 3]), ("stack", [3, 2, 1])])
def test_queues_and_stacks(kind, order):
    m = Driver(kind, "value=u64, max_entries=3")
    for value in (1, 2, 3):
        assert m.run("push", u64(value), 0) == 0
    assert m.run("push", u64(4), 0) == -errno.E2BIG
    assert m.run("push", u64(4), 1) == m.run("push", u64(4), 4) == -errno.EINVAL
    assert m.map.values() == [1, 2, 3]
    assert m.run("peek", bytes(8)) == 0 and len(m.map) == 3
    taken = []
    for _ in range(3):
        target = m.evaluator.kernel.map(8)
        found = m.evaluator.kernel.find(target)
        assert m.run("pop", found) == 0
        taken.append(struct.unpack("=Q", m.evaluator.kernel.read(target, 8))[0])
    assert taken == order
    assert m.run("pop", b"x" * 8) == m.run("peek", b"x" * 8) == -errno.ENOENT
    for value in (1, 2, 3, 4):
        assert m.run("push", u64(value), 2) == 0
    assert m.map.values() == [2, 3, 4]
    with pytest.raises(UsageError, match="IR357"):
        m.map.put(5)
    with pytest.raises(UsageError, match="IR357"):
        m.map[1]
    fault("IR354", m.evaluator, b"", u32(1), function="lookup")


def test_bloom_filters():
    m = Driver("bloom_filter", "value=u64, max_entries=3")
    assert m.run("push", u64(7), 0) == 0 and m.run("push", u64(7), 2) == -errno.EINVAL
    assert m.run("peek", u64(7)) == 0 and m.run("peek", u64(8)) == -errno.ENOENT
    m.map.put(9)
    assert m.run("peek", u64(9)) == 0 and m.map.values() == [7, 9]


NESTED = """
map @outer: {kind} {{key=u32, value_size=4, max_entries=2, inner=map @shape: hash {{key=u32, value=u64}}}}
map @a: hash {{key=u32, value=u64, max_entries=4}}
map @b: array {{key=u32, value=u64, max_entries=4}}
function static @f(%o: ptr<mem, u32>, %k: ptr<mem, u32>, %v: ptr<mem, u64>) -> s64 {{
^entry: %x: ptr<map, bytes>? = map.lookup %o; map=@outer
  %m: ptr<map, bytes> = br.nonnull %x; then=^there, other=^missing
^there: %z: u64 = const; value=0
  %r: s64 = helper %m, %k, %v, %z; name="map_update_elem"
  ret %r
^missing: %n: s64 = const; value=-1
  ret %n
}}
"""


@pytest.mark.parametrize("kind", ["hash_of_maps", "array_of_maps"])
def test_maps_of_maps(kind):
    evaluator = build(NESTED.format(kind=kind))
    assert evaluator.call("f", u32(0), u32(5), u64(6)) == -1
    evaluator.maps["outer"][0] = "a"
    assert evaluator.call("f", u32(0), u32(5), u64(6)) == 0
    assert evaluator.maps["a"].items() == [(5, 6)]
    further = evaluator.new_map(MapSpec("further", "hash", key=U32, value=U64, max_entries=1))
    evaluator.maps["outer"][1] = further
    assert evaluator.call("f", u32(1), u32(5), u64(6)) == 0
    assert evaluator.call("f", u32(1), u32(6), u64(6)) == -errno.E2BIG
    assert evaluator.maps["outer"][1] is further
    del evaluator.maps["outer"][1]
    assert evaluator.call("f", u32(1), u32(5), u64(6)) == -1
    for value, index in (("b", 0), ("nowhere", 0), (5, 0)):
        with pytest.raises(UsageError, match="IR357"):
            evaluator.maps["outer"][index] = value
    if kind == "array_of_maps":
        with pytest.raises(UsageError, match="E2BIG"):
            evaluator.maps["outer"][2] = "a"
    text = NESTED.format(kind=kind).replace("helper %m, %k, %v, %z", "helper %x, %k, %v, %z")
    text = text.replace("br.nonnull %x; then=^there, other=^missing", "br.nonnull %x; then=^missing, other=^there")
    fault("IR342", build(text), b"", u32(0), u32(5), u64(6))
    load = "%z: u64 = const; value=0\n  %bad: ptr<map, u64> = cast.ptr %m\n  %w: u64 = load %bad\n"
    text = NESTED.format(kind=kind).replace("%z: u64 = const; value=0", load)
    evaluator = build(text)
    evaluator.maps["outer"][0] = "a"
    fault("IR343", evaluator, b"", u32(0), u32(5), u64(6))


def test_storage():
    text = """
    map @s: task_storage {key=s32, value=u64}
    function static @f(%task: ptr<btf, bytes>?, %flags: u64) -> u64 {
    ^entry: %m: map = map.ref; map=@s
      %null: ptr<stack, u64>? = null
      %x: ptr<map, u64>? = helper %m, %task, %null, %flags; name="bpf_task_storage_get"
      %p: ptr<map, u64> = br.nonnull %x; then=^there, other=^missing
    ^there: %one: u64 = const; value=1
      %old: u64 = atomic.add %p, %one; fetch=true
      ret %old
    ^missing: %n: u64 = const; value=-1
      ret %n
    }
    function static @drop(%task: ptr<btf, bytes>?) -> s64 {
    ^entry: %m: map = map.ref; map=@s
      %r: s64 = helper %m, %task; name="task_storage_delete"
      ret %r
    }
    """
    evaluator = build(text)
    calls = [evaluator.call("f", 0x1000, 0), *(evaluator.call("f", 0x1000, 1) for _ in range(2))]
    assert calls == [NOTHING, 0, 1]
    assert evaluator.call("f", 0x2000, 1) == 0 and evaluator.call("f", None, 1) == NOTHING
    assert evaluator.call("f", 0x2000, 2) == NOTHING
    assert evaluator.maps["s"].items() == [(0x1000, 2), (0x2000, 1)]
    evaluator.maps["s"][0x3000] = 40
    assert evaluator.call("f", 0x3000, 0) == 40
    assert evaluator.call("drop", 0x1000) == 0 and evaluator.call("drop", 0x1000) == -errno.ENOENT
    assert evaluator.call("drop", None) == -errno.EINVAL


@pytest.mark.parametrize("kind", ["prog_array", "ringbuf", "stack_trace", "sockhash", "perf_event_array"])
def test_kinds_without_lookups(kind):
    fault("IR354", Driver(kind, "key=u32, value=u32, max_entries=4096").evaluator, b"", u32(0), function="lookup")


def test_maps_for_one_way_only():
    m = Driver("hash", "key=u32, value=u64, max_entries=3, flags=128")
    fault("IR344", m.evaluator, b"", u32(1), u64(1), 0, function="update")
    m.map[1] = 5
    assert m.lookup(1) == 5
    m = Driver("hash", "key=u32, value=u64, max_entries=3, flags=256")
    fault("IR354", m.evaluator, b"", u32(1), function="lookup")


def test_contents_and_python_values():
    spec = 'key=struct Key, value=char[8], max_entries=3, contents=[(x"0100000002000000", x"6869000000000000")]'
    text = f"struct Key size 8 align 4 {{\n 0 a: u32\n 4 b: u32\n}}\nmap @m: hash {{{spec}}}\n"
    m = build(text).maps["m"]
    assert dict(m.items()) == {(1, 2): "hi"}
    m[3, 4] = "you"
    m[{"a": 5, "b": 6}] = b"raw\0\0\0\0\0"
    assert m[5, 6] == "raw" and m.get((9, 9)) is None and m.get((9, 9), 1) == 1
    assert (
        (1, 2) in m and (7, 7) not in m and list(m) == [(1, 2), (3, 4), (5, 6)] and m.values() == ["hi", "you", "raw"]
    )
    del m[1, 2]
    for bad in (lambda: m[1, 2], lambda: m.__delitem__((1, 2))):
        with pytest.raises(KeyError):
            bad()
    m[7, 7] = ""
    for wrong in (
        lambda: m.__setitem__((8, 8), ""),
        lambda: m.__setitem__((7, 7), "far too long"),
        lambda: m.get("text"),
        lambda: m.get(b"short"),
    ):
        with pytest.raises(UsageError, match="IR357"):
            wrong()


def test_maps_without_layouts_are_bytes():
    module = Module("m")
    module.maps["m"] = MapSpec("m", "hash", key_size=2, value_size=4, max_entries=2)
    module.maps["a"] = MapSpec("a", "array", key_size=4, value_size=2, max_entries=2)
    evaluator = Evaluator(module)
    evaluator.maps["m"][b"ab"] = 0x01020304
    assert evaluator.maps["m"].items() == [(b"ab", b"\4\3\2\1")]
    evaluator.maps["a"][1] = b"xy"
    assert evaluator.maps["a"].items() == [(0, b"\0\0"), (1, b"xy")]
    with pytest.raises(UsageError, match="IR357"):
        evaluator.maps["m"]["text"]


def test_unknown_kinds_and_contents_that_do_not_fit():
    for spec in (
        MapSpec("m", "hsh", key=U32, value=U32, max_entries=1),
        MapSpec("m", "hash", key=U32, value=U32, max_entries=1, contents=[(bytes(4), bytes(4)), (b"abcd", bytes(4))]),
        MapSpec("m", "array_of_maps", key=U32, value_size=4, max_entries=1, contents=[(bytes(4), "nowhere")]),
        MapSpec("m", "prog_array", key=U32, value_size=4, max_entries=1, contents=[(b"\7\0\0\0", "f")]),
    ):
        module = Module("m")
        module.maps["m"] = spec
        with pytest.raises(UsageError, match="IR357"):
            Evaluator(module)


# The same operations on the kernel's maps

OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["update", "update", "lookup", "delete"]),
        st.integers(0, 5),
        st.integers(0, 2**64 - 1),
        st.sampled_from([0, 0, 0, 1, 2, 3, 4, 8]),
    ),
    max_size=25,
)
KERNEL = {
    "hash": {"key": U32, "value": U64, "max_entries": 4},
    "array": {"key": U32, "value": U64, "max_entries": 4},
    "lpm_trie": {"key": Struct.of("K", [("n", U32), ("d", Bytes(2))]), "value": U64, "max_entries": 4, "flags": 1},
}


def kernel_key(kind, number):
    if kind == "lpm_trie":
        return struct.pack("=I", (0, 3, 8, 9, 16, 17)[number]) + bytes([0xA5, number % 2 * 0x80]) + b"\0\0"
    return u32(number)


@pytest.mark.kernel
@pytest.mark.parametrize("kind", sorted(KERNEL))
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(operations=OPERATIONS)
def test_the_kernel_answers_the_same(kind, operations):
    from osmia.kernel.create import create_map
    from osmia.kernel.syscall import MapCalls

    spec = MapSpec("osmia_eval", kind, **KERNEL[kind])
    module = Module("m")
    module.maps["m"] = spec
    ours = Evaluator(module).maps["m"]
    with create_map(spec) as theirs:
        calls = MapCalls(theirs.fileno(), spec.key_size, spec.value_size)
        for what, number, value, flags in operations:
            key = kernel_key(kind, number)[: spec.key_size]
            calls.key[:] = key
            calls.value[:] = u64(value)
            if what == "update":
                if flags == 4:
                    continue  # user space needs a lock in the value for BPF_F_LOCK, programs do not
                assert ours.update(key, u64(value), flags) == calls.update(flags)
            elif what == "delete":
                assert ours.delete(key) == calls.delete()
            else:
                found = ours.lookup(key)
                result = calls.lookup()
                assert (found is None) == (result < 0)
                if found is not None:
                    assert bytes(found.region.data) == bytes(calls.value)


@pytest.mark.kernel
@pytest.mark.parametrize("kind", ["queue", "stack"])
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(operations=OPERATIONS)
def test_the_kernel_queues_the_same(kind, operations):
    from osmia.kernel.create import create_map
    from osmia.kernel.syscall import MapCalls

    spec = MapSpec("osmia_eval", kind, value=U64, max_entries=3)
    module = Module("m")
    module.maps["m"] = spec
    ours = Evaluator(module).maps["m"]
    with create_map(spec) as theirs:
        calls = MapCalls(theirs.fileno(), 0, 8)
        for what, _, value, flags in operations:
            calls.value[:] = u64(value)
            if what == "update":
                if flags == 4:
                    continue
                assert ours.push(u64(value), flags) == calls.update(flags)
            else:
                found = ours.pop(what == "delete")
                result = calls.lookup_and_delete() if what == "delete" else calls.lookup()
                assert result == (0 if found is not None else -errno.ENOENT)
                if found is not None:
                    assert found == bytes(calls.value)
