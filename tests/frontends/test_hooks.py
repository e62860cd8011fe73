"""Hooks: sections, groups of targets, parameters, verdicts, the process filter; every hook loads into the kernel."""

import pytest

CONTEXT_PROGRAM = """
from osmia.ktypes import task_struct, linux_binprm
out = prog.var(Array[u64, 8])
"""

LOADABLE = {
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
