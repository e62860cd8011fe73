"""Built-in helpers, helpers of the test, messages, stacks, locks, packets by helper."""

from __future__ import annotations

import errno
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ir_build import body, build, fault

from osmia.abi.helpers import helpers as helper_rows
from osmia.compiler.evaluate import NULL, Pointer, builtin_helpers
from osmia.compiler.text import parse_module


def call(name, params="", args="", result="u64", **options):
    """An evaluator whose function gives a helper's answer."""
    given_args = f" {args}" if args else ""
    return body(f'%r: {result} = helper{given_args}; name="{name}"\nret %r', params, result, **options)


def test_every_built_in_helper_is_one_of_the_kernels():
    known = {row.name: row for row in helper_rows()}
    names = builtin_helpers()
    assert len(names) > 60 and set(names) <= set(known)
    from osmia.compiler.evaluate.helpers.registry import HELPERS

    for name in names:
        row, (_, kinds, least) = known[name], HELPERS[name]
        wanted = len(row.args)
        assert len(kinds) >= wanted >= least or (row.variadic and least == wanted), name


def test_the_task():
    environment = {"pid": 7, "tid": 9, "uid": 3, "gid": 4, "cgroup_id": 55, "cgroups": (1, 20, 55), "task": 0x1000}
    for name, value in (
        ("get_current_pid_tgid", 7 << 32 | 9),
        ("bpf_get_current_uid_gid", 4 << 32 | 3),
        ("get_current_cgroup_id", 55),
        ("get_current_task", 0x1000),
        ("get_numa_node_id", 0),
    ):
        assert call(name, **environment).call("f") == value
    assert call("get_current_pid_tgid", pid=5).call("f") == 5 << 32 | 5
    levels = call("get_current_ancestor_cgroup_id", "%a: s32", "%a", **environment)
    assert [levels.call("f", level) for level in (0, 1, 2, 3, -1)] == [1, 20, 55, 0, 0]
    task = call("get_current_task_btf", result="ptr<btf, bytes>?", **environment).call("f")
    assert task == Pointer(None, 0x1000)
    assert call("get_current_task_btf", result="ptr<btf, bytes>?").call("f") == NULL


def test_names_are_cut_and_padded():
    text = """
    %p: ptr<stack, bytes[16]> = local.addr; local=$x
    %n: u32 = const; value=%SIZE
    %r: s64 = helper %p, %n; name="get_current_comm"
    %g: ptr<global, bytes[16]> = global.addr; name=@name
    copy %g, %p; size=16
    ret %r
    """
    before = 'global @name: bytes[16] in ".bss"'
    for size, comm, shown in ((16, "a" * 30, b"a" * 15), (4, "abcdef", b"abc"), (16, b"\xff", b"\xff")):
        evaluator = body(
            text.replace("%SIZE", str(size)), result="s64", head="local $x: bytes[16]", before=before, comm=comm
        )
        assert evaluator.call("f") == 0
        assert evaluator.globals["name"] == shown.ljust(16, b"\0")


def test_time_and_random_numbers_are_the_same_every_time():
    text = """
    %a: u64 = helper; name="ktime_get_ns"
    %b: u64 = helper; name="ktime_get_boot_ns"
    %r: u64 = sub %b, %a
    ret %r
    """
    evaluator = body(text, time_ns=5, tick_ns=100)
    assert evaluator.call("f") == 100 and evaluator.env.time_ns == 205
    numbers = [[(e := call("get_prandom_u32", result="u32", seed=seed)).call("f"), e.call("f")] for seed in (1, 1, 2)]
    assert numbers[0] == numbers[1] != numbers[2]
    assert numbers[0][0] != numbers[0][1]


def test_processor():
    evaluator = call("get_smp_processor_id", result="u32", cpus=4)
    assert [evaluator.run("f", cpu=cpu).value for cpu in (0, 3)] == [0, 3]


