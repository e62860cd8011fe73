from __future__ import annotations

import pytest

from osmia.abi import contexts, registers
from osmia.abi.prog_types import prog_types
from osmia.diagnostics import UsageError


def test_a_context_with_its_fields():
    row = contexts.context("xdp")
    assert (row.name, row.size, row.kind, row.version) == ("xdp_md", 24, "context", (4, 8))
    assert list(row.fields) == ["data", "data_end", "data_meta", "ingress_ifindex", "rx_queue_index", "egress_ifindex"]
    data = row.field("data")
    assert (data.offset, data.size, data.signed, data.ctype, data.gives) == (0, 4, False, "__u32", "pkt")
    assert data.readable("xdp")
    assert not data.writable("xdp")
    assert not data.readable("sched_cls")
    egress = row.field("egress_ifindex")
    assert egress.version == (5, 8)
    assert egress.readable("xdp", "xdp_devmap")
    assert not egress.readable("xdp", "xdp_cpumap")


def test_access_depends_on_the_program_type():
    skb = contexts.struct("__sk_buff")
    assert skb.field("mark").writable("sched_cls")
    assert not skb.field("mark").writable("socket_filter")
    assert skb.field("family").readable("sk_skb")
    assert not skb.field("family").readable("sched_cls")
    assert skb.field("cb").count == 5
    assert skb.field("cb").element_size == 4
    assert skb.field("sk").gives == "sock_common_or_null"
    addr = contexts.struct("bpf_sock_addr")
    assert addr.field("user_ip6").writable("cgroup_sock_addr")
    assert addr.field("user_ip6").writable("cgroup_sock_addr", "cgroup_inet6_connect")
    assert not addr.field("user_ip6").writable("cgroup_sock_addr", "cgroup_inet4_connect")


def test_program_types_without_a_struct_have_no_context():
    assert contexts.context("tracepoint") is None
    assert contexts.context("lsm") is None
    assert contexts.context("kprobe").name == "pt_regs"
    for row in prog_types():
        struct = contexts.context(row.name)
        assert (struct is None) == (not row.context or row.context == "u32"), row


def test_unknown_structs_and_fields_are_refused():
    with pytest.raises(UsageError) as refused:
        contexts.struct("sk_buf")
    assert refused.value.code == "ABI008"
    with pytest.raises(UsageError) as refused:
        contexts.struct("xdp_md").field("data_ent")
    assert refused.value.code == "ABI008"
    assert "data_end" in refused.value.hint
    with pytest.raises(UsageError) as refused:
        contexts.iterator("nothing")
    assert refused.value.code == "ABI008"


def test_bitfields():
    attr = contexts.struct("perf_event_attr")
    enable = attr.field("enable_on_exec")
    assert (enable.offset, enable.size, enable.bit, enable.bits) == (40, 8, 12, 1)
    precise = attr.field("precise_ip")
    assert (precise.bit, precise.bits) == (15, 2)


def test_fields_lie_inside_their_struct_and_programs_exist():
    names = {row.name for row in prog_types()}
    for struct in contexts.structs():
        for field in struct.fields.values():
            assert field.offset + field.size <= struct.size or struct.size == 0, (struct, field)
            assert field.version >= struct.version
            assert not field.count or field.size % field.count == 0
            assert (field.bits == 0) or field.bit + field.bits <= field.size * 8
            for who in (*field.readers, *field.writers):
                assert who.split("/")[0] in names
            assert bool(field.gives) == bool(field.readers)


def test_layouts_are_those_of_the_kernels_btf(btf, known_kernel):
    from make_contexts import fields_of

    compared = 0
    for struct in contexts.structs():
        type_id = btf.find("struct", struct.name)
        if not type_id:
            continue
        theirs = {field[0]: field[1:] for field in fields_of(btf, type_id)}
        for name, field in struct.fields.items():
            if struct.name == "pt_regs" and registers.machine().name != "x86_64":
                continue
            assert name in theirs, (struct, name)
            offset, size, count, signed, ctype, bit, bits = theirs[name]
            ours = (field.offset, field.size, field.count, field.signed, field.ctype, field.bit, field.bits)
            assert ours == (offset, size, count, signed, ctype, bit, bits), (struct, name)
            compared += 1
    assert compared > 400


@pytest.mark.kernel
@pytest.mark.parametrize("name", ["xdp_md", "__sk_buff", "bpf_sock_addr", "bpf_sock", "bpf_sockopt", "bpf_sk_lookup"])
def test_the_verifier_agrees_on_access(prober, probed_kernel, name):
    from kernel_btf import kernel
    from make_contexts import CONTEXTS, Access, fields_of

    access = Access()
    programs = access.programs(CONTEXTS[name][1])
    struct = contexts.struct(name)
    for field in fields_of(kernel(), kernel().find("struct", name)):
        gives, readers, writers = access.ask(field, programs)
        ours = struct.field(field[0])
        assert (ours.gives, ours.readers, ours.writers) == (gives, readers, writers), field[0]


@pytest.mark.kernel
def test_the_verifier_refuses_an_access_that_the_table_does_not_allow(prober, probed_kernel):
    """The question itself can fail: a read past the end is refused."""
    from make_contexts import Access

    access = Access()
    gives, readers, writers = access.ask(("beyond", 24, 4, 0, False, "__u32", 0, 0), access.programs("xdp"))
    assert (gives, readers, writers) == ("", (), ())


def test_x86_registers_are_those_of_pt_regs(btf, known_kernel):
    if registers.machine().name != "x86_64":
        pytest.skip("BTF describes the running machine")
    theirs = {name: bit // 8 for name, _, bit, _ in btf.members(btf.find("struct", "pt_regs")) if name}
    ours = registers.machine("x86_64").registers
    for name, offset in ours.items():
        if name in theirs:
            assert theirs[name] == offset
    assert set(ours) - set(theirs) <= {"cs", "ss"}  # unions with wider names on newer kernels
    assert registers.machine("x86_64").size == btf.sizeof(btf.find("struct", "pt_regs"))


def test_calling_conventions():
    x86 = registers.machine("x86_64")
    assert [x86.offset(name) for name in x86.args] == [112, 104, 96, 88, 72, 64]
    assert x86.syscall_args[3] == "r10"
    assert (x86.offset(x86.result), x86.offset(x86.ip), x86.offset(x86.sp)) == (80, 128, 152)
    arm = registers.machine("arm64")
    assert arm is registers.machine("aarch64")
    assert (arm.size, arm.offset("x30"), arm.offset("pc")) == (272, 240, 256)
    assert len(arm.args) == 8
    for machine in (x86, arm):
        for name in (*machine.args, *machine.syscall_args, machine.result, machine.ip, machine.sp, machine.fp):
            machine.offset(name)


def test_other_machines_and_registers_are_refused():
    with pytest.raises(UsageError) as refused:
        registers.machine("riscv64")
    assert refused.value.code == "ABI012"
    with pytest.raises(UsageError) as refused:
        registers.machine("x86_64").offset("rax")
    assert refused.value.code == "ABI008"
