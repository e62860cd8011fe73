from __future__ import annotations

import os
import re
import struct

import calls
import pytest

from osmia.abi import helpers
from osmia.abi.attach_types import attach_type
from osmia.abi.map_types import map_type, map_types
from osmia.abi.prog_types import prog_type, prog_types
from osmia.diagnostics import UsageError

KINDS = {
    "ARG_ANYTHING", "ARG_CONST_ALLOC_SIZE_OR_ZERO", "ARG_CONST_MAP_PTR", "ARG_CONST_SIZE", "ARG_CONST_SIZE_OR_ZERO",
    "ARG_KPTR_XCHG_DEST", "ARG_PTR_TO_BTF_ID", "ARG_PTR_TO_BTF_ID_SOCK_COMMON", "ARG_PTR_TO_CONST_STR",
    "ARG_PTR_TO_CTX",
    "ARG_PTR_TO_DYNPTR", "ARG_PTR_TO_FUNC", "ARG_PTR_TO_MAP_KEY", "ARG_PTR_TO_MAP_VALUE", "ARG_PTR_TO_MEM",
    "ARG_PTR_TO_PERCPU_BTF_ID", "ARG_PTR_TO_RINGBUF_MEM", "ARG_PTR_TO_SOCKET", "ARG_PTR_TO_SOCK_COMMON",
    "ARG_PTR_TO_SPIN_LOCK", "ARG_PTR_TO_STACK", "ARG_PTR_TO_TIMER",
}  # fmt: skip
RETURNS = {
    "RET_INTEGER", "RET_VOID", "RET_PTR_TO_MAP_VALUE", "RET_PTR_TO_MEM", "RET_PTR_TO_SOCKET", "RET_PTR_TO_TCP_SOCK",
    "RET_PTR_TO_SOCK_COMMON", "RET_PTR_TO_BTF_ID", "RET_PTR_TO_MEM_OR_BTF_ID",
}  # fmt: skip


def test_lookup_by_every_spelling():
    row = helpers.helper("map_update_elem")
    assert row.number == 2
    for key in ("bpf_map_update_elem", "BPF_FUNC_map_update_elem", 2):
        assert helpers.helper(key) is row
    assert helpers.number("bpf_ktime_get_ns") == 5
    assert helpers.find("ktime_get") is None


def test_a_name_of_a_removed_or_invented_helper_is_refused():
    with pytest.raises(UsageError) as refused:
        helpers.helper("bpf_ktime_get_nanoseconds")
    assert refused.value.code == "ABI006"
    assert "ktime_get" in refused.value.hint


def test_rows_are_well_formed():
    rows = list(helpers.helpers())
    assert [row.number for row in rows] == list(range(1, 212))
    for row in rows:
        assert row.summary and not row.summary.endswith(".")
        assert re.fullmatch(rf".*\bbpf_{row.name}\(.*\)", row.prototype), row
        assert len(row.args) == len(row._params) or row.variadic or row.name == "trace_printk", row
        assert row.prog_types, row
        for signature in (row.signature, *row.variants):
            assert signature.returns in RETURNS
            for arg in signature.args:
                assert arg.kind in KINDS, (row, arg)
                assert ("MEM_FIXED_SIZE" in arg.flags) == bool(arg.size), (row, arg)
                if arg.kind == "ARG_PTR_TO_BTF_ID":
                    assert arg.struct or row.name in ("sk_storage_get", "kptr_xchg"), (row, arg)


def test_a_size_argument_always_follows_memory():
    for row in helpers.helpers():
        for before, arg in zip(row.args, row.args[1:], strict=False):
            if arg.kind in ("ARG_CONST_SIZE", "ARG_CONST_SIZE_OR_ZERO"):
                assert before.kind == "ARG_PTR_TO_MEM", row
        assert not row.args or not row.args[0].kind.startswith("ARG_CONST_SIZE"), row


