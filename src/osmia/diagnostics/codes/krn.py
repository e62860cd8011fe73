"""Codes of the kernel room: system calls, loading, ring buffers (``KRN``)."""

from __future__ import annotations

from osmia.diagnostics.codes import Code

ROWS = (
    Code(
        "KRN001",
        "a capability is missing",
        """
## Meaning
The kernel refused an operation because the process lacks a capability. Loading programs takes CAP_BPF; tracing takes
CAP_PERFMON as well, networking CAP_NET_ADMIN, and listing what others loaded CAP_SYS_ADMIN. Before Linux 5.8,
CAP_SYS_ADMIN stands for the first two.

## Why
A BPF program runs inside the kernel and can see what every process does. That is for the administrator to allow.

## Example
```
$ osmia run opensnoop
KRN001: cannot load program 'enter' (tracepoint): CAP_BPF and CAP_PERFMON missing
```

## Repair
Run the command as root, for example with `sudo`. To do without root, give the interpreter the capabilities that the
message names: `setcap cap_bpf,cap_perfmon+ep PYTHON`. Inside of a container the capabilities must be given to the
container, and its root must be the machine's root: capabilities of a user namespace do not count.
""",
    ),
    Code(
        "KRN002",
        "the machine's owner forbids it",
        """
## Meaning
The process has every right that the operation takes, and the kernel still answered with "operation not permitted".
Somebody decided that this machine does not do it: a security module's policy, a seccomp filter, or the kernel's build.

## Why
Some hooks can change what the kernel does (entry and exit of kernel functions, security hooks). Hosts that run other
people's workloads often switch those off and leave tracepoints, uprobes and networking alone.

## Example
```
@prog.fentry("vfs_read")
def reading(file): ...
```
fails this way on a host that forbids programs on kernel functions.

## Repair
Ask the machine's owner, or use another kind of hook: many kernel functions have a tracepoint nearby. `osmia doctor`
lists which hooks this machine lets you use.
""",
    ),
    Code(
        "KRN003",
        "the kernel is locked down",
        """
## Meaning
Kernel lockdown is on. In the mode `confidentiality` programs may not read kernel memory, so no tracing program loads;
in the mode `integrity` programs may not write to user memory or change what kernel functions return.

## Why
Lockdown protects the kernel from its own administrator: secure boot would be worth little if root could read keys out
of kernel memory, or patch the running kernel.

## Example
```
$ cat /sys/kernel/security/lockdown
none integrity [confidentiality]
```

## Repair
The mode can only be lowered by booting again: without secure boot, or without `lockdown=` on the kernel's command
line. Under `integrity`, programs that only observe do work.
""",
    ),
    Code(
        "KRN004",
        "unprivileged use of BPF is switched off",
        """
## Meaning
A program of a kind that may be loaded without any rights was refused, because the setting
`kernel.unprivileged_bpf_disabled` is not 0. Most distributions set it to 2, some to 1.

## Why
Unprivileged programs were used to attack the kernel through flaws of its verifier and of processors. The setting keeps
BPF to those who have CAP_BPF.

## Example
```
$ sysctl kernel.unprivileged_bpf_disabled
kernel.unprivileged_bpf_disabled = 2
```

## Repair
Run as root. An administrator can set the value to 0 when it is 2; the value 1 cannot be changed until the next boot.
""",
    ),
    Code(
        "KRN005",
        "no memory for it",
        """
## Meaning
The kernel could not find the memory for a map or a program. Since Linux 5.11 it is counted against the memory limit of
the process's cgroup; before, against the limit of locked memory (`ulimit -l`), which Osmia raises where it may.

## Why
Maps are made in full when they are created, unless they say otherwise: a hash map of a million entries takes its room
at once, so that an update in an interrupt cannot fail for lack of memory.

## Example
```
counts = prog.hash(u64, Char[4096], max_entries=10_000_000)     # 40 GB
```

## Repair
Lower `max_entries` or the size of values, or raise the limit: `MemoryMax=` of the systemd unit or container, or
`ulimit -l unlimited` as root on kernels before 5.11.
""",
    ),
    Code(
        "KRN006",
        "there is no bpf system call",
        """
## Meaning
The kernel answered that it does not know the bpf(2) system call, or Osmia does not know its number on this kind of
processor.

## Why
The kernel can be built without BPF, and sandboxes such as gVisor or a strict seccomp profile hide system calls from
the processes inside of them.

## Example
```
$ grep BPF_SYSCALL /boot/config-$(uname -r)
# CONFIG_BPF_SYSCALL is not set
```

## Repair
Run outside of the sandbox, or on a kernel built with CONFIG_BPF_SYSCALL=y, which all larger distributions have.
""",
    ),
    Code(
        "KRN010",
        "the verifier refused the program",
        """
## Meaning
Before a program may run, the kernel's verifier follows every path through it and proves that it ends, stays inside of
its memory and calls only what it may. The message is the verifier's own last sentence about this program; the place is
the source line of the instruction that it was looking at.

## Why
The program runs in the kernel, where a wild pointer or an endless loop would take the machine down. What the verifier
cannot prove, it refuses, even if it would have gone well.

## Example
```
value = started[tid]
latency = now - value          # started has no such key: value may be None
```
The verifier says: R0 invalid mem access 'map_value_or_null'.

## Repair
Show the verifier what you know: check a lookup against None before using it, compare a length with the buffer's size
before reading, give a loop a bound. `-v` prints the whole log, with the state of all registers before every
instruction.
""",
    ),
    Code(
        "KRN011",
        "the program is too large or too complex",
        """
## Meaning
The program has more instructions than the kernel takes, or the verifier gave up after following a million
instructions along the program's paths.

## Why
Every branch doubles the paths to follow, and a loop is followed round by round. The limit keeps loading a program from
taking minutes; before Linux 5.2 it was 4,096 instructions.

## Example
```
for i in range(100_000):
    if data[i] == needle:
        found += 1
```

## Repair
Make loops shorter, take branches out of them, or use the kernel's own loop (`bpf_loop`, Linux 5.17), whose body is
verified once. Global functions are verified by themselves; large programs can be split with tail calls.
""",
    ),
    Code(
        "KRN012",
        "this kernel does not know the program type",
        """
## Meaning
The program is of a type that came with a later kernel, that this kernel was built without, or that no section name or
decorator tells.

## Why
A program's type decides what its context is, which helper functions it may call and where it can be attached. The
kernel cannot check a program whose type it does not know.

## Example
```
@prog.syscall          # program type syscall: Linux 5.14
def setup(): ...
```

## Repair
Use a kernel of the version that the message names, or another hook. For objects made elsewhere, name the program's
section after its hook, such as `tracepoint/sched/sched_switch`. `osmia doctor` lists the types this kernel has.
""",
    ),
    Code(
        "KRN013",
        "this kernel does not know the map type",
        """
## Meaning
A map is of a type that came with a later kernel than the running one.

## Why
Maps are data structures of the kernel: a type that it does not have cannot be made up for outside of it.

## Example
```
events = prog.ring(Event)      # ring buffers: Linux 5.8
```

## Repair
Use a kernel of the version that the message names, or an older type that does the job: a perf event array instead of a
ring buffer, a hash map by process number instead of task storage.
""",
    ),
    Code(
        "KRN014",
        "a helper function is not there for this program",
        """
## Meaning
The program calls a helper function of the kernel that the running kernel does not have, or does not let programs of
this type call.

## Why
Each program type has its own list of helpers: a socket filter may not redirect packets, and a tracing program may not
rewrite them. The list grows with each kernel release.

## Example
```
@prog.xdp
def count(ctx):
    skb_vlan_pop(ctx)          # there is no sk_buff yet when XDP sees a packet
```

## Repair
Use a hook whose programs may call the helper, another helper, or a newer kernel. The reference of helpers lists for
each the program types and the version.
""",
    ),
    Code(
        "KRN015",
        "the attach type does not fit",
        """
## Meaning
The program names an attach type (the exact hook among those of its program type) that this kernel does not know, that
belongs to another program type, or it names none although its type needs one.

## Why
For some types the kernel decides by the attach type what the program may read and return: a program for `connect4`
sees other fields than one for `sendmsg6`.

## Example
```
SEC("cgroup/connect4")          with program type cgroup_skb
```

## Repair
Name the section or hook after the place the program is for, and use a kernel that has it; the message lists the
fitting names.
""",
    ),
    Code(
        "KRN016",
        "the kernel refuses this kind of program",
        """
## Meaning
The kernel refused the program before looking at its instructions. The type and attach type are known, so it is a load
flag, the licence, or a feature that the kernel was built without.

## Why
Programs that use the kernel's inner functions must have a licence compatible with the GPL; flags such as sleepable are
allowed for some hooks only.

## Example
```
prog = Program("mine", license="Proprietary")

@prog.btf_tracepoint("sched_switch")        # tracing programs must be GPL
def switch(preempt, before, after): ...
```

## Repair
Say `license="GPL"` (or a dual licence) if that is true of your program; leave out `sleepable`; look at `osmia doctor`
for what this kernel was built with.
""",
    ),
    Code(
        "KRN017",
        "the map's settings are refused",
        """
## Meaning
The kernel would not make a map with these settings: a size of key or value, a capacity or a flag that its type does
not allow, or initial contents that do not fit.

## Why
Each type has rules of its own: keys of arrays have 4 bytes, ring buffers have a size that is a power of two, LPM tries
must not be allocated ahead. The message says which rule is broken.

## Example
```
ring = prog.ring(Event, size=100_000)       # not a power of two
```

## Repair
Change the setting that the message names. The reference of map types lists the rules of each.
""",
    ),
    Code(
        "KRN018",
        "the type information is refused",
        """
## Meaning
A collection brings type information (BTF) that describes its maps, functions and source lines. The kernel checks it
like a program, and found it malformed; its own words are in the message.

## Why
The kernel prints maps by these types, finds locks and timers in values by them, and checks callbacks against them, so
it cannot take them on trust.

## Example
```
KRN018: the kernel refused the type information of 'x.bpf.o': Invalid name
```

## Repair
Build the object again with a current compiler (clang 14 or later, with -g), and without tools that change the section
`.BTF` afterwards. Types of an object that Osmia itself made should never be refused: report that as a bug.
""",
    ),
    Code(
        "KRN019",
        "CO-RE relocations are not resolved",
        """
## Meaning
The program reads fields of kernel structs whose place depends on the running kernel, and those places were not filled
in before loading.

## Why
A collection is compiled once and fitted to each kernel: field offsets are looked up in the kernel's own type
information. Loaded without that, the program would read the wrong memory.

## Example
```
spec = read_object(data)
load(spec)                      # spec.programs["enter"].core is not empty
```

## Repair
Resolve the collection for the running kernel first; `prog.run()`, `prog.open()` and the `osmia` command do so by
themselves.
""",
    ),
    Code(
        "KRN020",
        "this kernel lacks a symbol that the program needs",
        """
## Meaning
The program refers to a function or variable of the kernel (kfunc, ksym) that the running kernel does not have, does
not describe in its type information, or does not show to this user.

## Why
Such symbols are not part of the kernel's stable interface: they come and go with releases and build options, and some
live in modules that must be loaded first.

## Example
```
@prog.kfunc
def bpf_task_from_vpid(vpid: s32) -> Task: ...        # Linux 6.14
```

## Repair
Load the module that has it, use a newer kernel, or declare the symbol weak and check for it:
`if exists(bpf_task_from_vpid): ...`. Addresses are hidden from users without CAP_SYSLOG.
""",
    ),
    Code(
        "KRN021",
        "a reference inside of the collection leads nowhere",
        """
## Meaning
An instruction, a prog array or a map of maps names a map, program or function that the collection does not have, or an
instruction cannot hold such a reference.

## Why
References are resolved by name when loading. A name without a match means that the object was put together from parts
that do not belong together, or was changed after it was made.

## Example
```
spec.maps.pop("counts")
load(spec)                      # the programs still refer to counts
```

## Repair
Build the object again from its sources. In code that puts specs together, add the missing map or program under the
name that the message gives.
""",
    ),
    Code(
        "KRN022",
        "a kernel setting is not available or does not fit",
        """
## Meaning
The program asks for a value of the kernel's build configuration (`CONFIG_HZ`). The running kernel does not have that
setting, its configuration cannot be read, or the value is not of the type that the program declares.

## Why
Settings are read from `/proc/config.gz` or `/boot` when the program is loaded, and become constants for the verifier.
A wrong guess would change what the program does without a word.

## Example
```
hz = kconfig("CONFIG_HZ", bool)        # it is a number
```

## Repair
Correct the name or the type: `bool` for y or n, an integer for numbers, an array of char for texts. Declare the
setting weak if the program can do without it, and make the configuration readable if it is not.
""",
    ),
    Code(
        "KRN023",
        "the collection has no such program or variable",
        """
## Meaning
A name given to load, to set or to read is none of the collection's programs or global variables, or the value does not
fit the variable.

## Why
A name that is ignored would leave a filter unset or a program unloaded without anybody noticing.

## Example
```
load(spec, LoadOptions(constants={"min_latancy": 5}))
```

## Repair
Use one of the names that the hint lists, and a value of the variable's type.
""",
    ),
    Code(
        "KRN024",
        "the name is taken by another object",
        """
## Meaning
A pin's path exists already, or the map pinned there (or given to use) differs from the one the collection describes,
in kind, sizes or capacity.

## Why
Using a map of another shape would mix up keys and values; replacing it would take it from whoever pinned it.

## Example
```
KRN024: /sys/fs/bpf/counts is pinned already with another value size: 4, not 8
```

## Repair
Remove the old pin with `rm` if nobody needs it any more, or pin under another name.
""",
    ),
    Code(
        "KRN025",
        "a pin cannot be made, opened or removed",
        """
## Meaning
Pins are names in a bpf file system. The path is not inside of one, its folder does not exist, nothing is pinned there,
or what is pinned is another kind of object than was asked for.

## Why
Only a file system of type bpf, usually mounted at `/sys/fs/bpf`, can hold programs, maps and links; an ordinary file
cannot.

## Example
```
counts.pin("/tmp/counts")
```

## Repair
Use a path below a bpf file system, and mount one if there is none: `mount -t bpf bpf /sys/fs/bpf`. Folders in it are
made with `mkdir`; names hold no dots.
""",
    ),
    Code(
        "KRN030",
        "there is no object with that id",
        """
## Meaning
Programs, maps, links and type information have numbers in the kernel. Nothing has the number that was asked for; what
had it may be gone by now.

## Why
An object lives as long as a descriptor, a pin or an attachment holds it. Its number is not given to another one soon.

## Example
```
$ osmia disasm id:4711
KRN030: there is no program with id 4711
```

## Repair
List what is loaded with `osmia ps` and use one of those numbers.
""",
    ),
    Code(
        "KRN031",
        "programs of this type cannot be run by themselves",
        """
## Meaning
Running a program once without attaching it is possible for types whose input can be made up: packets, raw tracepoint
arguments, system call programs. This type is not among them, or not on this kernel.

## Why
A tracepoint program's context is a record that the kernel fills in; a kprobe's is the state of a processor. There is
nothing that could stand in for them.

## Example
```
@prog.tracepoint("sched:sched_switch")
def switch(args): ...

switch.test_run()
```

## Repair
Attach the program and cause the event, or test the same logic in a program of a type that can be run: the hint lists
them.
""",
    ),
    Code(
        "KRN032",
        "the kernel refused to run the program once",
        """
## Meaning
The program is loaded, and the kernel did not accept the input for a trial run: the packet is shorter than an Ethernet
header, the context has fields set that must be zero, or a flag or CPU does not fit.

## Why
The kernel builds a real packet from the input and checks it as it would one from a device.

## Example
```
count.test_run(b"too short")
```

## Repair
Give a packet of at least 14 bytes for packet programs, a context with only the fields that the program type lets you
set, and a CPU that is online.
""",
    ),
    Code(
        "KRN033",
        "the kernel gave an unexpected answer",
        """
## Meaning
A system call failed with an error that Osmia has no better words for; the message has the operation and the kernel's
error.

## Why
Errors are numbers that mean different things in different places. Where no rule of ours explains one, saying exactly
what happened is better than a guess.

## Example
```
KRN033: cannot load program 'enter' (xdp): device or resource busy (EBUSY)
```

## Repair
Look at the kernel's log (`dmesg`) for more. If the message could have been clearer, report it with the kernel's
version.
""",
    ),
    Code(
        "KRN040",
        "an array of a buffer was kept after its batch",
        """
## Meaning
A callback got a batch of events as an array that lies in the kernel's buffer, and kept it, or a part of it, beyond its
return.

## Why
No event is copied on the way: the array is the buffer. Once the batch is done the kernel writes new events into the
same place, and the kept array would change under its owner.

## Example
```
kept = []
reader.drain(kept.append, layout)
```

## Repair
Keep copies: `kept.append(batch.copy())`, or what was computed from the batch. The records of the batch that was
refused are still in the buffer.
""",
    ),
    Code(
        "KRN041",
        "a record has another size than its layout",
        """
## Meaning
A ring or perf buffer was read as records of one layout, and holds a record of another size.

## Why
Batches are read as arrays of equal records. A record of another size means that the program writes several kinds of
events into one buffer, or that the layout is not the one that the program was compiled with.

## Example
```
reader.read_batches(layout_of_open)        # the program also sends Close events
```

## Repair
Use one buffer for each kind of event, which is also faster, or read records one by one with `read_raw()` and tell them
apart by their contents.
""",
    ),
    Code(
        "KRN042",
        "the reader or program is closed or in use",
        """
## Meaning
A program or a buffer's reader was used after it was closed, or a buffer was read by two iterators at once.

## Why
Closing gives the memory and descriptors back to the kernel. A buffer has one position for its consumer, so two readers
would take records from each other.

## Example
```
first = reader.read_raw()
next(first)
for record in reader.read_raw(): ...
```

## Repair
Finish or close one iterator before the next, and use readers inside of the session's `with` block.
""",
    ),
    Code(
        "KRN050",
        "what outlives the process cannot be written down",
        """
## Meaning
Some attachments stay in the kernel when their process is killed: tc filters and XDP programs without a link, temporary
pins. Osmia notes them in a private folder so that the next run can remove them. That folder cannot be made or
written, or belongs to somebody else.

## Why
Without the note, a killed process would leave a program on a network device for good. A folder that others can write
to cannot be trusted: it says what to remove.

## Example
```
KRN050: what outlives this process cannot be written down in /run/osmia: read-only file system
```

## Repair
Make the folder writable for this user alone, set `XDG_RUNTIME_DIR`, or use attachments with links, which end with
the process (XDP: Linux 5.9, tc: 6.6).
""",
    ),
    Code(
        "KRN080",
        "this kernel cannot list or count that",
        """
## Meaning
Looking at what is loaded takes commands that came with later kernels than the running one: lists of programs and maps
with Linux 4.13, of type information with 5.4, of links and statistics on demand with 5.8.

## Why
Before those releases the kernel gave its objects no numbers to find them by.

## Example
```
$ osmia ps --links
KRN080: listing links needs Linux 5.8; this is 5.4
```

## Repair
Use a later kernel. Programs without links are still listed, with the processes that hold them.
""",
    ),
)
