"""Running programs once in the kernel."""

import struct

import pytest

from osmia.diagnostics import LoadError, UnsupportedFeature
from osmia.kernel.cpu import online
from osmia.kernel.test_run import TestResult

pytestmark = pytest.mark.kernel
PACKET = bytes.fromhex("ffffffffffff020000000001") + b"\x08\x00" + bytes(50)


def one(kit, kind, text, **rest):
    return kit.load(kit.spec("p", kind, text, **rest)).programs["p"]


def test_result_and_duration(kit):
    program = one(kit, "socket_filter", "r0 = *(u32 *)(r1 + 0)\nexit")
    result = program.test_run(PACKET, repeat=100)
    assert isinstance(result, TestResult) and result.retval == len(PACKET) - 14 and result.duration_ns >= 0


def test_signed_results(kit):
    assert one(kit, "raw_tracepoint", "r0 = -5\nexit").test_run().signed == -5
    assert one(kit, "raw_tracepoint", "r0 = 5\nexit").test_run().signed == 5


def test_packets_come_back(kit):
    text = """
        r2 = *(u32 *)(r1 + 0)
        r3 = *(u32 *)(r1 + 4)
        r0 = 1
        r4 = r2
        r4 += 14
        if r4 > r3 goto out
        *(u8 *)(r2 + 0) = 0xab
        r0 = 3
    out:
        exit
    """
    result = one(kit, "xdp", text).test_run(PACKET)
    assert result.retval == 3 and result.data == b"\xab" + PACKET[1:]


def test_contexts_go_in_and_come_back(kit):
    text = """
        r0 = *(u32 *)(r1 + 8)
        *(u32 *)(r1 + 8) = 77
        exit
    """
    mark = struct.pack("<III", 0, 0, 42).ljust(192, b"\0")
    result = one(kit, "sched_cls", text).test_run(PACKET, context=mark)
    assert result.retval == 42 and struct.unpack_from("<I", result.context, 8)[0] == 77


def test_raw_tracepoint_arguments_and_cpus(kit):
    program = one(kit, "raw_tracepoint", "r0 = *(u64 *)(r1 + 8)\nexit")
    assert program.test_run(context=struct.pack("<QQ", 1, 99)).retval == 99
    cpu = one(kit, "raw_tracepoint", "call get_smp_processor_id\nexit")
    for number in online():
        assert cpu.test_run(cpu=number).retval == number


def test_system_call_programs(kit):
    text = """
        r0 = *(u32 *)(r1 + 0)
        *(u32 *)(r1 + 4) = 5
        exit
    """
    program = one(kit, "syscall", text, flags=16)
    result = program.test_run(context=struct.pack("<II", 8, 0))
    assert result.retval == 8 and result.context == struct.pack("<II", 8, 5)


def test_types_that_cannot_be_run(kit):
    program = one(kit, "tracepoint", "r0 = 0\nexit")
    with pytest.raises(UnsupportedFeature) as caught:
        program.test_run()
    assert caught.value.code == "KRN031" and "xdp" in caught.value.hint


def test_bad_input(kit):
    program = one(kit, "socket_filter", "r0 = 0\nexit")
    with pytest.raises(LoadError) as caught:
        program.test_run(b"short")
    assert caught.value.code == "KRN032" and "14 bytes" in caught.value.message
    with pytest.raises(LoadError) as caught:
        program.test_run(PACKET, context=b"\xff" * 192)
    assert caught.value.code == "KRN032"
    with pytest.raises(LoadError) as caught:
        one(kit, "raw_tracepoint", "r0 = 0\nexit").test_run(cpu=9999)
    assert caught.value.code == "KRN032"
