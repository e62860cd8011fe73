"""Hooks: sections, groups of targets, parameters, verdicts, the process filter; every hook loads into the kernel."""

import pytest

CONTEXT_PROGRAM = """
from osmia.ktypes import task_struct, linux_binprm
out = prog.var(Array[u64, 8])
"""

LOADABLE = {
    "perf ring": r"""
@prog.event
class E:
    a: u32
    name: Char[16]

p = prog.perf_ring(E)

@prog.profile(hz=9)
def f(ctx: PerfContext) -> None:
    if p.submit(ctx, E(a=pid(), name=comm())):
        out.value[0] += 1
""",
    "hash of maps": r"""
inner = prog.array(u64, 4)
outer = prog.hash_of_maps(u32, inner, contents={7: inner})

@prog.raw_tracepoint("sched_switch")
def f() -> None:
    m = outer.get(7)
    if m is not None:
        m[1] += 5
        out.value[0] = m[2]
""",
    "longest prefix": r"""
@prog.struct
class Prefix:
    length: u32
    address: u32

t = prog.lpm_trie(Prefix, u64)

@prog.raw_tracepoint("sched_switch")
def f() -> None:
    v = t.get(Prefix(length=32, address=htonl(0x0A000001)))
    if v is not None:
        out.value[0] = v
""",
    "cgroup array": r"""
c = prog.cgroup_array(4)

@prog.raw_tracepoint("sched_switch")
def f() -> None:
    if c.has_current(0):
        out.value[0] += 1
""",
    "socket hash": r"""
s = prog.sockhash(u32)

@prog.sk_skb("verdict")
def f(skb: SkbContext) -> int:
    return s.redirect(skb, 5)
""",
    "socket lookup": r"""
from osmia.helpers import bpf_sk_lookup_tcp, bpf_sk_release

@prog.struct
class Tuple4:
    saddr: u32
    daddr: u32
    sport: u16
    dport: u16

@prog.tc("ingress")
def f(skb: SkbContext) -> int:
    key = Tuple4(saddr=1, daddr=2, sport=3, dport=4)
    sk = bpf_sk_lookup_tcp(skb, key, 12, 0, 0)
    if sk is not None:
        out.value[0] = sk.state
        bpf_sk_release(sk)
    return TC_ACT_OK
""",
    "text in place": r"""
@prog.event
class E:
    a: u32
    path: Char[256]
    name: Char[16]
    raw: Bytes[8]

r = prog.ring(E)

@prog.tracepoint("syscalls:sys_enter_openat")
def f(args: TracepointArgs) -> None:
    e = r.reserve()
    if e is None:
        return
    e.path = user_str(args.filename)
    e.name = comm()
    e.raw = user_bytes(args.filename, min(args.flags, 8))
    r.submit(e)
""",
    "kprobe": r"""
@prog.kprobe("vfs_read")
def f(file: u64, buffer: u64) -> None:
    out.value[0] = file + buffer
""",
    "tracepoint": r"""
@prog.tracepoint("sched:sched_switch")
def f(args: TracepointArgs) -> None:
    out.value[0] = args.prev_pid
    if args.prev_comm == "x":
        out.value[1] = args.prev_state
""",
    "tracepoint without argument": r"""
@prog.tracepoint("sched:*")
def f() -> None:
    out.value[0] += 1
""",
    "dynamic text": r"""
@prog.tracepoint("sched:sched_process_exec")
def f(args: TracepointArgs) -> None:
    if args.filename.startswith("/bin"):
        out.value[0] = args.old_pid
""",
    "syscall entry": r"""
@prog.tracepoint("syscalls:sys_enter_openat", "syscalls:sys_enter_open")
def f(args: TracepointArgs) -> None:
    out.value[0] = args.filename + args.flags + args.mode
""",
    "syscall exit": r"""
@prog.tracepoint("syscalls:sys_exit_openat", "syscalls:sys_exit_read")
def f(args: TracepointArgs) -> None:
    out.value[0] = args.ret
""",
    "raw syscalls": r"""
@prog.tracepoint("raw_syscalls:sys_enter")
def f(args: TracepointArgs) -> None:
    out.value[0] = args.args[1] + args.id
""",
    "raw tracepoint": r"""
@prog.raw_tracepoint("sched_switch")
def f(preempt: bool, prev: task_struct, next: task_struct) -> None:
    out.value[0] = prev.real_parent.tgid + next.pid
    if preempt:
        out.value[1] = 1
""",
    "raw tracepoint args": r"""
@prog.raw_tracepoint("sched_process_exec")
def f(args: RawArgs) -> None:
    out.value[0] = args[1] + args[0].tgid
""",
    "BTF tracepoint": r"""
@prog.btf_tracepoint("sched_switch")
def f(preempt: bool, prev: task_struct, next: task_struct) -> None:
    out.value[0] = prev.real_parent.tgid + next.signal.nr_threads
    if next.mm is not None and next.comm != "x":
        out.value[1] = next.mm.arg_start
""",
    "kernel array": r"""
@prog.btf_tracepoint("sched_switch")
def f(preempt: bool, prev: task_struct, next: task_struct) -> None:
    i: u32 = pid() % 3
    out.value[0] = prev.rt.time_slice + prev.cpus_mask.bits[0] + prev.cpus_mask.bits[i]
""",
    "bitfield": r"""
@prog.btf_tracepoint("sched_switch")
def f(preempt: bool, prev: task_struct, next: task_struct) -> None:
    out.value[0] = prev.in_execve + prev.sched_reset_on_fork
""",
    "uprobe": r"""
@prog.uprobe("/bin/bash", "readline")
def f(prompt: u64, second: s32) -> None:
    out.value[0] = prompt + second
""",
    "uprobe registers": r"""
@prog.uprobe("/bin/bash", "readline")
def f(regs: PtRegs) -> None:
    out.value[0] = regs.arg(0) + regs.arg(7) + regs.ip + regs.sp
""",
    "sleepable uprobe": r"""
@prog.uprobe("/bin/bash", "readline", sleepable=True)
def f(prompt: u64) -> None:
    out.value[0] = user_read(prompt, u64)
""",
    "uretprobe": r"""
@prog.uretprobe("/bin/bash", "readline")
def f(line: u64) -> None:
    out.value[0] = line
""",
    "usdt": r"""
@prog.usdt("/bin/bash", "a", "b")
def f(x: u64, y: s32) -> None:
    out.value[0] = x + y
""",
    "usdt args": r"""
@prog.usdt("/bin/bash", "a", "b")
def f(args: UsdtArgs) -> None:
    out.value[0] = args.arg(1)
""",
    "profile": r"""
stacks = prog.stack_trace()
@prog.profile(hz=99)
def f(ctx: PerfContext) -> None:
    out.value[0] = ctx.sample_period + ctx.ip + ctx.addr + kstack(stacks) + ustack(stacks)
""",
    "software": r"""
@prog.software("page-faults", 100)
def f() -> None:
    out.value[0] += 1
""",
    "hardware": r"""
@prog.hardware("cache-misses")
def f() -> None:
    out.value[0] += 1
""",
    "interval": r"""
@prog.interval(seconds=1)
def f() -> None:
    out.value[0] += 1
""",
    "begin": r"""
@prog.begin
def f() -> None:
    out.value[0] += 1
""",
    "iterator": r"""
@prog.iter("task")
def f(ctx: IterContext) -> None:
    task = ctx.task
    if task is None:
        return
    seq_print(f"{task.tgid} {task.comm} {ctx.meta.seq_num:x}\n")
""",
    "iterator of files": r"""
@prog.iter("task_file")
def f(ctx: IterContext) -> None:
    file = ctx.file
    if file is None:
        return
    seq_print(f"{ctx.fd} {file.f_flags}\n")
""",
    "iterator of a map": r"""
m = prog.hash(u32, u64)
@prog.iter("bpf_map_elem", map=m)
def f(ctx: IterContext) -> None:
    key = ctx.key
    value = ctx.value
    if key is None or value is None:
        return
    seq_print(f"{key} {value}\n")
""",
    "xdp": r"""
@prog.xdp(frags=True)
def f(ctx: XdpContext) -> int:
    out.value[0] = ctx.ingress_ifindex
    return XDP_PASS
""",
    "tc": r"""
@prog.tc("egress")
def f(skb: SkbContext) -> int:
    out.value[0] = skb.ifindex
    skb.priority = 5
    return TC_ACT_OK
""",
    "cgroup skb": r"""
@prog.cgroup("skb/egress")
def f(skb: SkbContext) -> int:
    out.value[0] = skb.len
    return 1
""",
    "connect4": r"""
@prog.cgroup("connect4")
def f(ctx: SockAddrContext) -> int:
    if ctx.user_port == htons(80):
        ctx.user_ip4 = htonl(0x7F000001)
    return 1
""",
    "bind6": r"""
@prog.cgroup("sock_addr/bind6")
def f(ctx: SockAddrContext) -> int:
    out.value[0] = ctx.user_ip6[3]
    return 1
""",
    "sock_create": r"""
@prog.cgroup("sock_create")
def f(ctx: SockContext) -> int:
    out.value[0] = ctx.family + ctx.type
    ctx.mark = 3
    return 1
""",
    "sockops": r"""
@prog.cgroup("sockops")
def f(ctx: SockOpsContext) -> int:
    out.value[0] = ctx.op + ctx.args[0] + ctx.remote_port
    sk = ctx.sk
    if sk is not None:
        out.value[1] = sk.state
    return 1
""",
    "getsockopt": r"""
@prog.cgroup("getsockopt")
def f(ctx: SockoptContext) -> int:
    out.value[0] = ctx.level
    ctx.retval = 0
    return 1
""",
    "sysctl": r"""
@prog.cgroup("sysctl")
def f(ctx: SysctlContext) -> int:
    out.value[0] = ctx.write
    return 1
""",
    "device": r"""
@prog.cgroup("device")
def f(ctx: DeviceContext) -> int:
    return 1 if ctx.major != 1 else 0
""",
    "socket_filter": r"""
@prog.socket_filter
def f(skb: SkbContext) -> int:
    return skb.len
""",
    "sk_lookup": r"""
@prog.sk_lookup
def f(ctx: SkLookupContext) -> int:
    return SK_PASS if ctx.local_port == 80 else SK_DROP
""",
    "sk_skb": r"""
@prog.sk_skb("stream_verdict")
def f(skb: SkbContext) -> int:
    return SK_PASS
""",
    "sk_msg": r"""
s = prog.sockmap(4)
@prog.sk_msg()
def f(ctx: SkMsgContext) -> int:
    head = ctx.packet(u32)
    if head is not None and head == 5:
        return s.redirect(ctx, 1)
    return SK_PASS
""",
    "redirection": r"""
d = prog.devmap(8)
@prog.xdp
def f(ctx: XdpContext) -> int:
    return d.redirect(ctx.rx_queue_index, flags=XDP_PASS)
""",
    "task storage": r"""
s = prog.task_storage(u64)
@prog.btf_tracepoint("sched_switch")
def f(preempt: bool, prev: task_struct, next: task_struct) -> None:
    v = s.get_or_create(next)
    if v is not None:
        out.value[0] = v
""",
    "several targets": r"""
@prog.btf_tracepoint("sched_wakeup", "sched_wakeup_new", subject=None)
def f(task: task_struct) -> None:
    if selected(task.tgid):
        out.value[0] += 1
""",
    "helper by name": r"""
from osmia.helpers import bpf_get_prandom_u32, bpf_get_current_comm, bpf_probe_read_kernel
@prog.raw_tracepoint("sched_switch")
def f(preempt: bool, prev: task_struct) -> None:
    name: Char[16] = ""
    bpf_get_current_comm(name)
    out.value[0] = bpf_get_prandom_u32()
    n: Array[u64, 2] = [0, 0]
    bpf_probe_read_kernel(n, 8, prev)
""",
    "kconfig and ksym": r"""
@prog.raw_tracepoint("sched_switch")
def f() -> None:
    out.value[0] = kconfig("CONFIG_HZ", u32) + ksym("init_task", weak=True)
""",
    "kfunc": r"""
@prog.kfunc
def bpf_task_from_pid(pid: s32) -> task_struct: ...
@prog.kfunc
def bpf_task_release(p: task_struct) -> None: ...
@prog.kfunc(weak=True)
def bpf_no_such_function(x: u32) -> u32: ...
@prog.btf_tracepoint("sched_switch")
def f() -> None:
    t = bpf_task_from_pid(1)
    if t is None:
        return
    out.value[0] = t.tgid
    bpf_task_release(t)
    if exists(bpf_no_such_function):
        out.value[1] = bpf_no_such_function(1)
""",
    "attach cookie": r"""
@prog.uprobe("/bin/bash", "readline")
def f() -> None:
    out.value[0] = attach_cookie() + func_ip()
""",
    "user pointer": r"""
@prog.btf_tracepoint("sys_enter", subject=None)
def f(regs: Any, id: s64) -> None:
    out.value[0] = regs.di + id
""",
    "gid and cgroup": r"""
@prog.tracepoint("sched:sched_switch")
def f() -> None:
    out.value[0] = gid() + cgroup_id() + cpu() + numa_node() + ktime_ns() + boot_ns() + tai_ns() + jiffies()
    out.value[1] = random_u32() + ancestor_cgroup_id(1)
""",
}


