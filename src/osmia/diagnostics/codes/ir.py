"""Rows of the area IR: the legality of the typed IR, its passes, and code generation."""

from __future__ import annotations

from osmia.diagnostics.codes import Code

ROWS = (
    Code(
        "IR001",
        "an operation of the typed IR is unknown or has the wrong number of operands",
        """
## Meaning
A function of the typed IR holds an operation that the table of operations does not have, or gives one more or
fewer operands than its row asks for.

## Why
Every later step looks operations up in that table. An unknown one has no meaning: there would be nothing to
check, to evaluate or to generate.

## Example
```
%2: u64 = plus %0, %1
```

## Repair
Use an operation of `docs/ir.md` (here `add`) with the operands listed there. Where the IR comes from a front
end, the front end is at fault: report it with the source.
""",
    ),
    Code(
        "IR002",
        "an operand has a type that its operation does not take",
        """
## Meaning
An operand of the named operation is of the wrong type: a pointer where an integer is wanted, two integers of
different types in one addition, a value that does not fit the memory it is stored in.

## Why
Operations have no conversions built in. Adding a `u32` to a `u64` could mean two things (extend with zeros or
with the sign), and a compiler that guesses gets it wrong half of the time.

## Example
```
%2: u64 = add %wide, %narrow
```

## Repair
Convert one operand first: `zext`, `sext` or `trunc` change the width, `retype` changes the sign.

```
%1: u64 = zext %narrow
%2: u64 = add %wide, %1
```
""",
    ),
    Code(
        "IR003",
        "an attribute of an operation or a global is missing or wrong",
        """
## Meaning
An operation lacks an attribute, has one that it does not know, or has one with an impossible value: a constant
that does not fit its type, a size of 0, a case that is there twice. For globals: a section that does not exist,
or contents that are not as long as the type.

## Why
Attributes are the constants that an operation is made of. Silently taking a constant modulo 2^n or ignoring an
attribute would compile something else than was written.

## Example
```
%1: u8 = const; value=300
```

## Repair
Give the attribute a value that fits, or choose a wider type.
""",
    ),
    Code(
        "IR004",
        "the result of an operation has the wrong type",
        """
## Meaning
The result's type is not the one that the operation gives for its operands. Comparisons give `bool`, arithmetic
gives the type of its operands, a load gives what the pointer points to.

## Why
The type of a result decides how everything after it is checked. A wrong one would let a later access through
that the verifier, or worse the running kernel, objects to.

## Example
```
%2: u64 = ult %0, %1
```

## Repair
Declare the type that the message names, here `bool`.
""",
    ),
    Code(
        "IR005",
        "blocks of a function are not put together properly",
        """
## Meaning
A block is empty, does not end with a terminator, has one in the middle, has the label of another block, or
something branches to the entry block; or a function has no blocks.

## Why
A block is a straight piece of code with one way out. Without a terminator, execution would run into whatever
happens to stand behind it.

## Example
```
^entry:
  %0: u64 = const; value=1
^next:
  ret %0
```

## Repair
End each block with exactly one of `br`, `condbr`, `switch`, `ret`, `unreachable` or one of the checks
`br.nonnull`, `br.inrange`, `br.packet`.
""",
    ),
    Code(
        "IR006",
        "a value is used where it is not defined",
        """
## Meaning
A value is used before its definition, on a way through the function that does not pass its definition, or is
defined twice. The result of a check counts as defined in the block that the check alone leads to.

## Why
On the way that misses the definition the value would be whatever a register holds. The verifier refuses such
code as reading an uninitialised register.

## Example
```
  condbr %c; then=^a, other=^b
^a:
  %1: u64 = const; value=1
  br; to=^b
^b:
  ret %1
```

## Repair
Keep what differs by way in a local: `local.set` on each way, `local.get` where they meet. Give a check a block
of its own to branch to.
""",
    ),
    Code(
        "IR007",
        "a name in an operation belongs to nothing",
        """
## Meaning
An operation names a local, map, global, function or block that the function or module does not have; or a map's
contents name a program or map that is not there.

## Why
Names are resolved inside one module. A missing one cannot be filled in later, since nothing links BPF modules
of this kind together.

## Example
```
%1: ptr<map, u64>? = map.lookup %key; map=@cuonts
```

## Repair
Correct the name, or add the declaration (`map @counts: hash {...}`).
""",
    ),
    Code(
        "IR008",
        "a call has more than five arguments",
        """
## Meaning
A function that is really called (static, global, callback, helper or kernel function) has more than five
parameters.

## Why
BPF passes arguments in the registers r1 to r5 and has no stack arguments. LLVM's BPF back end ends the whole
process when it meets a sixth one.

## Example
```
%1: u64 = helper %a, %b, %c, %d, %e, %f; name="some_helper"
```

## Repair
Put several values into a struct and pass its address. A function of kind `inline` may have any number of
parameters, because no call remains of it.
""",
    ),
    Code(
        "IR009",
        "functions call each other in a circle",
        """
## Meaning
A function calls itself, directly or through others; the message shows the circle.

## Why
The verifier adds up the stack of nested calls, at most 512 bytes in eight frames, before a program runs.
Recursion has no such bound, so every kernel refuses it.

## Example
```
function static @f(%x: u64) -> u64 {
^entry:
  %0: u64 = call %x; function=@f
  ret %0
}
```

## Repair
Write a loop with a bound. For loops with very many rounds use the helper `bpf_loop` with a callback.
""",
    ),
    Code(
        "IR010",
        "memory cannot be reached in this way",
        """
## Meaning
The pointer points to memory that the operation may not touch: a load through a user address, a store to kernel
memory, a map key that lies in the context, an atomic on a packet.

## Why
Each kind of memory has its own rules. User and kernel addresses may be invalid and are read by probe reads that
can fail; plain loads there would crash the kernel, so the verifier refuses them.

## Example
```
%1: u32 = load %user_pointer
```

## Repair
Use `read.user`, `read.kernel` or `read.value` for addresses. Copy a key or value to a local before it goes to a
helper. Kernel memory cannot be written.
""",
    ),
    Code(
        "IR011",
        "a pointer that may be null is used without a check",
        """
## Meaning
The pointer's type ends with `?`: it may be null, as the result of a map lookup may. The operation needs one
that is not.

## Why
A lookup that finds nothing gives null. The verifier refuses every program that does not tell the two cases
apart before it uses the pointer.

## Example
```
%v: ptr<map, u64>? = map.lookup %key; map=@counts
%n: u64 = load %v
```

## Repair
Branch first; the result of the check is usable where the pointer is not null.

```
%p: ptr<map, u64> = br.nonnull %v; then=^found, other=^missing
```
""",
    ),
    Code(
        "IR012",
        "an access reaches beyond its memory",
        """
## Meaning
A load, store, copy or field ends behind the last byte that the pointer's type promises; a map key or value is
smaller than the map wants; a packet pointer is used without a check, or for more bytes than were checked.

## Why
The verifier knows the size of every piece of memory and refuses accesses outside. For packets, it knows only
what the program has compared with the packet's end.

## Example
```
%h: ptr<packet, bytes, 14> = br.packet %data, %zero, %end; size=14, then=^ok, other=^short
%f: ptr<packet, u32, 4> = field %h; offset=12, name="word"
```

## Repair
Access fewer bytes, choose a larger type, or check more bytes of the packet at once (here `size=16`).
""",
    ),
    Code(
        "IR013",
        "a program needs more than 512 bytes of stack",
        """
## Meaning
After everything that can move has moved to scratch memory, a chain of calls still needs more stack than the
kernel allows: 512 bytes in all (256 above a tail call), or more than eight nested calls. The notes list the
bytes of each function.

## Why
The kernel's limit is fixed and checked when a program is loaded. What is left is what the code generator needs
for values that are alive at the same time.

## Example
```
a single function that computes several hundred values before it uses any of them
```

## Repair
Split the function into several that are called rather than inlined, use values soon after they are computed, or
reduce the depth of calls.
""",
    ),
    Code(
        "IR014",
        "an atomic operation of a width or kind that does not exist",
        """
## Meaning
Atomic operations are there for 32 and 64 bits. On kernels before 5.12 there is only addition that does not give
the old value.

## Why
The instruction set (RFC 9669) has atomics for words and double words only. LLVM ends the process when it is
asked for narrower ones.

## Example
```
atomic.add %pointer_to_u16, %one
```

## Repair
Use a field of 32 or 64 bits, or compare and exchange the whole 32-bit word that holds the narrow field. For old
kernels choose a target of 5.12 or later.
""",
    ),
    Code(
        "IR015",
        "arguments or results do not match a function",
        """
## Meaning
A call gives arguments of other types, or another number of them, than the function's parameters; a `ret` gives
a value of another type than the function returns; or an operation needs the context in a function that does not
have it.

## Why
Both sides must agree on registers and widths. A 32-bit value passed where 64 bits are read would leave the
upper half to chance.

## Example
```
function static @f(%x: u64) -> u64 { ... }
%1: u64 = call %narrow; function=@f
```

## Repair
Convert the arguments, or change the function's signature. Pass the context on as a parameter where it is
needed.
""",
    ),
    Code(
        "IR016",
        "a name or type that cannot stand here",
        """
## Meaning
Two of the module's maps, globals and functions have the same name, or a name has characters that an object file
cannot hold; or a type is used where it cannot be: a struct as a value, a pointer as the result of a program.

## Why
Maps, globals and functions become symbols of one ELF file, which have one space of names. Structs live in
memory only: registers hold 64 bits, and LLVM refuses functions that return more.

## Example
```
map @counts: hash {key=u32, value=u64, max_entries=8}
global @counts: u64 in ".bss"
```

## Repair
Rename one of them. Pass structs by their address.
""",
    ),
    Code(
        "IR017",
        "a tail call would lose large locals",
        """
## Meaning
The program keeps large locals in scratch memory, makes a tail call, and uses those locals again where the tail
call fails.

## Why
A tail call that succeeds never returns, so the slot of scratch memory must be given back before it. When it
fails, another activation may have taken the slot in the meantime, with the contents gone.

## Example
```
a program with a local of 1,000 bytes that is read after `tail_call`
```

## Repair
Make the tail call where the large locals are no longer needed, make it in the program itself rather than in a
function it calls, or use smaller locals that stay on the stack.
""",
    ),
    Code(
        "IR018",
        "a helper is unknown or has other arguments",
        """
## Meaning
The kernel has no helper of that name, or the helper takes another number of arguments. The hint shows the
nearest names or the helper's prototype.

## Why
Helpers are called by number with arguments in registers. A missing argument would be whatever the register
holds, which the verifier refuses.

## Example
```
%1: u64 = helper; name="ktime_get_nanoseconds"
```

## Repair
Use a name of the helper table (`bpf_ktime_get_ns`, also without `bpf_`) and give exactly its arguments.
""",
    ),
    Code(
        "IR019",
        "a message's format does not fit its values",
        """
## Meaning
The format of a printed message has more or fewer conversions than there are values, a conversion that the
kernel does not know, or one that does not fit the value's type.

## Why
The kernel checks formats when the message is printed and then prints nothing. Checking here shows the mistake
before the program runs.

## Example
```
printk %pid; format="pid %d cpu %d"
```

## Repair
Give one value for each conversion; `%%` prints a percent sign. Conversions are `d i u x X c s p`, with `l` and
`ll`; at most 12 values.
""",
    ),
    Code(
        "IR020",
        "a map is used in a way that its type does not have",
        """
## Meaning
The map's type is unknown, or it does not offer the operation: a ring buffer has no lookup, a hash table no
records to reserve, only a `prog_array` takes tail calls.

## Why
Each map type has its own set of helpers; the verifier refuses the others.

## Example
```
%1: ptr<map, u64>? = map.lookup %key; map=@events
```

## Repair
Choose another map type, or the operation that the type has (`ring.reserve` and `ring.submit` for ring buffers).
""",
    ),
    Code(
        "IR021",
        "an index is not proven to be in range",
        """
## Meaning
An element of an array is taken with an index that nothing bounds, or whose bound is larger than the array; or a
variable index is used in memory that takes constant offsets only (context, packet, kernel types).

## Why
The verifier must see, on the register itself, that the index is below the number of elements. A comparison
somewhere before is not enough when the compiler may move it.

## Example
```
%e: ptr<stack, u64> = element %array, %i
```

## Repair
Check the index with `br.inrange` and use the result.

```
%j: u32 = br.inrange %i; count=8, then=^inside, other=^outside
```
""",
    ),
    Code(
        "IR022",
        "a path through a kernel type is wrong",
        """
## Meaning
A CO-RE access names a member of something that is no struct or union, indexes something that is no array, gives
one member two types in the same program, or names a kernel type that cannot be one.

## Why
The path becomes a relocation that is resolved against the running kernel's BTF. It has to make sense by itself
first.

## Example
```
%f: ptr<btf, u32> = core.field %task; base=kstruct task_struct, steps=(("comm", char[16]), ("len", u32))
```

## Repair
Follow the kernel's definition: one step per member or index, each with the type that it ends at. Pointers are
loaded, not stepped through.
""",
    ),
    Code(
        "IR023",
        "a function becomes too large",
        """
## Meaning
With everything that is inlined into it, a function has more code than fits: more than 20,000 instructions, or
so many operations that compiling them makes no sense.

## Why
Jumps in BPF span 32,767 instructions (cpu v3). LLVM ends the process when a jump is farther. The verifier also
walks at most a million instructions in all.

## Example
```
a function of 1,000 operations inlined in forty places
```

## Repair
Let large functions be called rather than inlined (kind `static`), and write loops instead of repeated code.
""",
    ),
    Code(
        "IR024",
        "the locals of one activation do not fit scratch memory",
        """
## Meaning
All large locals that are alive in one run of a program take more than a mebibyte together. The notes name the
largest.

## Why
Scratch memory is set aside for every run that may be under way at the same time, so its size counts many times
over.

## Example
```
a program with a local array of two million bytes
```

## Repair
Keep large data in a map of its own and look up what is needed.
""",
    ),
    Code(
        "IR025",
        "a function is used in a way that its kind does not allow",
        """
## Meaning
A program or callback is called like an ordinary function, the address of a function that is no callback is
taken, a program has no section or more than one parameter, or a callback makes a tail call.

## Why
Programs are called by the kernel with a context, callbacks by a helper with that helper's arguments. Calling
them from a program would pass them something else.

## Example
```
%1: u64 = call %ctx; function=@another_program
```

## Repair
Move what is shared to a function of kind `inline` or `static` and call it from both.
""",
    ),
    Code(
        "IR090",
        "LLVM's library cannot be used",
        """
## Meaning
The package llvmlite, which carries LLVM, is missing, or its library is of a version that Osmia does not know.

## Why
Code is generated by LLVM inside this process. Another version may not know the options that keep it from ending
the process on code it cannot handle, so it is not used at all.

## Example
```
pip uninstall llvmlite
osmia run opensnoop
```

## Repair
Install a known version into the same environment: `pip install 'llvmlite>=0.46,<0.51'`. Programs that were
compiled before run from the cache without it.
""",
    ),
    Code(
        "IR099",
        "LLVM refused the generated code",
        """
## Meaning
The text that code generation made is not valid for LLVM. The details have LLVM's own words.

## Why
This cannot happen for a module that passes the legality checks; it is an error in Osmia, caught before LLVM
would end the process.

## Example
```
no program is known that does this
```

## Repair
Report it, with the program and the details shown. Rewriting the line that the message points to may avoid it
until then.
""",
    ),
)
