"""Maps that are read like a dict."""

import ipaddress
import os
import threading

import numpy
import pytest

from osmia.diagnostics import MapError
from osmia.kernel.cpu import possible_count
from osmia.kernel.maps.base import MissingKey, map_from_fd
from osmia.object.layout import S32, U8, U16, U32, U64, Array, Bytes, Char, Enum, Struct

pytestmark = pytest.mark.kernel
PAIR = Struct.of("pair", [("a", U32), ("b", U64)])


@pytest.mark.parametrize("kind", ["hash", "lru_hash"])
def test_a_hash_is_a_dict(kit, kind):
    m = kit.map(kind, key=U32, value=U64, max_entries=64)
    m[1] = 10
    m[2] = 20
    assert m[1] == 10 and m.get(3) is None and m.get(3, 7) == 7
    assert 2 in m and 3 not in m and len(m) == 2
    assert dict(m.items()) == {1: 10, 2: 20} and sorted(m) == [1, 2] and sorted(m.values()) == [10, 20]
    assert m.pop(1) == 10 and m.pop(1, None) is None
    assert m.delete(2) and not m.delete(2)
    assert len(m) == 0 and bool(m)


def test_a_missing_key_is_a_key_error_and_a_map_error(kit):
    m = kit.map("hash", key=U32, value=U64, max_entries=4, name="started")
    for action in (lambda: m[5], lambda: m.pop(5), lambda: m.replace(5, 1), lambda: m.__delitem__(5)):
        with pytest.raises(KeyError) as caught:
            action()
        assert isinstance(caught.value, MissingKey) and isinstance(caught.value, MapError)
        assert caught.value.code == "MAP002" and caught.value.errno == 2
        assert "'started'" in caught.value.message and "5" in caught.value.message


def test_insert_replace_setdefault(kit):
    m = kit.map("hash", key=U32, value=U64, max_entries=4)
    m.insert(1, 5)
    with pytest.raises(MapError) as caught:
        m.insert(1, 6)
    assert caught.value.code == "MAP003" and m[1] == 5
    m.replace(1, 7)
    assert m[1] == 7 and m.setdefault(1, 9) == 7 and m.setdefault(2, 9) == 9


def test_a_full_map_says_its_capacity(kit):
    m = kit.map("hash", key=U32, value=U64, max_entries=3, name="counts")
    m.update({1: 1, 2: 2, 3: 3})
    for action in (lambda: m.__setitem__(4, 4), lambda: m.update({5: 5, 6: 6})):
        with pytest.raises(MapError) as caught:
            action()
        assert caught.value.code == "MAP001" and "'counts' is full" in caught.value.message
        assert "3 entries" in caught.value.message and "max_entries" in caught.value.hint
    m[1] = 100  # replacing is still possible
    assert m[1] == 100


def test_lru_makes_room(kit):
    m = kit.map("lru_hash", key=U32, value=U64, max_entries=64)
    for key in range(1000):
        m[key] = key
    assert 0 < len(m) <= 64 + 4 * os.cpu_count() * 2


@pytest.mark.parametrize("key", [-1, 1 << 32, "bash", None, (1, 2), 1.5, b"abc"])
def test_keys_that_do_not_fit_are_refused(kit, key):
    m = kit.map("hash", key=U32, value=U64, max_entries=4)
    for action in (lambda: m[key], lambda: m.__setitem__(key, 1), lambda: key in m, lambda: m.get(key)):
        with pytest.raises(MapError) as caught:
            action()
        assert caught.value.code == "MAP006" and "u32" in caught.value.hint


@pytest.mark.parametrize("value", [-1, 1 << 64, "x", None, [1]])
def test_values_that_do_not_fit_are_refused(kit, value):
    m = kit.map("hash", key=U32, value=U64, max_entries=4)
    with pytest.raises(MapError) as caught:
        m[1] = value
    assert caught.value.code == "MAP006" and len(m) == 0


def test_structs_texts_arrays_and_enums(kit):
    seen = []
    layout = Struct("pair", PAIR.fields, PAIR.size, PAIR.align, lambda a, b: seen.append((a, b)) or {"a": a, "b": b})
    m = kit.map("hash", key=Char(16), value=layout, max_entries=8)
    m["bash"] = {"a": 1, "b": 2}
    m["zsh"] = (3, 4)
    assert m["bash"] == {"a": 1, "b": 2} and dict(m.items())["zsh"] == {"a": 3, "b": 4}
    color = Enum("color", U32, [("RED", 1), ("BLUE", 2)])
    n = kit.map("hash", key=color, value=Array(U16, 4), max_entries=8)
    n["RED"] = [1, 2, 3, 4]
    assert n[1] == [1, 2, 3, 4] and list(n.items()) == [(1, [1, 2, 3, 4])]
    with pytest.raises(MapError):
        n["GREEN"] = [0] * 4


def test_bytes_of_the_right_size_are_taken_as_they_are(kit):
    m = kit.map("hash", key=U32, value=PAIR, max_entries=8)
    m[b"\1\0\0\0"] = bytes([7]) + bytes(PAIR.size - 1)
    assert m[1] == (7, 0)