@pytest.mark.kernel
@pytest.mark.parametrize("name", LOADABLE)
def test_every_hook_loads(sample, name):
    made = sample(CONTEXT_PROGRAM + LOADABLE[name])
    with made.program.open(attach=False, cache=False, interface="lo"):
        pass


COMPILED = {
    '@prog.fentry("vfs_read")\ndef f(file: Any, buffer: u64) -> None:\n    out.value[0] = file.f_flags + buffer\n': "fentry/vfs_read",
    '@prog.fexit("vfs_read")\ndef f(file: Any, buffer: u64, count: u64, pos: Any, ret: s64) -> None:\n    out.value[0] = ret\n': "fexit/vfs_read",
    '@prog.fexit("vfs_read", sleepable=True)\ndef f(args: RawArgs) -> None:\n    out.value[0] = args[4]\n': "fexit.s/vfs_read",
    '@prog.lsm("file_open")\ndef f(file: Any) -> int:\n    return 0 if file.f_flags else -13\n': "lsm/file_open",
    '@prog.kretprobe("vfs_read")\ndef f(result: s64) -> None:\n    out.value[0] = result\n': "kretprobe/vfs_read",
    '@prog.tracepoint("sched:sched_switch")\ndef f() -> None:\n    pass\n': "tracepoint/sched/sched_switch",
    '@prog.tracepoint("sched:*")\ndef f() -> None:\n    pass\n': "tracepoint",
    '@prog.raw_tracepoint("sched_switch")\ndef f() -> None:\n    pass\n': "raw_tracepoint/sched_switch",
    '@prog.btf_tracepoint("sched_switch")\ndef f() -> None:\n    pass\n': "tp_btf/sched_switch",
    '@prog.uprobe("/bin/bash", "main", offset=4)\ndef f() -> None:\n    pass\n': "uprobe//bin/bash:main+0x4",
    '@prog.uprobe("/bin/bash", "main", sleepable=True)\ndef f() -> None:\n    pass\n': "uprobe.s//bin/bash:main",
    '@prog.iter("task")\ndef f() -> None:\n    pass\n': "iter/task",
    "@prog.xdp(frags=True)\ndef f(ctx: XdpContext) -> int:\n    return 2\n": "xdp.frags",
    '@prog.cgroup("skb/egress")\ndef f(skb: SkbContext) -> int:\n    return 1\n': "cgroup_skb/egress",
    '@prog.cgroup("connect6")\ndef f(ctx: SockAddrContext) -> int:\n    return 1\n': "cgroup/connect6",
    "@prog.syscall\ndef f() -> int:\n    return 1\n": "syscall",
    "@prog.end\ndef f() -> None:\n    pass\n": "raw_tracepoint",
}