def test_a_well_known_prototype_in_full():
    row = helpers.helper("perf_event_output")
    assert row.version == (4, 4)
    assert row.gpl_only
    assert not row.packet_access
    assert [(arg.name, arg.ctype, arg.kind, arg.flags) for arg in row.args] == [
        ("ctx", "void *", "ARG_PTR_TO_CTX", ()),
        ("map", "struct bpf_map *", "ARG_CONST_MAP_PTR", ()),
        ("flags", "u64", "ARG_ANYTHING", ()),
        ("data", "void *", "ARG_PTR_TO_MEM", ("MEM_RDONLY",)),
        ("size", "u64", "ARG_CONST_SIZE_OR_ZERO", ()),
    ]
    lookup = helpers.helper("map_lookup_elem").signature
    assert lookup.may_return_null
    assert lookup.returns == "RET_PTR_TO_MAP_VALUE"
    strtol = helpers.helper("strtol").args[3]
    assert (strtol.size, strtol.flags) == (8, ("MEM_FIXED_SIZE", "MEM_UNINIT", "MEM_WRITE", "MEM_ALIGNED"))
    assert helpers.helper("get_current_task_btf").signature.return_struct == "task_struct"


def test_signatures_differ_by_program_type():
    row = helpers.helper("get_socket_cookie")
    assert row.signature_for("sched_cls").args[0].kind == "ARG_PTR_TO_CTX"
    tracing = row.signature_for("tracing").args[0]
    assert tracing.kind == "ARG_PTR_TO_BTF_ID_SOCK_COMMON"
    assert tracing.nullable
    assert helpers.helper("get_cgroup_classid").signature_for("xdp").args == ()


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("u64 bpf_f(void)", ("u64", [], False)),
        (
            "void *bpf_f(struct bpf_map *map, const void *key)",
            ("void *", [("map", "struct bpf_map *"), ("key", "const void *")], False),
        ),
        ("long bpf_f(const char *fmt, u32 size, ...)", ("long", [("fmt", "const char *"), ("size", "u32")], True)),
        ("struct bpf_sock *bpf_f(void *ctx)", ("struct bpf_sock *", [("ctx", "void *")], False)),
    ],
)
def test_prototypes_are_taken_apart(text, parsed):
    assert helpers.parse_prototype(text) == parsed


@pytest.mark.parametrize("text", ["", "long bpf_f", "long bpf_f(", "bpf_f(int)", "long bpf_f(int *)"])
def test_what_is_no_prototype(text):
    with pytest.raises(ValueError):
        helpers.parse_prototype(text)


def test_who_may_call():
    assert helpers.helper("ktime_get_ns").allowed("xdp")
    assert helpers.helper("ktime_get_ns").allowed("BPF_PROG_TYPE_TRACEPOINT")
    assert not helpers.helper("xdp_adjust_head").allowed("sched_cls")
    printf = helpers.helper("seq_printf")
    assert printf.allowed("tracing")
    assert printf.allowed("tracing", "trace_iter")
    assert not printf.allowed("tracing", "trace_raw_tp")
    copy = helpers.helper("copy_from_user")
    assert copy.sleeps
    assert not copy.allowed("tracing", "trace_fentry")
    assert copy.allowed("tracing", "trace_fentry", sleepable=True)
    assert not copy.allowed("xdp")
    assert copy.allowed("kprobe")
    with pytest.raises(UsageError) as refused:
        copy.allowed("no_such_type")
    assert refused.value.code == "ABI001"


def test_map_helpers_exist_and_take_a_map():
    for row in map_types():
        for name in row.helpers:
            helper = helpers.helper(name)
            if name not in ("kptr_xchg", "ringbuf_submit_dynptr", "ringbuf_discard_dynptr"):
                assert any(arg.kind == "ARG_CONST_MAP_PTR" for arg in helper.args), name