def test_maps_without_layouts_use_bytes(kit):
    m = kit.map("hash", key_size=4, value_size=2, max_entries=8)
    m[b"abcd"] = b"xy"
    assert dict(m.items()) == {b"abcd": b"xy"}


@pytest.mark.parametrize("batches", [True, False])
@pytest.mark.parametrize("kind", ["hash", "percpu_hash", "array", "percpu_array", "lru_hash"])
def test_iteration_sees_every_entry_once(kit, kind, batches):
    count = 3000
    m = kit.map(kind, key=U32, value=U64, max_entries=count)
    per_cpu = "percpu" in kind
    m._has_batches = batches
    m.update({key: [key] * possible_count() if per_cpu else key for key in range(count)})
    found = list(m.items())
    least = count if kind != "lru_hash" else count // 2
    assert len(found) >= least and len({key for key, _ in found}) == len(found)
    assert all((value[0] if per_cpu else value) == key for key, value in found)


@pytest.mark.parametrize("batches", [True, False])
def test_iteration_survives_deletion_of_everything(kit, batches):
    m = kit.map("hash", key=U32, value=U64, max_entries=2000)
    m._has_batches = batches
    m.update({key: key for key in range(1000)})
    seen = []
    for key in m:
        seen.append(key)
        m.delete(key)
        m.delete((key + 1) % 1000)
    assert len(seen) == len(set(seen)) and len(m) == 0 and len(seen) >= 500


def test_iteration_survives_another_thread(kit):
    m = kit.map("hash", key=U32, value=U64, max_entries=4000)
    m._has_batches = False
    stable = set(range(0, 2000, 2))
    m.update({key: key for key in stable})
    stop = threading.Event()

    def churn():
        key = 1
        while not stop.is_set():
            m[key] = 1
            m.delete(key)
            key = (key + 2) % 2000

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        keys = list(m)
    finally:
        stop.set()
        thread.join()
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize("batches", [True, False])
def test_clear_and_drain(kit, batches):
    m = kit.map("hash", key=U32, value=U64, max_entries=500)
    m._has_batches = batches
    m.update({key: key for key in range(500)})
    assert dict(m.drain()) == {key: key for key in range(500)} and len(m) == 0
    m.update({key: key for key in range(100)})
    m.clear()
    assert len(m) == 0 and list(m) == []


def test_big_batches_and_crowded_buckets(kit):
    m = kit.map("hash", key=U64, value=Bytes(512), max_entries=20_000)
    m.update((key, bytes(512)) for key in range(20_000))
    assert len(m) == 20_000 and len(set(m)) == 20_000


def test_to_numpy(kit):
    m = kit.map("hash", key=U32, value=PAIR, max_entries=100)
    m.update({key: (key, key * 2) for key in range(50)})
    keys, values = m.to_numpy()
    assert keys.dtype == numpy.uint32 and sorted(keys) == list(range(50))
    assert (values["b"] == keys.astype(numpy.uint64) * 2).all()
    keys, _ = m.to_numpy(remove=True)
    assert len(keys) == 50 and len(m) == 0
    keys, values = m.to_numpy()
    assert len(keys) == 0 and len(values) == 0


def test_to_numpy_of_per_cpu_and_array_values(kit):
    cpus = possible_count()
    m = kit.map("percpu_hash", key=U32, value=U32, max_entries=10)
    m[1] = list(range(cpus))
    _, values = m.to_numpy()
    assert (
        values.shape == (1, cpus) and list(values[0]) == list(range(cpus)) and values.sum(axis=1)[0] == sum(range(cpus))
    )
    n = kit.map("percpu_array", key=U32, value=Array(U16, 3), max_entries=2)
    n.fill(1, [1, 2, 3])
    _, values = n.to_numpy()
    assert values.shape == (2, cpus, 3) and (values[1] == [1, 2, 3]).all() and not values[0].any()


@pytest.mark.parametrize("kind", ["percpu_hash", "percpu_array", "lru_percpu_hash"])
def test_per_cpu_values_as_list_and_sum(kit, kind):
    cpus = possible_count()
    m = kit.map(kind, key=U32, value=U64, max_entries=4)
    m[1] = [5] * cpus
    assert m[1] == m.per_cpu(1) == [5] * cpus and m.total(1) == 5 * cpus
    assert dict(m.totals())[1] == 5 * cpus
    m.fill(2, 1)
    assert m.total(2) == cpus
    for wrong in (5, [1] * (cpus + 1), "x"):
        with pytest.raises(MapError) as caught:
            m[1] = wrong
        assert caught.value.code == "MAP006"


def test_per_cpu_sums_of_structs_and_odd_sizes(kit):
    cpus = possible_count()
    layout = Struct.of("s", [("n", U32), ("low", S32), ("parts", Array(U16, 2)), ("name", Char(5))])
    m = kit.map("percpu_hash", key=U32, value=layout, max_entries=4)
    m[1] = [(cpu + 1, -1, [cpu, 1], "x" if cpu else "") for cpu in range(cpus)]
    total = m.total(1)
    assert total[0] == sum(range(1, cpus + 1)) and total[1] == -cpus and total[2] == [sum(range(cpus)), cpus]
    assert total[3] == ("x" if cpus > 1 else "")
    n = kit.map("percpu_array", key=U32, value=U8, max_entries=1)
    n.fill(0, 200)
    assert n[0] == [200] * cpus and n.total(0) == 200 * cpus
    with pytest.raises(MissingKey):
        m.total(9)


