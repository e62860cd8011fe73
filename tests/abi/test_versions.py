from __future__ import annotations

import os

import pytest

from osmia.abi import attach_types, commands, helpers, kernel_versions, link_types, map_types, prog_types, uapi
from osmia.diagnostics import UsageError


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("6.18.44-fc-v669", (6, 18, 44)),
        ("5.8", (5, 8, 0)),
        ("6.1.0-13-amd64", (6, 1, 0)),
        ("4.19.0+", (4, 19, 0)),
        ("7.0-rc1", (7, 0, 0)),
        ("5.15.0.1", (5, 15, 0)),
        (" 6.12.9\n", (6, 12, 9)),
    ],
)
def test_releases(text, numbers):
    assert kernel_versions.parse_release(text) == numbers


@pytest.mark.parametrize("text", ["", "linux", "6", "v6.1", ".5", "6.", "6.x"])
def test_what_is_no_release(text):
    with pytest.raises(UsageError) as refused:
        kernel_versions.parse_release(text)
    assert refused.value.code == "ABI011"


def test_the_running_kernel():
    assert kernel_versions.running() == kernel_versions.parse_release(os.uname().release)


def test_features():
    assert kernel_versions.feature("ringbuf").version == (5, 8)
    assert kernel_versions.feature("load_acquire").version == (6, 15)
    with pytest.raises(UsageError) as refused:
        kernel_versions.feature("ringbuffer")
    assert refused.value.code == "ABI010"
    assert "ringbuf" in refused.value.hint
    assert {row.name for row in kernel_versions.since((5, 8))} >= {"ringbuf", "iterators", "cap_bpf"}


PROBES = {
    "map_type": lambda subject: map_types.map_type(subject).version,
    "prog_type": lambda subject: prog_types.prog_type(subject).version,
    "attach_type": lambda subject: attach_types.attach_type(subject).version,
    "link_type": lambda subject: link_types.link_type(subject).version,
    "command": lambda subject: commands.command(subject).version,
    "helper": lambda subject: helpers.helper(subject).version,
    "map_flag": lambda subject: uapi.VERSIONS["BPF_F_" + subject],
    "load_flag": lambda subject: uapi.VERSIONS[subject],
}
OTHER_PROBES = {"instruction", "program", "btf_load", "btf_type", "kfunc", "file", "perf", "capability", "config"}


def test_features_agree_with_the_tables_that_their_probes_ask():
    compared = 0
    for row in kernel_versions.features():
        assert row.probe in PROBES or row.probe in OTHER_PROBES, row
        assert row.subject, row
        assert row.summary
        assert (3, 18) <= row.version <= kernel_versions.NEWEST
        if row.probe in PROBES:
            assert PROBES[row.probe](row.subject) == row.version, row
            compared += 1
    assert compared > 60


def test_kernel_functions_and_types_are_there_from_their_version_on(btf, known_kernel):
    running = kernel_versions.running()[:2]
    for row in kernel_versions.features():
        if row.probe == "kfunc" and row.version <= running:
            assert btf.find("func", row.subject), row
        if row.probe == "kfunc" and row.version > running:
            assert not btf.find("func", row.subject), row


def test_newer_rows_of_any_table_are_not_newer_than_the_headers():
    for table in (prog_types, attach_types, link_types, map_types, commands):
        for row in table.TABLE:
            assert row.version <= kernel_versions.NEWEST
    for version in uapi.VERSIONS.values():
        assert version <= kernel_versions.NEWEST
    for name in uapi.VERSIONS:
        assert uapi.find(name) is not None, name


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BPF_F_CURRENT_CPU", 0xFFFFFFFF),
        ("TC_ACT_SHOT", 2),
        ("TC_ACT_UNSPEC", -1),
        ("XDP_PASS", 2),
        ("PERF_TYPE_TRACEPOINT", 2),
        ("PERF_EVENT_IOC_SET_BPF", 0x40042408),
        ("PERF_SAMPLE_RAW", 1024),
        ("TCA_BPF_FD", 6),
        ("IFLA_XDP", 43),
        ("XDP_FLAGS_REPLACE", 16),
        ("SO_ATTACH_BPF", 50),
        ("RTM_NEWTFILTER", 44),
        ("NLM_F_ACK", 4),
        ("BPF_SOCK_OPS_STATE_CB", 10),
        ("NF_INET_LOCAL_OUT", 3),
        ("ETH_P_IPV6", 0x86DD),
        ("BPF_RINGBUF_HDR_SZ", 8),
        ("BTF_MAGIC", 0xEB9F),
        ("SOL_TCP", 6),
    ],
)
def test_constants(name, value):
    assert uapi.constant(name) == value


def test_constants_of_the_socket_module():
    import socket

    compared = 0
    for name in uapi.names("net"):
        theirs = getattr(socket, name, None)
        if isinstance(theirs, int):
            assert uapi.constant(name) == int(theirs), name
            compared += 1
    assert compared > 80


def test_groups_and_unknown_constants():
    assert uapi.group("bpf", "TCX_") == {"NEXT": -1, "PASS": 0, "DROP": 2, "REDIRECT": 7}
    for name in ("BPF_F_CURRENT_CPUS", "annotations", "__name__", ""):
        with pytest.raises(UsageError) as refused:
            uapi.constant(name)
        assert refused.value.code == "ABI007"