def test_helpers_of_the_test():
    seen = []

    def own(run, *args):
        seen.append((run.env.pid, args))
        return -3

    evaluator = call(
        "bpf_get_attach_cookie", "%p: ptr<mem, u8>, %n: s8", "%p, %n", "s64", helpers={"get_attach_cookie": own}
    )
    assert evaluator.call("f", b"x", -1) == -3
    (pid, (pointer, number)) = seen[0]
    assert pid == 1000 and number == 2**64 - 1 and isinstance(pointer, Pointer)
    assert call("get_retval", result="bool", helpers={"bpf_get_retval": lambda run: 256}).call("f") is True
    assert call("get_retval", result="u8", helpers={"get_retval": lambda run: None}).call("f") == 0

    def text(run, target, size):
        run.write(target, b"hi".ljust(size, b"!"))
        return len(run.read(target, size))

    evaluator = body(
        '%p: ptr<stack, u32> = local.addr; local=$x\n%n: u32 = const; value=4\n'
        '%r: u32 = helper %p, %n; name="get_retval"\n%v: u32 = load %p\nret %v',
        result="u32", head="local $x: u32", helpers={"get_retval": text},
    )  # fmt: skip
    assert evaluator.call("f").to_bytes(4, "little") == b"hi!!"


def test_unknown_helpers():
    assert "ktime_get_ns" in fault("IR348", call("ktime_get_nss")).hint
    assert "helpers=" in fault("IR348", call("skb_change_head")).hint


@pytest.mark.parametrize(
    ("name", "params", "args", "given"),
    [
        ("map_lookup_elem", "%a: u64, %b: u64", "%a, %b", (1, 2)),
        ("get_current_comm", "%a: ptr<mem, u8>", "%a", (b"x",)),
        ("loop", "%a: u32, %b: u64, %c: u64, %d: u64", "%a, %b, %c, %d", (1, 2, 3, 4)),
        ("strncmp", "%a: ptr<mem, u8>, %b: u32, %c: u64", "%a, %b, %c", (b"abc", 2, 77)),
        ("ktime_get_ns", "%a: u64", "%a", (1,)),
    ],
)
def test_arguments_that_do_not_fit(name, params, args, given):
    fault("IR349", call(name, params, args), b"", *given)


def test_maps_of_the_wrong_kind():
    text = """
    map @m: hash {key=u32, value=u32, max_entries=1}
    function inline @f(%p: ptr<mem, u8>) -> s64 {
    ^entry: %m: map = map.ref; map=@m
      %z: u64 = const; value=0
      %r: s64 = helper %HELPER; name="%NAME"
      ret %r
    }"""
    for name, args in (
        ("ringbuf_output", "%m, %p, %z, %z"),
        ("ringbuf_query", "%m, %z"),
        ("perf_event_output", "%p, %m, %z, %p, %z"),
        ("get_stackid", "%p, %m, %z"),
        ("task_storage_get", "%m, %p, %p, %z"),
        ("task_storage_delete", "%m, %p"),
        ("redirect_map", "%m, %z, %z"),
        ("tail_call", "%p, %m, %z"),
    ):
        fault("IR349", build(text.replace("%HELPER", args).replace("%NAME", name)), b"", b"x")
    fault("IR354", build(text.replace("%HELPER", "%m, %p, %z").replace("%NAME", "map_push_elem")), b"", bytes(4))


# Memory


def test_sizes_are_checked_before_anything_is_made():
    params = "%p: ptr<mem, bytes>, %n: u32, %a: u64"
    for name in ("probe_read_kernel", "probe_read_user_str", "probe_read"):
        fault("IR341", call(name, params, "%p, %n, %a", "s64"), b"", bytes(8), 2**32 - 1, 0)
    fault("IR341", call("get_current_comm", params, "%p, %n", "s64"), b"", bytes(8), 2**32 - 1, 0)
    assert len(printed("%999999999999d%d", 1, 2)[0]) == 1023