@pytest.mark.kernel
def test_the_verifier_agrees_on_who_may_call_what(prober, probed_kernel):
    from probe_kernel import matrix

    table = matrix(prober)
    assert len(table) > 45
    for key, verdicts in table.items():
        kind, _, attach = key.removesuffix(":sleepable").partition("/")
        sleepable = key.endswith(":sleepable")
        if kind == "kprobe" and not attach:
            attach = "perf_event"
        if not attach and kind not in ("struct_ops", "syscall", "xdp", "sched_cls"):
            attach = (prog_type(kind).attach_types or ("",))[0] if len(prog_type(kind).attach_types) == 1 else ""
        said = {number for verdict, numbers in verdicts.items() if verdict != "sleep" for number in numbers}
        asleep = set(verdicts.get("sleep", ()))
        for row in helpers.helpers():
            ours = row.allowed(kind, attach, sleepable)
            if row.number in asleep:
                assert row.sleeps, (key, row)
                assert not ours or not attach, (key, row)
            elif row.needs:
                assert row.number not in said or ours, (key, row)
            else:
                assert ours == (row.number in said), (key, row)


@pytest.mark.kernel
def test_the_verifier_agrees_on_licences(prober, probed_kernel):
    from probe_kernel import gpl_only

    programs = {
        "tracepoint": 0,
        "kprobe:sleepable": 16,
        "tracing/trace_iter": 0,
        "sched_cls": 0,
        "perf_event": 0,
        "xdp": 0,
    }
    table = {}
    for key in programs:
        kind, _, attach = key.removesuffix(":sleepable").partition("/")
        table[key] = {"yes": [row.number for row in helpers.helpers() if row.allowed(kind, attach, True)]}
    asked = gpl_only(prober, table)
    for row in helpers.helpers():
        if row.number in asked:
            assert row.gpl_only, row
    reachable = {number for verdicts in table.values() for number in verdicts["yes"]}
    for row in helpers.helpers():
        if row.gpl_only and row.number in reachable and not row.needs:
            assert row.number in asked, row


@pytest.mark.kernel
def test_the_verifier_agrees_on_the_first_argument(prober, probed_kernel):
    """Called with the context as its first argument, a helper that takes the context goes on to the next one."""
    from bpfsys import EXIT, call, insn

    for kind in (
        "tracepoint",
        "sched_cls",
        "xdp",
        "cgroup_sock_addr",
        "sk_msg",
        "raw_tracepoint",
        "sock_ops",
        "cgroup_sock",
    ):
        attach = next((name for name in prog_type(kind).attach_types if prog_type(kind).needs_attach_type), "")
        value = 1
        for row in helpers.helpers():
            if not row.allowed(kind, attach) or row.sleeps:
                continue
            signature = row.signature_for(kind)
            first = signature.args[0].kind if signature.args else "none"
            _, log = prober.load(kind, attach, call(row.number) + insn(0xB7, 0, imm=value) + EXIT)
            complaint = re.search(r"^R1 type=ctx expected=(.*)$", log, re.M)
            if first in ("ARG_PTR_TO_CTX", "ARG_ANYTHING", "none", "ARG_PTR_TO_DYNPTR"):
                assert not complaint or first == "ARG_PTR_TO_DYNPTR", (kind, row, complaint and complaint[0])
            elif "not supported" not in log and "supported only" not in log and "not allowed" not in log:
                assert complaint, (kind, row, first, log)
                expected = complaint[1]
                if first == "ARG_CONST_MAP_PTR":
                    assert expected == "map_ptr", (kind, row)
                if first == "ARG_PTR_TO_MEM":
                    assert "map_value" in expected and "fp" in expected, (kind, row)


@pytest.fixture(scope="module")
def make_map(prober):
    """Makes small maps by type name; all are closed at the end."""
    from bpfsys import bpf

    made: list[int] = []

    def make(name: str) -> int:
        row = map_type(name)
        entries = {"count": 4, "zero": 0, "one": 1, "bytes": 4096, "pages": 4}[row.entries]
        inner = make("array") if row.inner else 0
        numbers = (row.number, row.key[0], row.value[0], entries, row.required, inner, 0)
        fd = bpf(0, struct.pack("<7I16s5IQ", *numbers, b"osmia_test", 0, 0, 0, 0, 0, 0))
        assert fd >= 0, row
        made.append(fd)
        return fd

    yield make
    for fd in made:
        os.close(fd)


MAPS = [row for row in map_types() if row.number and not row.btf_only and row.version <= (6, 18)]


