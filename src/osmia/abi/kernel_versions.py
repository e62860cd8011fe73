"""Kernel features and the release each came in.

Made by hand from the kernel's history: the version is the release that first contained the commit. A version says
what a mainline kernel has; distributions carry features back and configuration takes them away, so every row names the
probe that can tell for the kernel at hand, and a probe that contradicts its version on a mainline kernel is an error in
one of the two.
"""

from __future__ import annotations

from osmia.abi._table import Version, suggest, version_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

NEWEST: Version = (7, 2)
"""The newest release whose uapi headers the tables were made from."""
PROBED: Version = (6, 18)
"""The release whose running kernel was asked."""


class Feature:
    """One feature.

    :ivar name: short, lower case. :ivar version: release it came in.
    :ivar probe: kind of the probe that confirms it: ``map_type``, ``prog_type``, ``attach_type``, ``helper``,
        ``link_type``,
        ``command``, ``map_flag``, ``load_flag`` (each with ``subject``), ``instruction`` (loads a program that has it),
        ``program`` (loads a program that needs it), ``btf_load`` (loads BTF with a kind), ``btf_type`` (kernel's BTF
        has a type,
        or enumerator), ``kfunc``, ``file`` (a file exists), ``capability`` (the kernel knows the number), ``config``.
    :ivar subject: what the probe asks for: a name of the probe's table, a kind, a path.
    :ivar summary: what it is, one line.
    """

    __slots__ = ("name", "probe", "subject", "summary", "version")

    def __init__(self, name: str, version: Version, probe: str, subject: str, summary: str) -> None:
        self.name = name
        self.version = version
        self.probe = probe
        self.subject = subject
        self.summary = summary

    def __repr__(self) -> str:
        return f"Feature({self.name!r}, {version_text(self.version)})"