def test_probe_read_helpers():
    params = "%p: ptr<mem, bytes>, %n: u32, %a: u64"
    for name, spaces in (("probe_read_kernel", "k"), ("probe_read_user", "u"), ("probe_read", "ku")):
        for suffix in ("", "_str"):
            evaluator = call(name + suffix, params, "%p, %n, %a", "s64")
            target = evaluator.kernel.map(8)
            place = evaluator.kernel.find(target)
            for kind, space in (("k", evaluator.kernel), ("u", evaluator.user)):
                evaluator.kernel.write(target, b"\xff" * 8)
                result = evaluator.call("f", place, 4, space.map(b"ab\0cdefg"))
                stored = evaluator.kernel.read(target, 8)
                if kind not in spaces:
                    assert (result, stored) == (-errno.EFAULT, bytes(4) + b"\xff" * 4)
                elif suffix:
                    assert (result, stored) == (3, b"ab\0" + b"\xff" * 5)
                else:
                    assert (result, stored) == (0, b"ab\0c" + b"\xff" * 4)
            assert evaluator.call("f", place, 0, 0) == 0
            fault("IR341", evaluator, b"", place, 9, 0)


def test_probe_write_user():
    evaluator = call("probe_write_user", "%a: ptr<user, u8>, %p: ptr<mem, bytes>, %n: u32", "%a, %p, %n", "s64")
    address = evaluator.user.map(4)
    assert evaluator.call("f", address, b"abcd", 3) == 0 and evaluator.user.read(address, 4) == b"abc\0"
    assert evaluator.call("f", address + 2, b"abcd", 3) == -errno.EFAULT


def test_per_cpu_symbols():
    text = """
    %s: ptr<btf, u64> = ksym.addr; name="runqueues"
    %x: ptr<btf, u64>? = helper %s, %cpu; name="per_cpu_ptr"
    %p: ptr<btf, u64> = br.nonnull %x; then=^there, other=^missing
    ^there: %v: u64 = load %p
      ret %v
    ^missing: %n: u64 = const; value=-1
      ret %n
    """
    evaluator = body(text, "%cpu: u32", cpus=2)
    copies = [evaluator.kernel.map(struct.pack("=Q", number)) for number in (11, 22)]
    evaluator.ksyms["runqueues"] = 0x4000
    evaluator.per_cpu[0x4000] = copies
    assert [evaluator.call("f", cpu) for cpu in range(3)] == [11, 22, 2**64 - 1]
    this = body(text.replace("%s, %cpu", "%s").replace("per_cpu_ptr", "this_cpu_ptr"), "%cpu: u32", cpus=2)
    this.ksyms["runqueues"], this.per_cpu[0x4000] = 0x4000, [this.kernel.map(b"\5" + bytes(7)), this.kernel.map(8)]
    assert this.run("f", b"", 0, cpu=1).value == 0 and this.run("f", b"", 0, cpu=0).value == 5


def test_kptr_exchange():
    text = """
    map @m: array {key=u32, value=u64, max_entries=1}
    function inline @f(%k: ptr<mem, u32>, %new: ptr<btf, bytes>?) -> u64 {
    ^entry: %x: ptr<map, u64>? = map.lookup %k; map=@m
      %p: ptr<map, u64> = br.nonnull %x; then=^there, other=^missing
    ^there: %old: ptr<btf, bytes>? = helper %p, %new; name="kptr_xchg"
      %r: u64 = ptr.to.int %old
      ret %r
    ^missing: unreachable
    }"""
    evaluator = build(text)
    assert [evaluator.call("f", bytes(4), new) for new in (0x10, 0x20, None, 0)] == [0, 0x10, 0x20, 0]


# Text


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=6), st.binary(max_size=6), st.integers(0, 6))
def test_strncmp(a, b, size):
    evaluator = strncmp_evaluator()
    got = evaluator.call("f", a.ljust(6, b"\0"), size, b.replace(b"\0", b"") + b"\0")
    x, y = a.partition(b"\0")[0][:size], b.replace(b"\0", b"")[:size]
    assert got == (x > y) - (x < y)


def strncmp_evaluator(made=[]):  # noqa: B006
    if not made:
        made.append(call("strncmp", "%a: ptr<mem, bytes>, %n: u32, %b: ptr<mem, bytes>", "%a, %n, %b", "s64"))
    return made[0]