def test_arrays(kit):
    m = kit.map("array", key=U32, value=U64, max_entries=5, name="slots")
    assert len(m) == 5 and list(m.values()) == [0] * 5
    m[4] = 9
    assert m[4] == 9
    for action in (lambda: m[5], lambda: m.__setitem__(5, 1), lambda: m[-1]):
        with pytest.raises(MapError) as caught:
            action()
        assert caught.value.code == "MAP002" and "4" in caught.value.message
    for action in (lambda: m.__delitem__(1), lambda: m.pop(1), lambda: m.delete(1), lambda: next(m.drain())):
        with pytest.raises(MapError) as caught:
            action()
        assert caught.value.code == "MAP004" and caught.value.hint
    m.clear()
    assert m[4] == 0


def test_lpm_trie(kit):
    v4 = kit.map("lpm_trie", key_size=8, value=U32, max_entries=100)
    v4["10.0.0.0/8"] = 8
    v4["10.1.0.0/16"] = 16
    v4[ipaddress.ip_network("0.0.0.0/0")] = 0
    assert v4["10.1.2.3"] == 16 and v4["10.2.0.1"] == 8 and v4[ipaddress.ip_address("1.1.1.1")] == 0
    assert v4[(24, bytes([10, 1, 9]))] == 16
    assert dict(v4.networks()) == {
        ipaddress.ip_network("10.0.0.0/8"): 8,
        ipaddress.ip_network("10.1.0.0/16"): 16,
        ipaddress.ip_network("0.0.0.0/0"): 0,
    }
    del v4["10.1.0.0/16"]
    assert v4["10.1.2.3"] == 8 and len(v4) == 2
    v4.update({"10.3.0.0/16": 3, "10.4.0.0/16": 4})
    assert v4["10.4.5.6"] == 4
    v6 = kit.map("lpm_trie", key_size=20, value=U32, max_entries=4)
    v6["2001:db8::/32"] = 1
    assert v6["2001:db8::5"] == 1 and "2001:db9::" not in v6
    for wrong in ("10.0.0.0/8", "nonsense", (200, b"x")):
        with pytest.raises(MapError) as caught:
            v6[wrong] = 1
        assert caught.value.code == "MAP006"
    v4.clear()
    assert len(v4) == 0


def test_a_full_trie_says_so(kit):
    m = kit.map("lpm_trie", key_size=8, value=U32, max_entries=2)
    m.update({"10.0.0.0/8": 1, "11.0.0.0/8": 1})
    with pytest.raises(MapError) as caught:
        m["12.0.0.0/8"] = 1
    assert caught.value.code == "MAP001"


def test_closed_maps(kit):
    m = kit.map("hash", key=U32, value=U64, max_entries=4)
    m.close()
    m.close()
    for action in (lambda: m[1], lambda: m.__setitem__(1, 1), lambda: list(m), lambda: len(m), m.info, m.clear):
        with pytest.raises(MapError) as caught:
            action()
        assert caught.value.code == "MAP009"


def test_frozen_maps(kit):
    m = kit.map("hash", key=U32, value=U64, max_entries=4)
    m[1] = 1
    m.freeze()
    with pytest.raises(MapError) as caught:
        m[1] = 2
    assert caught.value.code == "MAP005" and m[1] == 1


def test_read_only_for_user_space(kit):
    m = kit.map("hash", key=U32, value=U64, max_entries=4, flags=1 << 3)
    with pytest.raises(MapError) as caught:
        m[1] = 2
    assert caught.value.code == "MAP005"


def test_info_and_opening_by_descriptor(kit):
    m = kit.map("hash", key=U32, value=U64, max_entries=4, name="a_rather_long_map_name")
    info = m.info()
    assert (info.kind, info.key_size, info.value_size, info.max_entries) == ("hash", 4, 8, 4)
    assert info.name == "a_rather_long_m" and info.id == m.id > 0
    m[1] = 5
    with map_from_fd(os.dup(m.fd), key=U32, value=U64) as other:
        assert other[1] == 5
    with pytest.raises(MapError) as caught:
        map_from_fd(m.fd, key=U64)
    assert caught.value.code == "MAP006"
    read, write = os.pipe()
    with pytest.raises(MapError):
        map_from_fd(read)
    os.close(read)
    os.close(write)


def test_two_threads_share_a_map_object(kit):
    m = kit.map("hash", key=U32, value=U64, max_entries=10_000)
    problems = []

    def work(base):
        for key in range(base, base + 500):
            m[key] = key * 3
            if m[key] != key * 3:
                problems.append(key)

    threads = [threading.Thread(target=work, args=(base,)) for base in (0, 1000, 2000, 3000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems and len(m) == 2000 and all(value == key * 3 for key, value in m.items())
