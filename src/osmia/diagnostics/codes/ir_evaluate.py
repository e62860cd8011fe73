"""Codes of the compiler: faults of the reference evaluator."""

from __future__ import annotations

from osmia.diagnostics.codes import Code

ROWS = (
    Code(
        "IR340",
        "a function that breaks the rules of the IR, found while it was evaluated",
        r"""
## Meaning
An operation has operands, types or attributes that its row does not allow, uses a value that is not defined on the
way that was taken, or names a block, map, local or function that does not exist.

## Why
The evaluator is the reference for what legal programs do. It does not guess what an illegal one means.

## Example
A value of one branch is used in the other:
```
^then:
  %1: u32 = const; value=1
  br; to=^join
^join:
  ret %1
```

## Repair
Run `compiler.legality` over the module: it finds the mistake without running the program. Values that several ways
give go through a local (`local.set` on each way, `local.get` where they meet).
""",
    ),
    Code(
        "IR341",
        "an access outside its piece of memory",
        r"""
## Meaning
A load, a store or a helper reaches bytes before the start or behind the end of the local, map value, record,
variable or context that the pointer came from.

## Why
The verifier refuses such an access; if it were let through, it would read or destroy something else.

## Example
```
  %p: ptr<stack, u64> = field %four_bytes; offset=4, name="next"
  %v: u64 = load %p
```

## Repair
Compare the offset and the size with the layout: the message tells where the access starts and how large the memory
is. For an index at run time use `br.inrange`.
""",
    ),
    Code(
        "IR342",
        "an access through a null pointer",
        r"""
## Meaning
The pointer is null: a lookup found nothing, a ring buffer was full, a weak symbol does not exist, or a kernel
pointer was zero.

## Why
The verifier demands a check of every pointer that may be null before it is used.

## Example
```
  %v: ptr<map, u64>? = map.lookup %key; map=@counts
  %n: u64 = load %v
```

## Repair
Branch on it, and use the checked pointer where it is there:
```
  %p: ptr<map, u64> = br.nonnull %v; then=^found, other=^missing
^found:
  %n: u64 = load %p
```
""",
    ),
    Code(
        "IR343",
        "an access to memory that is not what the pointer's type says",
        r"""
## Meaning
The pointer leads to memory of another kind than its type promises, to no memory at all, or to memory that has
ended: a local of a function that has returned, a ring record that was submitted, a packet that a helper has
changed.

## Why
Which instruction reads a byte depends on where it lies. Plain loads from user or kernel addresses are refused by
the verifier or read something else.

## Example
A record is written to after it was handed over:
```
  ring.submit %record
  store %field, %value
```

## Repair
Finish with the memory before it ends. Addresses of the kernel and of user space are read with `read.kernel`,
`read.user` or `read.value`; packet pointers are loaded from the context again after a helper has changed the
packet.
""",
    ),
    Code(
        "IR344",
        "a store to memory that programs may only read",
        r"""
## Meaning
The program changes a constant, a map made for reading, or kernel or user memory through a plain store.

## Why
Constants lie in a frozen map, and kernel memory is never the program's to change; the verifier refuses both.

## Example
```
global @limit: u32 in ".rodata" = x"10000000"
...
  %p: ptr<global, u32> = global.addr; name=@limit
  store %p, %new
```

## Repair
Put a variable that changes in `.data` or `.bss`, leave `BPF_F_RDONLY_PROG` off maps that the program updates, and
copy kernel memory to a local before changing it.
""",
    ),
    Code(
        "IR345",
        "an access to packet bytes that no check has proven to exist",
        r"""
## Meaning
A load or store of packet data is not covered by the `br.packet` that its pointer came from, or the pointers that
were compared belong to packets of different times.

## Why
A packet may end anywhere. The verifier admits only bytes that a comparison with the packet's end has proven on
every way.

## Example
```
  %eth: ptr<packet, bytes, 14> = br.packet %data, %zero, %end; size=14, then=^ok, other=^short
^ok:
  %far: ptr<packet, u8, 1> = field %eth; offset=20, name="ttl"
  %ttl: u8 = load %far
```

## Repair
Ask for as many bytes as are used (`size=34` here), or check again with the offset of the next header. After a
helper that changes the packet load `data` and `data_end` anew.
""",
    ),
    Code(
        "IR346",
        "a local that is read before it is set",
        r"""
## Meaning
With `strict_locals` the evaluator refuses to read a scalar local that nothing has been stored to on the way that
was taken.

## Why
Compiled code starts such a local at zero, so nothing breaks; but a front end that means to set it first has
forgotten a way.

## Example
```
  local $total: u64
^entry:
  %0: u64 = local.get; local=$total
```

## Repair
Set the local on every way before it is read, or run without `strict_locals` where its zero is meant.
""",
    ),
    Code(
        "IR347",
        "an evaluation that took more steps than it may",
        r"""
## Meaning
The program ran more operations than the limit that the call gave, one million if it gave none.

## Why
A loop that never ends would never come back. The kernel's verifier has a limit of about one million instructions as
well.

## Example
```
^again:
  br; to=^again
```

## Repair
Bound the loop. If the program is right and needs more, say so: `evaluator.run("main", steps=10_000_000)`.
""",
    ),
    Code(
        "IR348",
        "a helper, kernel function, symbol or option that the evaluator does not have",
        r"""
## Meaning
The program asks the kernel for something by name, and the evaluator neither knows it nor was given it.

## Why
Making up an answer would make the comparison with the real program worthless.

## Example
```
  %0: u64 = helper %ctx; name="get_func_arg_cnt"
```
when the evaluator was made without such a helper.

## Repair
Give it what the test needs:
```
Evaluator(module, helpers={"get_func_arg_cnt": lambda run, ctx: 3}, kconfig={"CONFIG_HZ": 250},
          ksyms={"bpf_prog_active": address}, kfuncs={"bpf_rcu_read_lock": lambda run: None})
```
""",
    ),
    Code(
        "IR349",
        "a helper that got an argument the verifier would refuse",
        r"""
## Meaning
The helper wants another kind of argument: a map of a certain kind, a pointer, a constant string, a format that the
kernel knows, a packet where the program has none.

## Why
The verifier checks every argument of a helper by its prototype before the program may run.

## Example
A format with one conversion gets two values:
```
  printk %a, %b; format="a=%d"
```

## Repair
Compare the call with the helper's row in `osmia.abi.helpers`. A message has one value for every conversion; whole
64-bit numbers are `%lld` and `%llu`.
""",
    ),
    Code(
        "IR350",
        "a ring buffer record that is not ended exactly once",
        r"""
## Meaning
A record was reserved and neither submitted nor discarded when the program ended, or one was ended twice or through
a pointer that is not its start.

## Why
Until a record is ended, user space sees nothing that was reserved after it. The verifier refuses programs that
leave one behind.

## Example
```
  %r: ptr<ring, struct Event> = br.nonnull %0; then=^ok, other=^full
^ok:
  ret %1
```

## Repair
Put `ring.submit` or `ring.discard` on every way that leads from the reservation to the end of the program, exactly
once.
""",
    ),
    Code(
        "IR351",
        "a kernel type, field or enumerator that the evaluator does not find",
        r"""
## Meaning
A CO-RE operation names something that the BTF or the layouts given to the evaluator do not have, or nothing was
given at all.

## Why
In the real kernel such an access is replaced by an invalid instruction when the program is loaded, and running it
is refused.

## Example
```
  %p: ptr<kernel, u32> = core.field %task; base=kstruct task_struct, steps=(("cpu", u32),)
```
on a kernel whose `task_struct` has no member `cpu`.

## Repair
Test it with `core.field_exists` and take another way where it is false. For the evaluator give `btf=` (a kernel's
types) or `core={"task_struct": layout}`.
""",
    ),
    Code(
        "IR352",
        "an operation that says it cannot be reached, and was",
        r"""
## Meaning
The program came to an operation `unreachable`, on a way that its front end ruled out.

## Why
A front end puts the operation where it is certain that no way leads. If one does, the front end has made a mistake,
and compiled code would end the program with 0 there.

## Example
```
  switch %kind; cases=((0, ^a), (1, ^b)), default=^never
^never:
  unreachable
```
with a `%kind` of 2.

## Repair
Correct what was assumed, or handle the case: return a value, or branch to a block that does.
""",
    ),
    Code(
        "IR353",
        "calls that are nested too deep",
        r"""
## Meaning
More than eight functions are active at once, or a function calls itself.

## Why
The kernel allows eight frames, of 512 bytes of stack together, and no recursion. Inlined functions need no frame,
but cannot contain themselves.

## Example
```
function static @count(%n: u64) -> u64 {
^entry:
  %0: u64 = call %n; function=@count
  ret %0
}
```

## Repair
Write a loop in place of the recursion, and make small functions `inline`.
""",
    ),
    Code(
        "IR354",
        "a map operation that programs cannot do with this kind of map",
        r"""
## Meaning
The kind of map has no such operation for programs: arrays of programs are only for tail calls, queues have no keys,
ring buffers no lookups, some maps are only for user space or only for writing.

## Why
The verifier knows which helpers go with which kinds of maps, and refuses the others.

## Example
```
map @jumps: prog_array {key=u32, value=u32, max_entries=8}
...
  %v: ptr<map, u32>? = map.lookup %key; map=@jumps
```

## Repair
Use the operation that the kind has (`osmia.abi.map_types` lists the helpers of each), or another kind of map.
""",
    ),
    Code(
        "IR355",
        "an element behind the end of its array",
        r"""
## Meaning
The index of `element` is not below the number of elements that the pointer's type has.

## Why
The operation's rule is that its index is proven. An index that goes beyond the array but stays in the struct around
it would read a neighbour without anybody noticing.

## Example
```
  %p: ptr<stack, u32> = element %array, %i
```
with `%array: ptr<stack, u32[4]>` and 4 in `%i`.

## Repair
Prove the index where it is not a constant:
```
  %k: u64 = br.inrange %i; count=4, then=^inside, other=^outside
^inside:
  %p: ptr<stack, u32> = element %array, %k
```
""",
    ),
    Code(
        "IR356",
        "an atomic operation on an address that is not aligned",
        r"""
## Meaning
The address is no multiple of the operation's size, which is four or eight bytes.

## Why
Processors do not promise atomicity across the borders of a word, and the verifier refuses what might cross one.

## Example
A counter of eight bytes at offset 4 of a packed struct:
```
  %p: ptr<map, u64> = field %value; offset=4, name="hits"
  atomic.add %p, %one
```

## Repair
Lay the struct out with natural alignment, as `Struct.of` does, or put the counter first.
""",
    ),
    Code(
        "IR357",
        "a call of the evaluator that makes no sense",
        r"""
## Meaning
The test asks for a function, map or variable that the module does not have, gives arguments that do not fit the
function, a value that does not fit a map's layout, or memory where there is some already.

## Why
The evaluator packs what it is given into bytes by the module's layouts. What does not fit would otherwise become
another value.

## Example
```
evaluator.maps["counts"]["init"] = 1
```
where the keys are `u32`.

## Repair
Look at the hint: it lists the names that exist. Keys and values are Python values of the map's layouts, or bytes of
exactly the right size.
""",
    ),
    Code(
        "IR358",
        "a spin lock that is not taken and released in turn",
        r"""
## Meaning
A second lock is taken while one is held, one is released that is not held, or the program ends with one.

## Why
A program that keeps a lock stops every other CPU that wants it. The verifier allows one lock at a time, released on
every way.

## Example
```
  helper %lock; name="spin_lock"
  ret %zero
```

## Repair
Release it before every end:
```
  helper %lock; name="spin_lock"
  helper %lock; name="spin_unlock"
  ret %zero
```
""",
    ),
    Code(
        "IR359",
        "a copy between pieces of memory that overlap",
        r"""
## Meaning
`copy` got a source and a destination in the same memory, less than its size apart, and not the same.

## Why
The operation is lowered to loads and stores in an order that depends on size and alignment, so an overlapping copy
has no defined result.

## Example
```
  %to: ptr<stack, bytes[16]> = field %buffer; offset=4, name="rest"
  copy %to, %buffer; size=16
```

## Repair
Copy through another local, or element by element in the order that is meant.
""",
    ),
)