@pytest.mark.parametrize(
    ("text", "flags", "signed", "unsigned"),
    [
        (b"42", 0, (2, 42), (2, 42)),
        (b"  -17x", 0, (5, -17), -errno.EINVAL),
        (b"0x1F ", 0, (4, 31), (4, 31)),
        (b"0x1F", 16, (4, 31), (4, 31)),
        (b"017", 0, (3, 15), (3, 15)),
        (b"08", 0, (1, 0), (1, 0)),
        (b"0xg", 0, (1, 0), (1, 0)),
        (b"12", 8, (2, 10), (2, 10)),
        (b"18446744073709551615", 10, -errno.ERANGE, (20, 2**64 - 1)),
        (b"18446744073709551616", 10, -errno.ERANGE, -errno.ERANGE),
        (b"-9223372036854775808", 10, (20, -(2**63)), -errno.EINVAL),
        (b"x", 0, -errno.EINVAL, -errno.EINVAL),
        (b"", 0, -errno.EINVAL, -errno.EINVAL),
        (b"1", 2, -errno.EINVAL, -errno.EINVAL),
        (b"1", 64, -errno.EINVAL, -errno.EINVAL),
    ],
)
def test_numbers_in_text(text, flags, signed, unsigned):
    params = "%a: ptr<mem, bytes>, %n: u64, %flags: u64, %t: ptr<mem, u64>"
    for name, wanted, is_signed in (("strtol", signed, True), ("strtoul", unsigned, False)):
        evaluator = call(name, params, "%a, %n, %flags, %t", "s64")
        target = evaluator.kernel.map(8)
        got = evaluator.call("f", text, len(text), flags, evaluator.kernel.find(target))
        number = int.from_bytes(evaluator.kernel.read(target, 8), "little", signed=is_signed)
        assert (got if got < 0 else (got, number)) == wanted


def printed(format, *values, types=None):
    types = types or ["u64"] * len(values)
    params = ", ".join(f"%a{n}: {type_}" for n, type_ in enumerate(types))
    args = ", ".join(f"%a{n}" for n in range(len(types)))
    evaluator = body(f'printk {args}; format="{format}"\nret', params, "void")
    values = [evaluator.kernel.map(value) if isinstance(value, bytes) else value for value in values]
    return evaluator.run("f", b"", *values).printed


@pytest.mark.parametrize(
    ("format", "values", "text"),
    [
        ("plain 100%%", [], "plain 100%"),
        ("%d %u %i", [2**64 - 5, 2**32 + 7, 3], "-5 7 3"),
        ("%lld %llu %ld", [2**64 - 5, 2**64 - 5, 1], "-5 18446744073709551611 1"),
        ("%x %X %llx", [255, 255, 2**40], "ff FF 10000000000"),
        ("[%5d|%-5d|%05d|%+d|% d]", [42] * 5, "[   42|42   |00042|+42| 42]"),
        ("[%06d]", [2**64 - 42], "[-00042]"),
        ("%c%c", [72, 105], "Hi"),
        ("%s!", [b"text\0more"], "text!"),
        ("%10s|%-6s|", [b"abc\0", b"de\0"], "       abc|de    |"),
        ("%px", [0xABC], "0000000000000abc"),
        ("%pK %p", [1, 2], "0000000000000001 0000000000000002"),
        ("%pI4", [bytes([127, 0, 0, 1])], "127.0.0.1"),
        ("%pi4", [bytes([127, 0, 0, 1])], "127.000.000.001"),
        ("%pI6", [bytes(15) + b"\1"], "::1"),
        ("%pi6", [bytes(15) + b"\1"], "0" * 31 + "1"),
        ("%s", [12345], ""),
    ],
)
def test_messages(format, values, text):
    assert printed(format, *values) == [text]


@pytest.mark.parametrize("format", ["%d", "%y", "%", "%d %d", "%f", "%hd", "%pX", "%pfoo", "\\u{1}", "ä", "%*d"])
def test_messages_that_the_kernel_refuses(format):
    evaluator = body(f'printk %a{", %a" * (format == "%d")}; format="{format}"\nret', "%a: u64", "void")
    fault("IR349", evaluator, b"", 1)


def test_values_of_messages_keep_their_sign():
    assert printed("%d %lld %u", -1, -2, -3, types=["s8", "s16", "s32"]) == [f"-1 -2 {2**32 - 3}"]
    assert printed("%d", True, types=["bool"]) == ["1"]
    fault("IR349", body("printk" + ",".join([" %a"] * 13) + '; format="x"\nret', "%a: u64", "void"), b"", 1)