@pytest.mark.parametrize("text", COMPILED)
def test_sections(sample, btf, text):
    function = sample(CONTEXT_PROGRAM + text).ir(btf).functions["f"]
    assert function.section == COMPILED[text]
    assert function.kind == "program"
    assert function.hook.kind in text
    assert function.sleepable == ("sleepable" in text or "syscall" in text)


def test_targets_with_equal_arguments_share_a_program(sample, btf):
    made = sample(
        """
out = prog.var(u64)

@prog.tracepoint("syscalls:sys_enter_openat", "syscalls:sys_enter_open", "syscalls:sys_enter_creat", "syscalls:sys_exit_read",
                 "syscalls:sys_exit_write")
def f(args: TracepointArgs) -> None:
    out.value = args.id

@prog.tracepoint("sched:sched_wakeup", "sched:sched_wakeup_new", "sched:sched_switch")
def g() -> None:
    out.value += 1

@prog.raw_tracepoint("sched_wakeup", "sched_wakeup_new")
def h(task: Any) -> None:
    out.value = task.pid
"""
    )
    programs = {name: function.hook for name, function in made.ir(btf).functions.items() if function.kind == "program"}
    shown = {name: (hook.target, hook.options.get("targets")) for name, hook in programs.items() if name[0] in "fgh"}
    assert shown == {
        "f": ("syscalls:sys_enter_openat", None),
        "f_2": ("syscalls:sys_enter_open", None),
        "f_3": ("syscalls:sys_enter_creat", None),
        "f_4": ("syscalls:sys_exit_read", ("syscalls:sys_exit_read", "syscalls:sys_exit_write")),
        "g": ("sched:sched_wakeup", ("sched:sched_wakeup", "sched:sched_wakeup_new", "sched:sched_switch")),
        "h": ("sched_wakeup", ("sched_wakeup", "sched_wakeup_new")),
    }


