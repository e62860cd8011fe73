from __future__ import annotations

import ctypes
import errno
import os
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from osmia.abi import map_types
from osmia.abi.kernel_versions import running
from osmia.abi.map_types import FLAGS, MapType, map_type

LAZY = ("unspec", "sk_storage", "inode_storage", "task_storage", "cgrp_storage", "struct_ops")
ORDINARY = [row for row in map_types.map_types() if row.name not in LAZY]
ENTRIES = {"count": 4, "zero": 0, "one": 1, "bytes": 4096, "pages": 4}


def test_flags_are_named_once_and_allowed_flags_are_known():
    values = [value for _, value, _ in FLAGS]
    assert values == [1 << index for index in range(len(FLAGS))]
    for row in map_types.map_types():
        assert row.flags & ~sum(values) == 0
        assert row.required & ~row.flags == 0
    assert map_type("lpm_trie").flag_names()[0] == "BPF_F_NO_PREALLOC"


def test_flags_are_the_uapi_constants():
    from osmia.abi import uapi

    for name, value, version in FLAGS:
        assert uapi.constant("BPF_F_" + name) == value
        assert uapi.VERSIONS["BPF_F_" + name] == version


def test_sizes_of_values_as_user_space_sees_them():
    assert map_type("percpu_array").user_value_size(4, 3) == 24
    assert map_type("percpu_hash").user_value_size(17, 2) == 48
    assert map_type("array").user_value_size(4, 3) == 4


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("hash", (4, 8, 16), []),
        ("hash", (0, 8, 16), ["key size is at least 1 bytes, not 0"]),
        ("hash", (4, 0, 0), ["value size", "max_entries"]),
        ("array", (8, 8, 1), ["key size is 4 bytes, not 8"]),
        ("ringbuf", (0, 0, 5000), ["power of two"]),
        ("ringbuf", (0, 0, 2048), ["multiple of 4096"]),
        ("ringbuf", (0, 8, 4096), ["value size is 0 (there is none), not 8"]),
        ("percpu_array", (4, 40000, 1), ["32768"]),
        ("lpm_trie", (8, 8, 1), ["flags required: NO_PREALLOC"]),
        ("lpm_trie", (4, 8, 1, map_types.NO_PREALLOC), ["key size is 5 to 260 bytes, not 4"]),
        ("queue", (4, 8, 1), ["key size"]),
        ("array", (4, 8, 1, map_types.NO_PREALLOC), ["flags not allowed: NO_PREALLOC"]),
        ("hash", (4, 8, 1, 1 << 30), ["flags not allowed: 0x40000000"]),
        ("hash", (4, 8, 1, map_types.RDONLY | map_types.WRONLY), ["RDONLY and WRONLY"]),
        ("hash", (4, 8, 1, 0, 7), ["map_extra must be 0"]),
        ("bloom_filter", (0, 8, 1, 0, 16), ["hash functions"]),
        ("arena", (0, 0, 1 << 21, map_types.MMAPABLE), ["4 GiB"]),
        ("sockmap", (4, 6, 1), ["value size is 4 or 8 bytes, not 6"]),
        ("stack_trace", (4, 40, 1, map_types.STACK_BUILD_ID), ["multiple of 32"]),
        ("struct_ops", (4, 64, 2), ["max_entries must be 1"]),
        ("task_storage", (4, 8, 1, map_types.NO_PREALLOC), ["max_entries must be 0"]),
    ],
)
def test_problems_are_named(name, arguments, words):
    found = map_type(name).problems(*arguments)
    assert len(found) == len(words)
    for text, word in zip(found, words, strict=True):
        assert word in text


def test_a_bigger_page_size():
    assert map_type("ringbuf").problems(0, 0, 4096, page=65536)
    assert not map_type("ringbuf").problems(0, 0, 65536, page=65536)


class Maps:
    """Makes maps of the running kernel and drives them, through the generators' bpf(2)."""

    def __init__(self) -> None:
        from bpfsys import bpf, map_create

        self.bpf = bpf
        self.inner = map_create(2, 4, 4, 1)

    def create(self, row: MapType, key: int, value: int, entries: int, flags: int, extra: int = 0) -> int:
        inner = self.inner if row.inner else 0
        numbers = (row.number, key, value, entries, flags, inner, 0)
        return self.bpf(0, struct.pack("<7I16s5IQ", *numbers, b"osmia_test", 0, 0, 0, 0, 0, extra))


@pytest.fixture(scope="module")
def maps(prober):
    made = Maps()
    assert made.inner >= 0
    yield made
    os.close(made.inner)