def test_printing_helpers():
    text = """
    global @format: bytes[16] in ".rodata" = x"25642d256c6c780000000000000000%LAST"
    function inline @f(%data: ptr<mem, u64[2]>, %out: ptr<mem, bytes[8]>) -> s64 {
    ^entry: %fmt: ptr<global, bytes[16]> = global.addr; name=@format
      %eight: u32 = const; value=8
      %size: u32 = const; value=16
      %seq: ptr<btf, bytes>? = null
      %a: u64 = const; value=5
      %r: s64 = helper %CALL
      ret %r
    }"""
    values = struct.pack("=QQ", 7, 255)

    def run(call, last="00"):
        evaluator = build(text.replace("%CALL", call).replace("%LAST", last))
        target = evaluator.kernel.find(evaluator.kernel.map(b"\xff" * 8))
        result = evaluator.run("f", b"", values, target)
        return result, bytes(target.region.data)

    result, _ = run('%fmt, %eight, %a, %a; name="trace_printk"')
    assert (result.value, result.printed) == (3, ["5-5"])
    assert run('%fmt, %eight, %a; name="trace_printk"')[0].value == -errno.EINVAL
    assert run('%fmt, %size, %a, %a; name="trace_printk"', "41")[0].value == -errno.EINVAL
    result, _ = run('%fmt, %eight, %data, %size; name="trace_vprintk"')
    assert (result.value, result.printed) == (4, ["7-ff"])
    result, stored = run('%out, %eight, %fmt, %data, %size; name="snprintf"')
    assert (result.value, stored) == (5, b"7-ff\0\xff\xff\xff")
    result, _ = run('%seq, %fmt, %eight, %data, %size; name="seq_printf"')
    assert (result.value, result.output) == (0, b"7-ff")
    result, _ = run('%seq, %out, %eight; name="seq_write"')
    assert (result.value, result.output) == (0, b"\xff" * 8)


def test_snprintf_cuts():
    text = """
    global @format: bytes[4] in ".rodata" = x"2578%S00"
    function inline @f(%data: ptr<mem, u64>, %out: ptr<mem, bytes[8]>, %n: u32) -> s64 {
    ^entry: %fmt: ptr<global, bytes[4]> = global.addr; name=@format
      %eight: u32 = const; value=8
      %r: s64 = helper %out, %n, %fmt, %data, %eight; name="snprintf"
      ret %r
    }""".replace("%S", "21")
    evaluator = build(text)
    target = evaluator.kernel.find(evaluator.kernel.map(b"\xff" * 8))
    assert evaluator.call("f", struct.pack("=Q", 0xABCDEF), target, 4) == 8
    assert bytes(target.region.data) == b"abc\0\xff\xff\xff\xff"
    assert evaluator.call("f", struct.pack("=Q", 0xABCDEF), target, 0) == 8


# Stacks, signals, locks


def test_stacks():
    text = """
    map @s: stack_trace {key=u32, value_size=24, max_entries=8}
    function inline @f(%ctx: ptr<mem, u8>, %flags: u64) -> s64 {
    ^entry: %m: map = map.ref; map=@s
      %r: s64 = helper %ctx, %m, %flags; name="get_stackid"
      ret %r
    }
    function inline @g(%ctx: ptr<mem, u8>, %p: ptr<mem, bytes>, %n: u32, %flags: u64) -> s64 {
    ^entry: %r: s64 = helper %ctx, %p, %n, %flags; name="get_stack"
      ret %r
    }"""
    evaluator = build(text, kernel_stack=(1, 2, 3, 4), user_stack=(10,))
    first = evaluator.call("f", b"x", 0)
    assert evaluator.maps["s"][first] == [1, 2, 3] and evaluator.call("f", b"x", 0) == first
    user = evaluator.call("f", b"x", 1 << 8)
    assert evaluator.maps["s"][user] == [10]
    assert evaluator.maps["s"][evaluator.call("f", b"x", 2)] == [3, 4]
    assert evaluator.call("f", b"x", 5) == -errno.EFAULT and evaluator.call("f", b"x", 1 << 20) == -errno.EINVAL
    same_place = []
    for address in range(100, 200):
        evaluator.env.kernel_stack = (address,)
        same_place.append(evaluator.call("f", b"x", 0))
    assert -errno.EEXIST in same_place and len(evaluator.maps["s"]) <= 8
    assert evaluator.call("f", b"x", 1 << 10) >= 0
    evaluator.env.kernel_stack = (1, 2)
    target = evaluator.kernel.find(evaluator.kernel.map(b"\xff" * 24))
    assert evaluator.call("g", b"x", target, 24, 0) == 16
    assert bytes(target.region.data) == struct.pack("=QQQ", 1, 2, 0)
    assert evaluator.call("g", b"x", target, 24, 2) == -errno.EFAULT and not any(target.region.data)
    assert evaluator.call("g", b"x", target, 23, 0) == -errno.EINVAL


