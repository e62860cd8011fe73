"""Codes of CO-RE relocation: fitting a program to the types of a kernel."""

from __future__ import annotations

from osmia.diagnostics.codes import Code

ROWS = (
    Code(
        "CORE001",
        "a malformed CO-RE relocation",
        """
## Meaning
A relocation names a type and a path through it (`0:1:2`: member 2 of member 1). Here the path does not fit the type,
the type has no name to look for, or the instruction it is about does not exist.

## Why
The path says what the program wants to read. A wrong one would read something else.

## Example
An access to a field of a struct without a name and without a typedef cannot be looked up in the kernel:
```
struct { int pid; } __attribute__((preserve_access_index)) *task;
```

## Repair
Give the struct the kernel's name. If the compiler made a path that does not fit its own types, the object is damaged:
build it again.
""",
    ),
    Code(
        "CORE002",
        "an ambiguous CO-RE relocation",
        """
## Meaning
The kernel has several types of the wanted name that all fit, and they disagree: in one the field lies elsewhere than in
the other.

## Why
Nothing says which of them the program's pointer leads to. Taking the first would read from a wrong place in half of
the cases.

## Example
Two drivers each define their own `struct ring`, with `head` at different offsets:
```
struct ring { unsigned head; } __attribute__((preserve_access_index));
```

## Repair
Declare more fields of the struct that is meant, with their types, so that the other one does not fit any more; or cast
the pointer to the right type's own name.
""",
    ),
    Code(
        "CORE003",
        "a value that does not fit its instruction",
        """
## Meaning
The relocation's value cannot be put into the instruction: an offset beyond 32767 in a load, a number beyond 32 bits
in a 32-bit operation, an instruction that carries no such value, or one that holds another number than the program's
own types say.

## Why
Code and type information that do not belong together give wrong offsets. Offsets of loads have 16 bits, and a larger
one would wrap around.

## Example
A field that lies 40,000 bytes into a struct is read with one load instruction.

## Repair
Take the address first (`void *p = &s->far_field`) and read through it. If the message says that the instruction holds
another number, the object was changed after it was compiled: build it again.
""",
    ),
    Code(
        "CORE004",
        "an access to something that this kernel does not have",
        """
## Meaning
The program reads a field, or uses an enumerator, that the types of this kernel do not have, and does so where the
verifier cannot rule it out. In place of the access stands a call of helper 195896080, which does not exist, and of
which the kernel's own message speaks.

## Why
Fields come and go between kernel versions. An access that is guarded by a check is removed together with its branch;
an unguarded one must not load, since it would read something else.

## Example
```
u64 start = BPF_CORE_READ(task, real_start_time);    /* start_boottime since Linux 5.5 */
```

## Repair
Ask first, and offer the alternative:
```
if (bpf_core_field_exists(task->start_boottime))
    start = BPF_CORE_READ(task, start_boottime);
```
""",
    ),
    Code(
        "CORE005",
        "CO-RE relocations without type information",
        """
## Meaning
A program is to be fitted to a kernel's types, but the collection has no types of its own that say what is meant.

## Why
Relocations refer to types by number. Without the types, the numbers mean nothing.

## Example
An object after `llvm-objcopy --remove-section .BTF` that kept its `.BTF.ext`.

## Repair
Keep both sections: compile with `-g`, and strip with `llvm-strip -g`, which leaves BTF alone.
""",
    ),
)
