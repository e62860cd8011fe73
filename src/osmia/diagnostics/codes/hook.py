"""Codes of attaching programs to hooks (``HOOK``)."""

from __future__ import annotations

from osmia.diagnostics.codes import Code

ROWS = (
    Code(
        "HOOK001",
        "there is no such kind of hook",
        """
## Meaning
A program was to be attached to a kind of hook that Osmia does not know, or it is a program that is never attached:
one that runs on demand, or a function without a hook.

## Why
Each kind of hook takes different steps to attach. A name that is guessed wrong must not end up attaching nothing.

## Example
```
Hook("tracepiont", "sched:sched_switch")
```

## Repair
Use a name that the hint lists. Programs of kind `syscall` are run with `test_run()`; functions need a section or
decorator that names their hook.
""",
    ),
    Code(
        "HOOK002",
        "there is no such tracepoint",
        """
## Meaning
The running kernel has no tracepoint of that category and name.

## Why
Tracepoints come and go with kernel releases and build options; those of a module are there once it is loaded.

## Example
```
@prog.tracepoint("sched:sched_swich")
def switch(args): ...
```

## Repair
Use one of the near names in the hint. `available_events` in tracefs lists all of them.
""",
    ),
    Code(
        "HOOK003",
        "tracefs cannot be read",
        """
## Meaning
Numbers and record formats of tracepoints come from tracefs, the kernel's tracing file system. It is not mounted, could
not be opened privately, or this user may not read it.

## Why
Opening a private instance takes CAP_SYS_ADMIN and Linux 5.2. A mounted one is usually readable by root alone.

## Example
```
$ ls /sys/kernel/tracing
ls: cannot open directory '/sys/kernel/tracing': Permission denied
```

## Repair
Run as root, or let root mount it for you: `mount -t tracefs -o mode=755 tracefs /sys/kernel/tracing`. Raw and BTF
tracepoints need no tracefs.
""",
    ),
    Code(
        "HOOK004",
        "there is no such raw tracepoint",
        """
## Meaning
The running kernel has no tracepoint of that name that programs can attach to with its raw arguments.

## Why
Raw tracepoints have the kernel's own names, without a category, and one for all system calls (`sys_enter`,
`sys_exit`) instead of one for each.

## Example
```
@prog.raw_tracepoint("syscalls:sys_enter_openat")
def enter(regs, number): ...
```

## Repair
Use the name alone, such as `sched_switch`. For one system call, attach to `sys_enter` and compare its second
argument, or use an ordinary tracepoint.
""",
    ),
    Code(
        "HOOK005",
        "the kernel's type information has no such target",
        """
## Meaning
The program attaches to a kernel function, typed tracepoint, iterator or security hook that the running kernel's BTF
does not have.

## Why
Programs with typed arguments are checked against the target's type when they are loaded, so the target must be found
in the kernel's type information. Functions that the compiler inlined everywhere are not in it.

## Example
```
@prog.iter("tasks")            # the iterator is called task
```

## Repair
Use one of the near names in the hint, or load the module that has the target. Kernels before 5.4, or built without
CONFIG_DEBUG_INFO_BTF, have no types at all: use plain tracepoints there.
""",
    ),
    Code(
        "HOOK006",
        "the hook's target or options make no sense",
        """
## Meaning
The words that say where to attach are incomplete or contradict each other: a tracepoint without a category, a uprobe
without a function, both a frequency and a period, a network hook without a device.

## Why
Every kind of hook needs certain facts. Filling them in by guesswork would attach the program somewhere else.

## Example
```
@prog.tracepoint("sched_switch")           # sched:sched_switch
```

## Repair
Write the target as the hint shows, and give the options that the kind of hook needs.
""",
    ),
    Code(
        "HOOK007",
        "the place in the binary cannot be probed",
        """
## Meaning
A user probe's file does not exist, lies on a file system that cannot be probed, or the offset is not the start of an
instruction inside of its code.

## Why
The kernel puts a breakpoint into the file's pages. It refuses places where that would break the program: beyond the
end, in the middle of what it takes for an instruction, or on one that cannot be carried out elsewhere.

## Example
```
@prog.uprobe("/bin/bash", offset=0x7fffffff)
```

## Repair
Name a function instead of an offset, or take the offset from the symbol table (`readelf -s`), as an offset in the
file, not as an address in memory.
""",
    ),
    Code(
        "HOOK009",
        "something is attached there already",
        """
## Meaning
The place holds one program at a time, and has one; or this very program is attached there already.

## Why
A network device has one XDP program, a cgroup in exclusive mode one program for each hook, a socket map one verdict.
Replacing somebody else's program without asking would break what they run.

## Example
```
HOOK009: cannot attach 'count' to xdp eth0: something is attached there already
```

## Repair
Find it with `osmia ps --links` or `ip link show dev eth0`, and detach it if nobody needs it; or attach at a hook that
takes several programs, such as tc.
""",
    ),
    Code(
        "HOOK010",
        "there is no such network device",
        """
## Meaning
No interface of that name or number exists in this network namespace.

## Why
Devices belong to a network namespace: those of containers are not seen from outside of them, and the other way round.

## Example
```
$ osmia run xdpcount --interface eth7
HOOK010: there is no network device eth7
```

## Repair
Use a name that `ip link` lists, or give the namespace with the option `netns=` (a name, or `/proc/PID/ns/net`).
""",
    ),
    Code(
        "HOOK011",
        "the device cannot run XDP programs this way",
        """
## Meaning
The driver of the network device has no support for XDP, for the mode that was asked for, or for the device's present
settings (large packets, hardware offloads).

## Why
In mode drv the program runs inside of the driver, before the kernel has made its own structure for the packet; every
driver must provide for that. Mode hw needs a network card that runs programs itself.

## Example
```
link = attach(program, interface="dummy0", mode="hw")
```

## Repair
Leave the mode open, or ask for `skb`, which works with every driver and is slower. Lower the MTU, or use programs
with fragments (`frags=True`) on devices with jumbo frames.
""",
    ),
    Code(
        "HOOK012",
        "there is no such cgroup",
        """
## Meaning
The path that was given is not the folder of a cgroup of version 2, or none was given.

## Why
Programs attach to cgroups of the unified hierarchy only. On machines that also mount version 1, those folders look
alike and cannot take programs.

## Example
```
@prog.cgroup("connect4", "/sys/fs/cgroup/memory/app")
```

## Repair
Use a folder below a mount of type cgroup2; the hint names those that there are. `/proc/PID/cgroup` shows, in the line
that begins with `0::`, where a process is.
""",
    ),
    Code(
        "HOOK013",
        "the perf event cannot be opened",
        """
## Meaning
The machine does not have the event that the program was to sample or count, its counters are in use, or the buffer for
it could not be made.

## Why
Hardware events are counted by the processor, of which virtual machines usually get no share. Software events are
counted by the kernel, and are always there.

## Example
```
@prog.hardware("cache-misses")             # in a virtual machine
```

## Repair
Use a software event such as `cpu-clock`, which `profile` does, or run on a machine whose counters you may use.
`osmia doctor` says which there are. For too many open files, raise `ulimit -n`.
""",
    ),
    Code(
        "HOOK014",
        "the kernel function cannot be probed",
        """
## Meaning
The kernel was built without kprobes, or the function does not exist, was inlined, or is one that must not be probed.

## Why
Kprobes patch the kernel's code while it runs. Hosts that do not want that leave them out, and functions that are part
of handling a probe themselves are always excluded.

## Example
```
@prog.kprobe("vfs_raed")
def reading(file): ...
```

## Repair
Use the near name in the hint, or another hook: a tracepoint, or fentry where the kernel allows it. `osmia doctor` says
whether this kernel has kprobes.
""",
    ),
    Code(
        "HOOK015",
        "the program is of the wrong type for this hook",
        """
## Meaning
A program was to be attached to a kind of hook that takes programs of another type.

## Why
What a program may read depends on its type: a tracepoint program attached to a probe would take the processor's
registers for the tracepoint's record.

## Example
```
attach(tracepoint_program, Hook("xdp", "eth0"))
```

## Repair
Declare the function with the decorator (or section name) of the hook it is meant for.
""",
    ),
    Code(
        "HOOK016",
        "this kernel cannot attach that way",
        """
## Meaning
The way of attaching came with a later kernel, or the kernel was built without it.

## Why
Hooks, links and their options grew over many releases: cookies with Linux 5.15, tcx with 6.6, links of socket maps
with 6.10.

## Example
```
attach(program, cookie=7)                  # on Linux 5.10
```

## Repair
Leave the option out, use the older way that the documentation of the hook names, or a later kernel.
""",
    ),
    Code(
        "HOOK017",
        "the kernel refused to attach the program",
        """
## Meaning
The program is loaded, and attaching it failed for a reason that the kernel gives no words for; the hint says what is
most often the cause at this kind of hook.

## Why
Whether a program fits a place is checked once more when it is attached: its type and attach type, the target's state,
and the options.

## Example
```
HOOK017: cannot attach 'pick' to netfilter input of ipv4: the kernel refuses the program, the target or an option
```

## Repair
Check the target and the options against the documentation of the hook. `dmesg` may say more.
""",
    ),
    Code(
        "HOOK018",
        "this attachment cannot do that",
        """
## Meaning
The program of an attachment was to be replaced, the attachment pinned or looked at, and this kind cannot do it.

## Why
Newer hooks are held by a link object of the kernel, which can be updated and pinned. Older ones are held by a
descriptor, a socket option or a filter. And a few kinds of links have a program for life.

## Example
```
link = attach(program, Hook("begin"))
link.pin("/sys/fs/bpf/begin")
```

## Repair
Close the attachment and attach the other program; a moment lies between the two. To outlive the process, use a kind of
hook with links.
""",
    ),
    Code(
        "HOOK019",
        "the link is closed, or the network namespace is not there",
        """
## Meaning
A link was used after it was closed, or a network namespace was named that does not exist or cannot be entered.

## Why
Both are handles to something in the kernel that lives only as long as somebody holds it: a namespace goes with its
last process, unless `ip netns` gave it a name.

## Example
```
attach(program, netns="blue")              # ip netns list does not show blue
```

## Repair
Use links inside of their `with` block. Give a namespace as a name that `ip netns list` shows, or as a path such as
`/proc/PID/ns/net`.
""",
    ),
    Code(
        "HOOK020",
        "there is no such process",
        """
## Meaning
A hook was limited to a process that does not exist, or has ended.

## Why
The kernel ties a user probe or a perf event to a process when it is opened, so the process must be there.

## Example
```
$ osmia run bashreadline --pid 999999
HOOK020: there is no process 999999 to probe
```

## Repair
Use the number of a running process, in this machine's (or container's) own numbering. To trace a program from its
start, put it behind `--`: `osmia run TOOL -- COMMAND`.
""",
    ),
)