def test_signals_and_cookies():
    evaluator = call("send_signal", "%n: u32", "%n", "s64")
    assert evaluator.run("f", b"", 9).signals == [9]
    evaluator = call("get_attach_cookie", "%c: ptr<mem, u8>", "%c", cookie=77)
    assert evaluator.call("f", b"x") == 77
    evaluator = call("get_func_ip", "%c: ptr<mem, u8>", "%c", func_ip=0xFFFFFFFF81000000)
    assert evaluator.call("f", b"x") == 0xFFFFFFFF81000000


def test_spin_locks():
    lines = {"+": 'helper %p; name="spin_lock"', "-": 'helper %p; name="spin_unlock"'}
    for order, code in (("+-", None), ("+-+-", None), ("+", "IR358"), ("-", "IR358"), ("++", "IR358")):
        evaluator = body("\n".join(lines[one] for one in order) + "\nret", "%p: ptr<map, u32>", "void")
        if code is None:
            evaluator.run("f", b"", bytes(4))
        else:
            fault(code, evaluator, b"", bytes(4))


# Packets by helper

XDP = """
function program @f(%ctx: ptr<ctx, bytes[24]>, %by: s32) -> s64 {
  section "xdp"
^entry: %r: s64 = helper %ctx, %by; name="NAME"
  ret %r
}
"""


@pytest.mark.parametrize(
    ("name", "by", "value", "packet"),
    [
        ("xdp_adjust_head", 4, 0, b"efghijklmnopqrst"),
        ("xdp_adjust_head", -2, 0, b"\0\0abcdefghijklmnopqrst"),
        ("xdp_adjust_head", 7, -errno.EINVAL, None),
        ("xdp_adjust_head", -257, -errno.EINVAL, None),
        ("xdp_adjust_tail", -6, 0, b"abcdefghijklmn"),
        ("xdp_adjust_tail", -7, -errno.EINVAL, None),
        ("xdp_adjust_tail", 3, 0, b"abcdefghijklmnopqrst\0\0\0"),
        ("xdp_adjust_tail", 2000, -errno.EINVAL, None),
        ("xdp_adjust_meta", -8, 0, None),
        ("xdp_adjust_meta", -6, -errno.EACCES, None),
        ("xdp_adjust_meta", -256, -errno.EINVAL, None),
        ("xdp_adjust_meta", 4, -errno.EINVAL, None),
        ("skb_pull_data", 20, 0, None),
        ("skb_pull_data", 21, -errno.ENOMEM, None),
    ],
)
def test_packets_change_their_size(name, by, value, packet):
    original = b"abcdefghijklmnopqrst"
    result = build(XDP.replace("NAME", name)).run("f", b"", by, packet=original)
    assert (result.value, result.packet) == (value, packet or original)


