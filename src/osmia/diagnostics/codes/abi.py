"""Error codes of the kernel contract's tables (``ABI``)."""

from __future__ import annotations

from osmia.diagnostics.codes import Code

ROWS = (
    Code(
        "ABI001",
        "unknown program type",
        """
## Meaning
A BPF program has a type that says where it may attach, what its context is and which helper functions it
may call. The name or number asked for is not in Osmia's table of program types.

## Why
Without the row, Osmia knows neither the program's context nor its rules, and the kernel would refuse the
number.

## Example
    osmia.abi.prog_types.prog_type("xpd")              # the name is xdp

## Repair
Use one of the names in the table, such as `xdp` or `sched_cls`; the kernel's spelling
(`BPF_PROG_TYPE_XDP`) works too. A number beyond the table means that the program comes from a kernel
newer than this release of Osmia: update Osmia.
""",
    ),
    Code(
        "ABI002",
        "unknown attach type",
        """
## Meaning
An attach type names the exact hook for program types that have several, as `cgroup_inet4_bind` does for
`cgroup_sock_addr`. The name or number asked for is not in Osmia's table.

## Why
The attach type decides what the program may return, which fields of its context it sees and how it is
attached; guessing one would attach the program in the wrong place.

## Example
    osmia.abi.attach_types.attach_type("cgroup_bind4")     # the name is cgroup_inet4_bind

## Repair
Use the kernel's enumerator in lower case without `BPF_`; the message suggests the nearest names. The
table is in the reference page of attach types.
""",
    ),
    Code(
        "ABI003",
        "unknown link type",
        """
## Meaning
A link is the kernel object that holds a program attached; its type says to what. The name or number
asked for is not in Osmia's table of link types.

## Why
What a link's information means, and whether its program may be replaced, depends on the type.

## Example
    osmia.abi.link_types.link_type("kprobe.multi")         # the name is kprobe_multi

## Repair
Use the kernel's enumerator in lower case without `BPF_LINK_TYPE_`. A number beyond the table is a link
made by a newer kernel: update Osmia.
""",
    ),
    Code(
        "ABI004",
        "unknown command of bpf(2)",
        """
## Meaning
The bpf(2) system call does what its command number says. The name or number asked for is not in Osmia's
table of commands.

## Why
A number without a row has arguments that Osmia cannot lay out.

## Example
    osmia.abi.commands.command("map_make")                 # the name is map_create

## Repair
Use the kernel's enumerator in lower case without `BPF_`: `map_create`, `prog_load`, `link_create`.
""",
    ),
    Code(
        "ABI005",
        "unknown map type",
        """
## Meaning
A map's type decides how it stores keys and values and who may use it. The name or number asked for is
not in Osmia's table of map types.

## Why
Without the row, Osmia cannot check sizes and flags before the kernel refuses them with a bare EINVAL,
and cannot say which helpers take the map.

## Example
    osmia.abi.map_types.map_type("hashmap")                # the name is hash

## Repair
Use the kernel's enumerator in lower case without `BPF_MAP_TYPE_`: `hash`, `percpu_array`, `ringbuf`. A
number beyond the table means a map made by a newer kernel: update Osmia.
""",
    ),
    Code(
        "ABI006",
        "unknown helper function",
        """
## Meaning
Helper functions are what a BPF program may call in the kernel by number. The name or number asked for is
none of them.

## Why
A call to a number that the kernel does not have is refused by its verifier; a name without a number
cannot be called at all. Since Linux 6.2 the list is closed: newer functions are kfuncs, found by their
BTF.

## Example
    osmia.abi.helpers.helper("bpf_ktime_get")              # the name is ktime_get_ns

## Repair
Check the spelling against the reference page of helpers; both `ktime_get_ns` and `bpf_ktime_get_ns` are
accepted. If the function is a kfunc, declare it as one.
""",
    ),
    Code(
        "ABI007",
        "unknown constant",
        """
## Meaning
The name is not among the kernel constants that Osmia carries (`BPF_F_*`, `PERF_*`, `TCA_*`, `XDP_*`,
constants of netlink and sockets).

## Why
A constant of unknown value cannot be compiled into a program or passed to the kernel.

## Example
    osmia.abi.uapi.constant("BPF_F_CURRENT_CPUS")          # the name is BPF_F_CURRENT_CPU

## Repair
Correct the name; the message suggests the nearest ones. Enumerators of the running kernel that are not
in the table can be read from its BTF, other values can be written as numbers.
""",
    ),
    Code(
        "ABI008",
        "unknown context struct, field or register",
        """
## Meaning
The struct is not among the context and record structs that Osmia carries, or it has no such field, or
the machine no such register.

## Why
Offsets, sizes and access rights come from the row; without it an access would read some other bytes.

## Example
    osmia.abi.contexts.struct("sk_buff")                   # programs see __sk_buff

## Repair
Use the structs of the kernel's uapi headers, such as `__sk_buff`, `xdp_md`, `bpf_sock_addr`, and the
fields that the message lists. Structs internal to the kernel are read through its BTF instead. Registers
are named as in `struct pt_regs`: `di`, not `rdi`.
""",
    ),
    Code(
        "ABI009",
        "unknown system call",
        """
## Meaning
There is no system call of that name or number on that machine.

## Why
Numbers differ between machines, and newer machines leave out calls that others replace: `open` exists on
x86-64 but not on aarch64, where programs use `openat`.

## Example
    osmia.abi.syscalls.syscall("open", "aarch64")          # openat

## Repair
Use a call that the machine has; the message suggests the nearest names. What the running kernel traces
stands in `events/syscalls` of tracefs.
""",
    ),
    Code(
        "ABI010",
        "unknown kernel feature",
        """
## Meaning
The name is not in Osmia's table of kernel features.

## Why
A feature is a version and a probe that confirms it; without a row there is nothing to probe.

## Example
    osmia.abi.kernel_versions.feature("ringbuffer")        # the name is ringbuf

## Repair
Use a name of the reference page of kernel features; `osmia doctor` lists the features and says which of
them this kernel has.
""",
    ),
    Code(
        "ABI011",
        "not a kernel version",
        """
## Meaning
A kernel version is at least two numbers with a dot between, with anything after: `5.8`, `6.18.44-amd64`.
The text does not begin with one.

## Why
Versions are compared number by number; a text without numbers compares with nothing.

## Example
    osmia.abi.kernel_versions.parse_release("linux-6")     # no version in it

## Repair
Pass the release as `uname -r` prints it, or a version like `6.1`.
""",
    ),
    Code(
        "ABI012",
        "machine without a table",
        """
## Meaning
Register names, calling conventions and system call numbers differ between processors. Osmia has tables
for `x86_64` and `aarch64` only.

## Why
An argument read from the wrong register is a wrong number that looks right; so an unknown machine is
refused.

## Example
    osmia.abi.registers.machine("riscv64")                 # no table

## Repair
Use hooks that give typed arguments, such as tracepoints and typed tracing: they ask for no machine.
Machines are named as `uname -m` prints them.
""",
    ),
)