FILTERED = """
seen = prog.var(u64)
others = prog.var(u64)

@prog.raw_tracepoint("sched_switch")
def f() -> None:
    seen.value += 1

@prog.raw_tracepoint("sched_switch", subject=None)
def g() -> None:
    if selected(77):
        others.value += 1
"""
SELF, PID, TID, CGROUP, COMM, TREE, PIDNS = (1 << bit for bit in range(7))


@pytest.mark.parametrize(
    ("settings", "task", "passes"),
    [
        ({}, {}, True),
        ({"flags": SELF, "self_tgid": 1000}, {}, False),
        ({"flags": SELF, "self_tgid": 1001}, {}, True),
        ({"flags": PID, "pid": 1000}, {}, True),
        ({"flags": PID, "pid": 1001}, {}, False),
        ({"flags": TID, "tid": 1005}, {"tid": 1005}, True),
        ({"flags": TID, "tid": 1005}, {"tid": 1006}, False),
        ({"flags": COMM, "comm": "bash"}, {"comm": "bash"}, True),
        ({"flags": COMM, "comm": "bash"}, {"comm": "bas"}, False),
        ({"flags": CGROUP, "cgroup_id": 7, "cgroup_level": 1}, {"cgroups": (1, 7, 9)}, True),
        ({"flags": CGROUP, "cgroup_id": 9, "cgroup_level": 1}, {"cgroups": (1, 7, 9)}, False),
        ({"flags": TREE}, {}, False),
        ({"flags": TREE | SELF, "self_tgid": 5}, {"pid": 42}, True),
        ({"flags": PID | COMM, "pid": 1000, "comm": "x"}, {}, False),
    ],
)
def test_the_process_filter(sample, settings, task, passes):
    evaluator = sample(FILTERED).evaluator(**task)
    zero = {
        "flags": 0,
        "self_tgid": 0,
        "pid": 0,
        "tid": 0,
        "cgroup_level": 0,
        "cgroup_id": 0,
        "comm": "",
        "pidns_dev": 0,
        "pidns_ino": 0,
    }
    evaluator.globals["osmia_filter"] = {**zero, **settings}
    evaluator.maps["osmia_tree"][42] = 1
    evaluator.run("f")
    assert evaluator.globals["seen"] == passes