def test_packet_bytes_by_helper():
    params = "%c: ptr<ctx, u8>, %at: u32, %p: ptr<mem, bytes>, %n: u32"
    for name, far in (("skb_load_bytes", -errno.EFAULT), ("xdp_load_bytes", -errno.EINVAL)):
        evaluator = call(name, params, "%c, %at, %p, %n", "s64")
        target = evaluator.kernel.find(evaluator.kernel.map(b"\xff" * 4))
        assert evaluator.run("f", b"", 2, target, 3, packet=b"abcdef").value == 0
        assert bytes(target.region.data) == b"cde\xff"
        assert evaluator.run("f", b"", 4, target, 3, packet=b"abcdef").value == far
        fault("IR349", evaluator, b"", 4, target, 3)
    evaluator = call("xdp_store_bytes", params, "%c, %at, %p, %n", "s64")
    assert evaluator.run("f", b"", 2, b"XY", 2, packet=b"abcdef").packet == b"abXYef"
    assert evaluator.run("f", b"", 5, b"XY", 2, packet=b"abcdef").value == -errno.EINVAL
    evaluator = call("skb_store_bytes", params + ", %z: u64", "%c, %at, %p, %n, %z", "s64")
    assert evaluator.run("f", b"", 2, b"XY", 2, 0, packet=b"abcdef").packet == b"abXYef"
    assert evaluator.run("f", b"", 2, b"XY", 2, 8, packet=b"abcdef").value == -errno.EINVAL
    assert evaluator.run("f", b"", 9, b"XY", 2, 0, packet=b"abcdef").value == -errno.EFAULT
    assert call("xdp_get_buff_len", "%c: ptr<ctx, u8>", "%c").run("f", b"", packet=b"abc", meta=b"12345678").value == 3


@settings(max_examples=100, deadline=None)
@given(st.binary(min_size=8, max_size=8), st.binary(min_size=8, max_size=8))
def test_checksum_of_a_change(before, after):
    """Changing the data and adding the difference gives the checksum of the new data."""

    def ones(data):
        total = sum(struct.unpack(f"<{len(data) // 2}H", data))
        while total >> 16:
            total = (total & 0xFFFF) + (total >> 16)
        return total

    evaluator = call(
        "csum_diff", "%a: ptr<mem, bytes>, %n: u32, %b: ptr<mem, bytes>, %m: u32, %s: u32", "%a, %n, %b, %m, %s", "s64"
    )
    got = evaluator.call("f", before, 8, after, 8, ones(before))
    assert got % 0xFFFF == ones(after) % 0xFFFF
    assert evaluator.call("f", before, 6, after, 8, 0) == -errno.EINVAL


def test_redirects():
    text = """
    map @d: devmap {key=u32, value=u32, max_entries=4}
    function program @f(%ctx: ptr<ctx, u8>, %key: u64, %flags: u64) -> s64 {
      section "xdp"
    ^entry: %m: map = map.ref; map=@d
      %r: s64 = helper %m, %key, %flags; name="redirect_map"
      ret %r
    }
    function program @g(%ctx: ptr<ctx, u8>) -> s64 {
      section "SECTION"
    ^entry: %i: u32 = const; value=3
      %z: u64 = const; value=0
      %r: s64 = helper %i, %z; name="redirect"
      ret %r
    }"""
    evaluator = build(text.replace("SECTION", "xdp"))
    evaluator.maps["d"][1] = 12
    assert evaluator.run("f", b"", 1, 2).value == 4
    assert evaluator.run("f", b"", 1, 2).redirects == [("d", 1)]
    assert evaluator.run("f", b"", 0, 2).value == 2 and evaluator.run("f", b"", 0, 2).redirects == []
    assert (evaluator.run("g").value, evaluator.run("g").redirects) == (4, [("", 3)])
    assert build(text.replace("SECTION", "tc")).run("g").value == 7


def test_the_evaluator_does_not_change_the_module():
    from osmia.compiler.text import print_module

    text = 'module "m" license "GPL"\nglobal @g: u64 in ".bss"\nfunction inline @f(%a: u64) -> u64 {\n' + (
        "^e: %p: ptr<global, u64> = global.addr; name=@g\n store %p, %a\n ret %a\n}"
    )
    module = parse_module(text)
    before = print_module(module)
    from osmia.compiler.evaluate import Evaluator

    first, second = Evaluator(module), Evaluator(module)
    first.call("f", 5)
    assert (first.globals["g"], second.globals["g"]) == (5, 0) and print_module(module) == before