_ROWS = (
    # The system call and what is loaded with it.
    ("bpf_syscall", (3, 18), "command", "map_create", "the bpf(2) system call"),
    ("pinning", (4, 4), "command", "obj_pin", "programs and maps pinned in a BPF file system"),
    ("object_names", (4, 15), "program", "name", "names of programs and maps"),
    ("object_ids", (4, 13), "command", "prog_get_next_id", "programs and maps listed by id"),
    ("test_run", (4, 12), "command", "prog_test_run", "programs run from user space on given input"),
    ("btf", (4, 18), "command", "btf_load", "BTF loaded with maps and programs"),
    ("func_info", (5, 0), "program", "func_info", "function information of programs in BTF"),
    ("line_info", (5, 0), "program", "line_info", "source lines of programs in BTF"),
    ("vmlinux_btf", (5, 4), "file", "/sys/kernel/btf/vmlinux", "the kernel's own BTF, for CO-RE and typed tracing"),
    ("module_btf", (5, 11), "file", "/sys/kernel/btf", "BTF of kernel modules"),
    ("btf_func", (5, 0), "btf_load", "func", "BTF kinds FUNC and FUNC_PROTO"),
    ("btf_datasec", (5, 2), "btf_load", "datasec", "BTF kinds VAR and DATASEC"),
    ("btf_func_global", (5, 6), "btf_load", "func_global", "linkage of functions in BTF"),
    ("btf_float", (5, 13), "btf_load", "float", "BTF kind FLOAT"),
    ("btf_decl_tag", (5, 16), "btf_load", "decl_tag", "BTF kind DECL_TAG"),
    ("btf_type_tag", (5, 17), "btf_load", "type_tag", "BTF kind TYPE_TAG"),
    ("btf_enum64", (6, 0), "btf_load", "enum64", "BTF kind ENUM64"),
    ("core_in_kernel", (5, 17), "program", "core_relo", "CO-RE relocations applied by the kernel"),
    ("run_statistics", (5, 1), "file", "/proc/sys/kernel/bpf_stats_enabled", "run time and count of programs"),
    ("enable_stats_command", (5, 8), "command", "enable_stats", "run statistics switched on by a descriptor"),
    ("cap_bpf", (5, 8), "capability", "39", "CAP_BPF and CAP_PERFMON instead of CAP_SYS_ADMIN"),
    ("memcg_accounting", (5, 11), "program", "memlock", "memory of maps counted by cgroup, not against RLIMIT_MEMLOCK"),
    ("bpf_token", (6, 9), "command", "token_create", "BPF delegated to an unprivileged user by a token"),
    ("streams", (6, 17), "command", "prog_stream_read_by_fd", "text that programs print, read back by program"),
    ("signed_programs", (6, 18), "program", "signature", "signatures of programs checked when loading"),
    ("fd_array_count", (6, 14), "program", "fd_array_cnt", "maps bound to a program by an array of descriptors"),
    ("verifier_log_true_size", (6, 4), "program", "log_true_size", "the kernel says how long its log would have been"),
    ("path_fd", (6, 5), "map_flag", "PATH_FD", "pinning relative to a directory's descriptor"),
    # Instructions and what the verifier understands.
    ("bpf_to_bpf_calls", (4, 16), "instruction", "call_local", "functions inside a program"),
    ("tail_calls", (4, 2), "helper", "tail_call", "jumps to other programs"),
    ("tail_calls_in_functions", (5, 10), "program", "tail_call_in_function", "tail calls from functions (x86-64)"),
    ("jump_lt", (4, 14), "instruction", "jlt", "unsigned and signed less-than jumps (cpu v2)"),
    ("alu32", (5, 1), "instruction", "jmp32", "jumps that compare 32 bits (cpu v3)"),
    ("large_programs", (5, 2), "program", "large", "programs of up to a million instructions instead of 4,096"),
    ("bounded_loops", (5, 3), "program", "bounded_loop", "loops that the verifier can see the end of"),
    ("global_functions", (5, 6), "program", "global_function", "functions verified once, on their own"),
    ("global_data", (5, 2), "program", "map_value", "addresses inside the value of an array map"),
    ("read_only_maps", (5, 2), "command", "map_freeze", "frozen maps, whose contents the verifier takes for constants"),
    ("atomic_fetch", (5, 12), "instruction", "atomic_fetch_add",
    "atomics that return the old value, exchange, compare"),
    ("callbacks", (5, 13), "helper", "for_each_map_elem", "addresses of functions as helper arguments"),
    ("kfuncs", (5, 13), "btf_type", "bpf_kfunc_call_arg_meta", "calls of kernel functions by BTF id"),
    ("kfuncs_in_tracing", (6, 2), "kfunc", "bpf_task_acquire", "kernel functions for tracing programs"),
    ("module_kfuncs", (5, 16), "program", "module_kfunc", "kernel functions of modules"),
    ("bpf_loop", (5, 17), "helper", "loop", "loops by callback, verified once"),
    ("open_coded_iterators", (6, 4), "kfunc", "bpf_iter_num_new", "iterators called in a loop of the program"),
    ("may_goto", (6, 9), "instruction", "may_goto", "loops that the kernel ends after enough rounds"),
    ("cpu_v4", (6, 6), "instruction", "sdiv", "signed division, sign-extending moves and loads, byte swap, long jumps"),
    ("exceptions", (6, 7), "kfunc", "bpf_throw", "programs that end from any depth"),
    ("address_space_cast", (6, 9), "instruction", "addr_space_cast", "pointers into arenas"),
    ("load_acquire", (6, 15), "instruction", "load_acquire", "loads and stores with acquire and release order"),
    ("private_stack", (6, 13), "program", "private_stack", "a stack of their own for tracing programs (x86-64)"),
    ("indirect_jumps", (6, 19), "map_type", "insn_array", "jump tables"),
    # Maps.
    ("ringbuf", (5, 8), "map_type", "ringbuf", "ring buffers shared by all CPUs"),
    ("user_ringbuf", (6, 1), "map_type", "user_ringbuf", "ring buffers from user space to programs"),
    ("mmapable_arrays", (5, 5), "map_flag", "MMAPABLE", "array maps mapped into user space"),
    ("map_batches", (5, 6), "command", "map_lookup_batch", "many map entries read or written by one call"),
    ("lookup_and_delete", (4, 20), "command", "map_lookup_and_delete_elem", "entries taken out of queues and stacks"),
    ("lookup_and_delete_hash", (5, 14), "program", "lookup_and_delete_hash", "entries taken out of hash maps"),
    ("map_in_map", (4, 12), "map_type", "array_of_maps", "maps of maps"),
    ("inner_map_sizes", (5, 10), "map_flag", "INNER_MAP", "inner arrays of different sizes"),
    ("spin_locks", (5, 1), "helper", "spin_lock", "locks in map values"),
    ("timers", (5, 15), "helper", "timer_init", "timers in map values"),
    ("workqueues", (6, 10), "kfunc", "bpf_wq_init", "deferred work, which may sleep, in map values"),
    ("task_work", (6, 18), "kfunc", "bpf_task_work_schedule_signal_impl", "work that runs in a task's own context"),
    ("kptrs", (5, 19), "helper", "kptr_xchg", "kernel pointers in map values"),
    ("dynptrs", (5, 19), "helper", "dynptr_from_mem", "pointers with a length known at run time"),
    ("linked_lists", (6, 2), "kfunc", "bpf_list_push_front_impl", "linked lists of allocated objects"),
    ("rbtrees", (6, 3), "kfunc", "bpf_rbtree_add_impl", "search trees of allocated objects"),
    ("arena", (6, 9), "map_type", "arena", "memory with pointers shared with user space"),
    ("task_storage", (5, 11), "map_type", "task_storage", "values kept for each task"),
    ("cgrp_storage", (6, 2), "map_type", "cgrp_storage", "values kept for each cgroup"),
    ("bloom_filter", (5, 16), "map_type", "bloom_filter", "bloom filters"),
    ("exclusive_maps", (6, 18), "program", "excl_prog_hash", "maps that only one program may use"),
    ("ringbuf_overwrite", (6, 19), "map_flag", "RB_OVERWRITE", "ring buffers that drop the oldest record when full"),
    # Hooks.
    ("kprobe_perf", (4, 1), "prog_type", "kprobe", "programs at kernel and user probes"),
    ("perf_kprobe_pmu", (4, 17), "file", "/sys/bus/event_source/devices/kprobe/type",
    "kprobes made by perf_event_open"),
    ("perf_uprobe_pmu", (4, 17), "file", "/sys/bus/event_source/devices/uprobe/type",
    "uprobes made by perf_event_open"),
    ("usdt_semaphores", (4, 20), "file", "/sys/bus/event_source/devices/uprobe/format/ref_ctr_offset",
     "counters of USDT probes kept by the kernel"),
    ("multiple_per_tracepoint", (4, 15), "command", "prog_query", "several programs at one tracepoint or probe"),
    ("tracepoint", (4, 7), "prog_type", "tracepoint", "programs at tracepoints"),
    ("raw_tracepoint", (4, 17), "prog_type", "raw_tracepoint", "programs at tracepoints with raw arguments"),
    ("perf_event_programs", (4, 9), "prog_type", "perf_event", "programs at samples of perf events"),
    ("btf_tracepoint", (5, 5), "attach_type", "trace_raw_tp", "tracepoints with typed arguments"),
    ("fentry", (5, 5), "attach_type", "trace_fentry", "entry and exit of kernel functions with typed arguments"),
    ("fmod_ret", (5, 7), "attach_type", "modify_return", "return values of kernel functions changed"),
    ("fsession", (7, 0), "attach_type", "trace_fsession", "entry and exit of a kernel function by one program"),
    ("tracing_multi", (7, 2), "link_type", "tracing_multi", "entry and exit of many kernel functions by one link"),
    ("lsm", (5, 7), "prog_type", "lsm", "programs at security hooks"),
    ("lsm_cgroup", (6, 0), "attach_type", "lsm_cgroup", "programs at security hooks, by cgroup"),
    ("iterators", (5, 8), "attach_type", "trace_iter", "programs that walk kernel objects"),
    ("sleepable", (5, 10), "load_flag", "BPF_F_SLEEPABLE", "programs that may sleep"),
    ("sleepable_uprobes", (6, 0), "program", "sleepable_uprobe", "uprobe programs that may sleep"),
    ("links", (5, 7), "command", "link_create", "attachment that ends with its descriptor"),
    ("perf_link", (5, 15), "link_type", "perf_event", "links to perf events, tracepoints and probes"),
    ("cookies", (5, 15), "helper", "get_attach_cookie", "a number per attachment that the program can read"),
    ("tracing_cookies", (5, 19), "program", "tracing_cookie", "cookies of typed tracing programs"),
    ("raw_tracepoint_cookies", (6, 10), "program", "raw_tracepoint_cookie", "cookies of raw and BTF tracepoints"),
    ("kprobe_multi", (5, 18), "attach_type", "trace_kprobe_multi", "one program at many kernel functions"),
    ("uprobe_multi", (6, 6), "attach_type", "trace_uprobe_multi", "one program at many places of a file"),
    ("kprobe_session", (6, 10), "attach_type", "trace_kprobe_session",
    "one program at entry and return of kernel functions"),
    ("uprobe_session", (6, 13), "attach_type", "trace_uprobe_session",
    "one program at entry and return of user functions"),
    ("function_ip", (5, 15), "helper", "get_func_ip", "the address of the traced function"),
    ("function_arguments", (5, 17), "helper", "get_func_arg", "arguments of the traced function by number"),
    ("struct_ops", (5, 6), "prog_type", "struct_ops", "callbacks of kernel structs implemented by programs"),
    ("struct_ops_link", (6, 4), "attach_type", "struct_ops", "callbacks attached by a link"),
    ("sched_ext", (6, 12), "btf_type", "sched_ext_ops", "CPU schedulers written as programs"),
    ("syscall_programs", (5, 14), "prog_type", "syscall", "programs run by bpf(2) that may call bpf(2)"),
    ("freplace", (5, 6), "prog_type", "ext", "functions of loaded programs replaced"),
    # Network.
    ("xdp", (4, 8), "prog_type", "xdp", "programs in the network driver"),
    ("generic_xdp", (4, 12), "config", "CONFIG_NET", "XDP on devices whose driver does not know it"),
    ("xdp_link", (5, 9), "link_type", "xdp", "XDP attached by a link"),
    ("xdp_frags", (5, 18), "load_flag", "BPF_F_XDP_HAS_FRAGS", "XDP on packets of several pages"),
    ("xdp_redirect", (4, 14), "map_type", "devmap", "packets redirected to other devices"),
    ("af_xdp", (4, 18), "map_type", "xskmap", "packets handed to user space without a copy"),
    ("xdp_metadata", (6, 3), "kfunc", "bpf_xdp_metadata_rx_hash", "what the device knows of a packet"),
    ("clsact", (4, 5), "config", "CONFIG_NET_SCH_INGRESS", "tc programs at ingress and egress"),
    ("tcx", (6, 6), "attach_type", "tcx_ingress", "ordered programs at ingress and egress, by link"),
    ("netkit", (6, 7), "attach_type", "netkit_primary", "programs in netkit devices"),
    ("netfilter", (6, 4), "prog_type", "netfilter", "programs at netfilter hooks"),
    ("sk_lookup", (5, 9), "prog_type", "sk_lookup", "programs that pick a packet's socket"),
    ("sockmap_link", (6, 10), "link_type", "sockmap", "programs of socket maps attached by a link"),
    ("cgroup_multi", (4, 15), "command", "prog_query", "several programs at one cgroup hook"),
    ("cgroup_link", (5, 7), "command", "link_create", "programs attached to a cgroup by a link"),
    ("cgroup_unix_addr", (6, 7), "attach_type", "cgroup_unix_connect", "addresses of Unix sockets inspected by cgroup"),
    ("netns_link", (5, 8), "link_type", "netns", "programs attached to a network namespace by a link"),
    ("direct_packet_access", (4, 7), "program", "packet_access", "packet bytes read through pointers"),
    # Helpers worth a name.
    ("probe_read_kernel", (5, 5), "helper", "probe_read_kernel", "separate readers of kernel and user memory"),
    ("copy_from_user", (5, 10), "helper", "copy_from_user", "user memory read with page faults"),
    ("ktime_boot_ns", (5, 8), "helper", "ktime_get_boot_ns", "a clock that counts suspend"),
    ("ktime_tai_ns", (6, 1), "helper", "ktime_get_tai_ns", "a clock without leap seconds"),
    ("d_path", (5, 10), "helper", "d_path", "full paths of open files"),
    ("snprintf", (5, 13), "helper", "snprintf", "formatted text in programs"),
    ("branch_snapshot", (5, 16), "helper", "get_branch_snapshot", "the CPU's branch records at any point"),
    ("stack_build_id", (4, 17), "map_flag", "STACK_BUILD_ID", "user stacks as build id and offset"),
)  # fmt: skip

