"""Error codes of the kernel contract's tables (``ABI``)."""

from __future__ import annotations

from osmia.diagnostics.codes import Code

ROWS = (
    Code(
        "ABI001",
        "unknown program type",
        """A BPF program has a type that tells the kernel where it may attach, what its context is and which helper
functions it may call. The name or number asked for is not in Osmia's table of program types.

    osmia.abi.prog_types.prog_type("xpd")

Use one of the names in the table, such as `xdp` or `sched_cls`; the kernel's spelling (`BPF_PROG_TYPE_XDP`) works too.
A number beyond the table means that the object or program comes from a kernel newer than this release of Osmia.""",
    ),
    Code(
        "ABI002",
        "unknown attach type",
        """An attach type names the exact hook for program types that have several, as `cgroup_inet4_bind` does for
`cgroup_sock_addr`. The name or number asked for is not in Osmia's table.

    osmia.abi.attach_types.attach_type("cgroup_bind4")     # the name is cgroup_inet4_bind

Names are the kernel's enumerators in lower case without `BPF_`.""",
    ),
    Code(
        "ABI003",
        "unknown link type",
        """A link is the kernel object that holds a program attached. Its type says to what. The name or number asked
for is not in Osmia's table, which means a misspelt name, or a link made by a newer kernel.

    osmia.abi.link_types.link_type("kprobe.multi")         # the name is kprobe_multi""",
    ),
    Code(
        "ABI004",
        "unknown command of bpf(2)",
        """The bpf(2) system call does what its command number says. The name or number asked for is not in Osmia's
table of commands.

    osmia.abi.commands.command("map_make")                 # the name is map_create""",
    ),
    Code(
        "ABI005",
        "unknown map type",
        """A map's type decides how it stores keys and values and who may use it. The name or number asked for is not
in Osmia's table of map types.

    osmia.abi.map_types.map_type("hashmap")                # the name is hash

Names are the kernel's enumerators in lower case without `BPF_MAP_TYPE_`: `hash`, `percpu_array`, `ringbuf`.""",
    ),
    Code(
        "ABI006",
        "unknown helper function",
        """Helper functions are what a BPF program may call in the kernel. The name or number asked for is none of
them. Since Linux 6.2 the list is closed: newer functions are kfuncs, which are found by their BTF, not by a number.

    osmia.abi.helpers.helper("bpf_ktime_get")              # the name is ktime_get_ns

Both `ktime_get_ns` and `bpf_ktime_get_ns` are accepted.""",
    ),
    Code(
        "ABI007",
        "unknown constant",
        """The name is not among the kernel constants that Osmia carries (`BPF_F_*`, `PERF_*`, `TCA_*`, `XDP_*`,
socket and netlink constants).

    osmia.abi.uapi.constant("BPF_F_CURRENT_CPUS")          # the name is BPF_F_CURRENT_CPU

Enumerators of the running kernel that are not in the table can be read from its BTF.""",
    ),
    Code(
        "ABI008",
        "unknown context struct or field",
        """The struct is not among the context and record structs that Osmia carries, or it has no such field.

    osmia.abi.contexts.context("sk_buff")                  # programs see __sk_buff

Context structs are those of the kernel's uapi headers: `__sk_buff`, `xdp_md`, `bpf_sock_addr`...""",
    ),
    Code(
        "ABI009",
        "unknown system call",
        """There is no system call of that name or number on that machine. Old calls such as `open` exist on x86-64 but
not on aarch64, where programs use `openat`.

    osmia.abi.syscalls.syscall("open", "aarch64")          # openat

Machines are named as `uname -m` prints them: `x86_64`, `aarch64`.""",
    ),
    Code(
        "ABI010",
        "unknown kernel feature",
        """The name is not in the table of kernel features.

    osmia.abi.kernel_versions.feature("ringbuffer")        # the name is ringbuf

`osmia doctor` lists the features and says which of them this kernel has.""",
    ),
    Code(
        "ABI011",
        "not a kernel version",
        """A kernel version is at least two numbers with a dot between, with anything after: `5.8`, `6.18.44-amd64`.

    osmia.abi.kernel_versions.parse_release("linux-6")     # no version in it""",
    ),
    Code(
        "ABI012",
        "machine without a table",
        """Register names, calling conventions and system call numbers differ between processors. Osmia has tables for
`x86_64` and `aarch64`.

    osmia.abi.registers.machine("riscv64")                 # no table

Programs that need none of these (most packet programs, typed tracing) do not ask for a machine's table.""",
    ),
)