def _places(row):
    """A program type and attach type of each kind that this kernel loads and that may call a helper."""
    for kind in row.prog_types:
        if kind in ("lsm", "lirc_mode2", "ext") or row.needs:
            continue
        attach = {"tracing": "trace_iter" if row.sleeps else "trace_raw_tp"}.get(kind, "")
        if prog_type(kind).needs_attach_type:
            attach = prog_type(kind).attach_types[0]
        attach = row.attach_types.get(kind, (attach,))[0]
        if attach not in ("trace_fentry", "perf_event"):
            ends = (attach_type(attach).returns if attach else None) or prog_type(kind).returns
            yield kind, attach, ends[0] if ends else 0


@pytest.mark.kernel
def test_the_verifier_accepts_calls_made_after_the_signatures(prober, probed_kernel, make_map):
    """Every helper whose arguments can be made of a stack, a map, the context and numbers, in all program types."""
    called = set()
    for row in helpers.helpers():
        for kind, attach, returns in _places(row):
            signature = row.signature_for(kind)
            if not calls.makeable(signature):
                continue
            fd = 0
            if any(arg.kind == "ARG_CONST_MAP_PTR" for arg in signature.args):
                fits = [one for one in MAPS if row.name in one.helpers and (one.sleepable or kind != "syscall")]
                if not fits:
                    continue
                fd = make_map(fits[0].name)
            code = calls.program(row, signature, fd, returns)
            result, log = prober.load(kind, attach, code, flags=16 if row.sleeps and kind != "syscall" else 0)
            assert not result or "Unreleased reference" in log, (row, kind, attach, log)
            called.add(row.name)
    assert len(called) > 130


@pytest.mark.kernel
def test_the_verifier_agrees_on_which_map_goes_with_which_helper(prober, probed_kernel, make_map):
    fds = {row.name: make_map(row.name) for row in MAPS}
    compared, wrong = 0, []
    for row in helpers.helpers():
        places = [place for place in _places(row) if place[0] != "syscall"]
        if (
            not places
            or not any(arg.kind == "ARG_CONST_MAP_PTR" for arg in row.args)
            or not calls.makeable(row.signature)
        ):
            continue
        kind, attach, returns = next((place for place in places if place[0] == "sched_cls"), places[0])
        if row.signature_for(kind).args != row.args and not calls.makeable(row.signature_for(kind)):
            continue
        for one in MAPS:
            owned = one.name in ("prog_array", "devmap", "devmap_hash", "cpumap")  # by the type of their first program
            fd = make_map(one.name) if owned else fds[one.name]
            code = calls.program(row, row.signature_for(kind), fd, returns)
            result, log = prober.load(kind, attach, code)
            refused = bool(result) and "Unreleased reference" not in log
            if refused == (row.name in one.helpers) and (row.name, one.name) not in ELSEWHERE:
                wrong.append((row.name, one.name, kind, refused, log))
            compared += 1
    assert wrong == []
    assert compared > 300


# The values that a socket map takes are sockets, and the verifier's answer depends on more than the pair.
ELSEWHERE = {("map_update_elem", "sockmap"), ("map_update_elem", "sockhash")}


@pytest.mark.kernel
def test_return_ranges_are_the_verifiers(prober, probed_kernel):
    compared = 0
    for row in prog_types():
        if row.name in ("unspec", "lirc_mode2", "lsm", "ext"):
            continue
        for attach in prober.attach_types_of(row.name):
            ours = row.returns
            if attach and attach_type(attach).returns is not None:
                ours = attach_type(attach).returns
            assert prober.returns(row.name, attach) == ours, (row, attach)
            compared += 1
    assert compared > 40


@pytest.mark.kernel
def test_attach_types_are_checked_at_load_where_the_table_says_so(prober, probed_kernel):
    for row in prog_types():
        if row.name in ("unspec", "lirc_mode2", "lsm", "ext", "tracing", "struct_ops", "syscall"):
            continue
        accepted = [name for name in prober.attach_types if prober.works(row.name, name)]
        if row.needs_attach_type:
            assert set(accepted) - {"cgroup_inet_ingress"} == set(row.attach_types) - {"cgroup_inet_ingress"}, row
        else:
            assert len(accepted) == len(prober.attach_types), row