sizes = st.sampled_from([0, 1, 4, 5, 6, 8, 12, 16, 17, 40, 260, 261, 512, 513, 32768, 32769])
masks = st.lists(st.sampled_from([value for _, value, _ in FLAGS] + [1 << 25]), max_size=3).map(
    lambda some: sum(set(some))
)


@pytest.mark.kernel
@given(
    row=st.sampled_from(ORDINARY),
    key=st.none() | sizes,
    value=st.none() | sizes,
    entries=st.none() | st.sampled_from([0, 1, 3, 64, 4096, 12288]),
    flags=masks,
    extra=st.sampled_from([0, 0, 0, 1, 5, 15, 16, 4096, 1 << 32]),
)
@settings(max_examples=600, deadline=None)
def test_the_kernel_refuses_what_has_problems_and_makes_the_rest(
    maps, probed_kernel, row, key, value, entries, flags, extra
):
    if row.version > running()[:2]:
        return
    key = row.key[0] if key is None else key
    value = row.value[0] if value is None else value
    entries = ENTRIES[row.entries] if entries is None else entries
    flags |= row.required if flags % 3 else 0
    if flags & map_types.TOKEN_FD or any(flags & bit for _, bit, version in FLAGS if version > running()[:2]):
        return
    if row.name == "stack_trace" and value > 127 * 8:
        return  # bounded by a sysctl
    result = maps.create(row, key, value, entries, flags, extra)
    if result >= 0:
        os.close(result)
    if result in (-errno.E2BIG, -errno.ENOMEM, -errno.ENOSPC):
        return
    problems = row.problems(key, value, entries, flags, extra)
    assert (result >= 0) == (not problems), (row, key, value, entries, flags, extra, result, problems)


UNSUPPORTED = (-524, -errno.EOPNOTSUPP)
COMMANDS = {"lookup": 1, "update": 2, "delete": 3, "lookup_delete": 21}
BATCHES = {"lookup_batch": 24, "lookup_delete_batch": 25, "update_batch": 26, "delete_batch": 27}


def _try_everything(maps: Maps, row: MapType, fd: int) -> dict[str, int]:
    key = ctypes.create_string_buffer(max(row.key[0], 8))
    if row.name == "lpm_trie":
        key.raw = struct.pack("<IB", 8, 1).ljust(8, b"\0")
    value, other = ctypes.create_string_buffer(1 << 16), ctypes.create_string_buffer(1 << 12)
    at = ctypes.addressof
    key_at = at(key) if row.key[0] else 0
    found = {}
    for name, command in COMMANDS.items():
        address = 0 if name == "delete" else at(value)
        found[name] = maps.bpf(command, struct.pack("<IIQQQ", fd, 0, key_at, address, 0))
    found["next_key"] = maps.bpf(4, struct.pack("<IIQQ", fd, 0, 0, at(other)))
    for name, command in BATCHES.items():
        attr = struct.pack("<QQQQIIQQ", 0, at(other), at(key), at(value), 1, fd, 0, 0)
        found[name] = maps.bpf(command, attr)
    return found


@pytest.mark.kernel
@pytest.mark.parametrize("row", ORDINARY, ids=lambda row: row.name)
def test_user_space_may_do_what_the_table_says(maps, probed_kernel, row):
    if row.version > running()[:2]:
        pytest.skip("this kernel does not have it yet")
    fd = maps.create(row, row.key[0], row.value[0], ENTRIES[row.entries], row.required)
    assert fd >= 0
    try:
        results = _try_everything(maps, row, fd)
    finally:
        os.close(fd)
    for name, result in results.items():
        if name in row.user:
            assert result not in UNSUPPORTED or (row.name, name) == ("queue", "delete"), (name, result)
        else:
            assert result in (*UNSUPPORTED, -errno.EINVAL), (name, result)


@pytest.mark.kernel
@pytest.mark.parametrize("name", ["array", "percpu_array", "arena", "hash", "ringbuf"])
def test_addresses_of_values_are_given_where_the_table_says_so(maps, prober, probed_kernel, name):
    from bpfsys import EXIT, insn

    row = map_type(name)
    fd = maps.create(row, row.key[0], row.value[0], ENTRIES[row.entries] if name != "array" else 1, row.required)
    assert fd >= 0
    try:
        code = insn(0x18, 1, 2, imm=fd) + insn(0) + insn(0xB7, 0) + EXIT
        result, log = prober.load("socket_filter", "", code)
    finally:
        os.close(fd)
    refused = "no direct value access support for this map type" in log
    assert refused != row.direct_value, (result, log)