def test_selected_asks_about_a_process(sample):
    evaluator = sample(FILTERED).evaluator()
    evaluator.run("g")
    assert evaluator.globals["others"] == 1
    zero = {
        "self_tgid": 0,
        "pid": 76,
        "tid": 0,
        "cgroup_level": 0,
        "cgroup_id": 0,
        "comm": "",
        "pidns_dev": 0,
        "pidns_ino": 0,
    }
    evaluator.globals["osmia_filter"] = {"flags": PID, **zero}
    evaluator.run("g")
    assert evaluator.globals["others"] == 1
    evaluator.globals["osmia_filter"] = {**zero, "flags": PID, "pid": 77}
    evaluator.run("g")
    assert evaluator.globals["others"] == 2


def test_filter_bits_are_those_of_the_session():
    from osmia.lang import prelude
    from osmia.object.layout import Struct
    from osmia.runtime import filters

    for name in ("SELF", "PID", "TID", "CGROUP", "COMM", "TREE", "PIDNS"):
        assert getattr(prelude, name) == getattr(filters, name)
    assert prelude.osmia_filter.name == filters.VARIABLE
    assert prelude.osmia_tree.name == filters.TREE_MAP
    assert isinstance(prelude.osmia_filter.layout, Struct)
    from osmia.frontends.python.globals import OPTION_PREFIX

    assert filters.OPTION_PREFIX == OPTION_PREFIX


@pytest.mark.kernel
def test_only_selected_events_reach_a_real_program(sample):
    import os
    import time

    made = sample(
        """
mine = prog.var(u64)
all_of_them = prog.var(u64)

@prog.tracepoint("syscalls:sys_enter_getppid")
def f() -> None:
    mine.value += 1

@prog.tracepoint("syscalls:sys_enter_getppid", subject=None)
def g() -> None:
    if pid() == ME:
        all_of_them.value += 1
""".replace("ME", str(os.getpid()))
    )
    with made.program.open(cache=False, pid=os.getpid()) as session:
        for _ in range(100):
            os.getppid()
        time.sleep(0.05)
        assert (made.mine.value, made.all_of_them.value) == (0, 100)
    with made.program.open(cache=False, include_self=True, pid=os.getpid()) as session:
        for _ in range(100):
            os.getppid()
        assert session is not None
        assert made.mine.value == 100
