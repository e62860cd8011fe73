"""Rows of the area SYM: binaries, symbols, stacks, USDT probes."""

from __future__ import annotations

from osmia.diagnostics.codes import Code

ROWS = (
    Code(
        "SYM001",
        "a file cannot be opened or read",
        """
## Meaning
A program, a library or a file below `/proc` was found by name, but the system did not let Osmia open or read
it. The message has the system's own words. Pipes, sockets, devices and folders are refused too.

## Why
Symbols and probe places come from the file itself. A probe at a guessed place would hit the middle of an
instruction and could end the traced program.

## Example
```
osmia.symbols.elf.find_symbol("/root/private/tool", "main")     # as an ordinary user
```

## Repair
Check the path with `ls -l`. For "Permission denied" run as root or as the file's owner. A process of another
user, or in a container, can only be looked into by root.
""",
    ),
    Code(
        "SYM002",
        "the file is not an ELF binary",
        """
## Meaning
The file does not start with the four bytes of an ELF file (7f 45 4c 46). It may be a script, an archive, a
linker script or plain data.

## Why
Uprobes are put on machine code in a file. A script has none: its code is in its interpreter.

## Example
```
find_symbol("/usr/bin/ldd", "main")      # a shell script
```

## Repair
For a script, probe the interpreter that the first line names. For `libc.so`, which is text for the linker,
use `libc` or `libc.so.6`. For an archive (`.a`), probe the program that was linked with it.
""",
    ),
    Code(
        "SYM003",
        "an ELF file is damaged",
        """
## Meaning
The file starts like an ELF file, but its headers contradict its size or each other: a table lies outside the
file, a header is cut off, a count is impossible.

## Why
Reading on would mean guessing. Osmia often reads files as root that belong to others, so nothing in them is
believed without a check.

## Example
```
head -c 1000 /bin/bash > half; chmod +x half
find_symbol("./half", "main")
```

## Repair
Compare the file with a fresh copy from its package (`dpkg --verify`, `rpm -V`). If it is still being written,
by a linker or a download, try again afterwards.
""",
    ),
    Code(
        "SYM004",
        "the binary has no such function",
        """
## Meaning
Neither the symbol tables of the binary nor its separate debug data, where that is installed, have a function
of this name. The hint lists names that are close.

## Why
A uprobe needs the place of the function in the file, and only symbol tables tell it.

## Example
```
find_symbol("bash", "readlin")           # did you mean 'readline'?
```

## Repair
Use one of the names in the hint. `nm -D FILE` lists exported functions, `nm FILE` all of them unless the file
is stripped. For a stripped file install its debug symbols (`NAME-dbgsym`, `NAME-debuginfo`), or name an
address. C++ functions may be written readably (`ns::func(int)`). A function that the compiler inlined
everywhere does not exist any more.
""",
    ),
    Code(
        "SYM005",
        "several symbols have this name",
        """
## Meaning
The name stands for several different places: functions local to different source files, overloads of a C++
function written without its parameters, kernel symbols of several modules, or one probe name of several
providers.

## Why
Osmia would have to pick one, and half of the time it would be the wrong one, without anybody noticing.

## Example
```
find_symbol("./program", "Shape::area")  # area() and area(int)
```

## Repair
Write the parameters of the C++ function, the provider (`provider:name`), the module, or the address that the
hint lists.
""",
    ),
    Code(
        "SYM006",
        "an address or offset has no code in the file",
        """
## Meaning
The address, or the function plus the offset, is outside of the parts of the file that are loaded and executed,
or outside of the function.

## Why
The kernel would refuse the probe, or put it into data. Offsets inside a function must also stay inside, for
what lies behind it is another function.

## Example
```
find_symbol("bash", 0x7f1200001000)      # an address of a running process
find_symbol("bash", "main", offset=1 << 24)
```

## Repair
Use addresses as `nm` and `objdump -d` print them. To get one from an address in a process, subtract the
start of the mapping that `/proc/PID/maps` shows and add that mapping's file offset.
""",
    ),
    Code(
        "SYM007",
        "there is no such program or library",
        """
## Meaning
The target of a probe is neither an existing path, nor a program on PATH, nor a library that the loader's
cache (`ldconfig -p`) knows.

## Why
A probe on a file that does not exist could never fire.

## Example
```
find_symbol("lbc", "malloc")             # did you mean libc?
```

## Repair
Write the full path, or use a name of the hint. Libraries may be written as `c`, `libc` or `libc.so.6`. For a
program in a container give the process (`pid=`), so that its own files are searched. After installing a
library run `ldconfig`.
""",
    ),
    Code(
        "SYM008",
        "there is no such process",
        """
## Meaning
No process with this number exists in the pid namespace Osmia runs in. It may have ended a moment ago.

## Why
Mappings, root directory and libraries are read from the live process; nothing of them is left afterwards.

## Example
```
ProcessSymbols.snapshot(999999)
```

## Repair
Check the number with `ps -e`. A number seen inside a container differs from the one outside; `NSpid` in
`/proc/PID/status` has both. To name stacks of processes that live briefly, take the snapshot when they start.
""",
    ),
    Code(
        "SYM009",
        "the kernel hides its addresses",
        """
## Meaning
`/proc/kallsyms` can be read, but every address in it is zero, so kernel stacks cannot be named.

## Why
Kernel addresses help attackers, so the kernel shows them only to users with CAP_SYSLOG, and to nobody where
`kernel.kptr_restrict` is 2. Zeros must not be taken for addresses.

## Example
```
$ sysctl kernel.kptr_restrict
kernel.kptr_restrict = 2
```

## Repair
Run as root or give the command CAP_SYSLOG. If the setting is 2, `sysctl kernel.kptr_restrict=1` lets root see
addresses. In a container the host decides. Everything but kernel names works without.
""",
    ),
    Code(
        "SYM010",
        "the kernel's symbol table cannot be read",
        """
## Meaning
`/proc/kallsyms` is missing, unreadable, or has contents that are no symbol table.

## Why
It is the only source of the addresses of kernel functions, modules and loaded BPF programs.

## Example
```
$ cat /proc/kallsyms
cat: /proc/kallsyms: No such file or directory
```

## Repair
Mount proc (`mount -t proc proc /proc`), or use a kernel built with `CONFIG_KALLSYMS=y`, which all
distributions have.
""",
    ),
    Code(
        "SYM011",
        "the kernel has no such symbol",
        """
## Meaning
`/proc/kallsyms` has no symbol of this name, in the kernel proper or in a loaded module. The hint lists names
that are close.

## Why
Names of kernel functions change between versions, and a name that is taken on trust would give address zero.

## Example
```
KernelSymbols().address("do_sys_opneat2")    # did you mean 'do_sys_openat2'?
```

## Repair
Use a name of the hint, or search with `grep NAME /proc/kallsyms`. A function of a module is there only while
the module is loaded (`modprobe`). Compilers may split functions (`name.isra.0`, `name.cold`).
""",
    ),
    Code(
        "SYM012",
        "the binary has no such USDT probe",
        """
## Meaning
The file has no static probe of this name in its notes (`.note.stapsdt`), or no static probes at all.

## Why
Static probes are compiled in; they cannot be added from outside.

## Example
```
find_probe("libc", "libc:setjump")       # did you mean libc:setjmp?
```

## Repair
Use a name of the hint; `readelf -n FILE` lists what a file has. Programs such as Python, PostgreSQL or MySQL
have probes only if they were built with them (`--with-dtrace`, `--enable-dtrace`). Probes may be in a library
rather than in the program.
""",
    ),
    Code(
        "SYM013",
        "the notes of USDT probes are damaged",
        """
## Meaning
A note in `.note.stapsdt` is cut off, lacks one of its texts, or names a place outside of the loaded file.

## Why
Probes are attached where the notes say. A wrong place would break the traced program.

## Example
```
objcopy --update-section .note.stapsdt=garbage program
```

## Repair
Reinstall the file, or build it again with an unmodified `sys/sdt.h`. Tools that rewrite binaries must
leave these notes alone.
""",
    ),
    Code(
        "SYM014",
        "the argument of a USDT probe cannot be read",
        """
## Meaning
The note says where an argument is in a way that cannot be followed from a kernel program: in a floating-point
register, relative to a segment, at a symbol that the binary no longer lists, or for another kind of machine.

## Why
A kernel program at the probe has the integer registers and can read memory; it cannot reach anything else. A
wrong value would look like a right one.

## Example
```
8f@%xmm0
```

## Repair
Leave out this argument; the others can be read. If the program is yours, pass the value as an integer or by
its address. For a stripped binary, install its debug symbols.
""",
    ),
    Code(
        "SYM015",
        "the symbol is an indirect function",
        """
## Meaning
The symbol is of type IFUNC: its code does not do the work but chooses, once per process, which of several
functions will (memcpy for this processor, say).

## Why
A probe there fires once when the program starts and never again, which looks as if the function were not used.

## Example
```
find_symbol("libc", "memcpy")
```

## Repair
Probe the functions it chooses from; the hint lists those that are known (`__memcpy_avx_unaligned_erms`). They
are in the library's debug symbols (`libc6-dbg`). Several of them can be probed at once.
""",
    ),
    Code(
        "SYM016",
        "the file is no program or shared library",
        """
## Meaning
The file is ELF, but an object that is not linked yet (`.o`, a kernel module) or a core dump.

## Why
Only linked files are mapped into processes and executed, so that a probe can be hit.

## Example
```
gcc -c tool.c
find_symbol("./tool.o", "main")
```

## Repair
Name the program or library that the object was linked into. Functions of kernel modules are kernel
functions; they are probed by name.
""",
    ),
    Code(
        "SYM017",
        "the bytes are not a stack",
        """
## Meaning
The value handed over as a stack has a length that does not fit, or an entry of a kind that is not known.

## Why
The value may come from another map, or from a stack map with other flags: with build ids, entries have 32 bytes
instead of 8. Misread, it would give names that mean nothing.

## Example
```
split_addresses(b"123")
```

## Repair
Read stacks from a map of type stack trace, and use `split_build_ids` for maps made with
`BPF_F_STACK_BUILD_ID`, `split_addresses` for the others.
""",
    ),
)