_BY_NAME: dict[str, Feature] | None = None


def feature(name: str) -> Feature:
    """The feature of that name.

    :raises UsageError: ABI010 when there is none.
    """
    table = _table()
    found = table.get(name)
    if found is None:
        from osmia.diagnostics import UsageError

        raise UsageError("ABI010", f"there is no kernel feature {name!r}", hint=suggest(name, table))
    return found


def features() -> Iterator[Feature]:
    """All features, by area."""
    return iter(_table().values())


def since(version: Version) -> list[Feature]:
    """What a release brought."""
    return [row for row in features() if row.version == version]


def parse_release(text: str) -> tuple[int, int, int]:
    """``6.18.44-fc`` as ``(6, 18, 44)``; a missing third number is 0.

    :raises UsageError: ABI011 when the text does not begin with a version.
    """
    parts = text.strip().split(".", 2)
    numbers = []
    for part in parts:
        digits = len(part) - len(part.lstrip("0123456789"))
        if not digits:
            break
        numbers.append(int(part[:digits]))
        if digits < len(part):
            break
    if len(numbers) < 2:
        from osmia.diagnostics import UsageError

        raise UsageError("ABI011", f"{text!r} is not a kernel version", hint="write it like 5.8 or 6.18.44")
    return numbers[0], numbers[1], numbers[2] if len(numbers) > 2 else 0


def running() -> tuple[int, int, int]:
    """Version of the running kernel."""
    import os

    return parse_release(os.uname().release)


def _table() -> dict[str, Feature]:
    global _BY_NAME
    if _BY_NAME is None:
        _BY_NAME = {row[0]: Feature(*row) for row in _ROWS}
    return _BY_NAME
