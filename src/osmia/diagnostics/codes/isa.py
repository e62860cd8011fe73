"""Codes of the instruction set: bytes and text that are no BPF instructions, and the classic machine."""

from __future__ import annotations

from osmia.diagnostics.codes import Code

ROWS = (
    Code(
        "ISA001",
        "bytes that are no whole number of instruction slots",
        """
## Meaning
BPF instructions take 8 bytes each (a wide load 16). The number of bytes given is no multiple of 8.

## Why
The rest would be half an instruction; leaving it out would be another program.

## Example
A section of an object file that was cut off by a failed download.

## Repair
Get the bytes again, or check that they are a program at all: maps, strings and BTF live in other sections.
""",
    ),
    Code(
        "ISA002",
        "a wide load without its second half",
        """
## Meaning
The opcode 0x18 (`r1 = 0x1122334455667788 ll`) takes two slots: the second has the upper 32 bits. The program ends
after the first.

## Why
The number that would be loaded is not there.

## Example
`18 01 00 00 05 00 00 00` as the last eight bytes of a program.

## Repair
Add the second slot (eight zero bytes for a number below 2**32), or look for why the program was cut there.
""",
    ),
    Code(
        "ISA003",
        "a wide load whose second half is something else",
        """
## Meaning
In the second slot of a wide load only the immediate means something. Its opcode, registers or offset are not zero.

## Why
Those fields are reserved (RFC 9669, section 5.4). Non-zero ones usually mean that the slot is an instruction of its
own and that the first slot is damaged or a jump distance is wrong.

## Example
`18 01 00 00 05 00 00 00` followed by `95 00 00 00 00 00 00 00` (`exit`).

## Repair
Insert the missing second slot, or zero the reserved fields.
""",
    ),
    Code(
        "ISA004",
        "a field that does not fit its place",
        """
## Meaning
An `Instruction` was made with a number that has no room in the encoding: registers have 4 bits, the opcode 8,
the offset 16 (signed), the immediate 32 (signed). Only a wide load has an upper immediate.

## Why
Cutting the number down to the bits that exist would silently encode another instruction.

## Example
`Instruction(0xB7, 1, 0, 0, 0xFFFFFFFF)`: as a signed 32-bit number that immediate is -1.

## Repair
Give immediates as signed numbers (`osmia.isa.instruction.signed32` converts), and use a wide load for large ones.
""",
    ),
    Code(
        "ISA010",
        "an opcode that does not exist",
        """
## Meaning
The first byte of an instruction is none of the opcodes of RFC 9669 or of the Linux extensions that Osmia knows.
`osmia.isa.reference` lists them.

## Why
No engine could run it, and the kernel's verifier refuses it as well.

## Example
`8c` (32-bit negation with a register source), or bytes that are no program.

## Repair
Check that the bytes are a BPF program and are read in the right byte order (`bpfel` or `bpfeb`).
""",
    ),
    Code(
        "ISA011",
        "a reserved field that is not zero",
        """
## Meaning
The opcode exists, but a field that this instruction does not use has a value, or a field that selects a variant has a
value for which there is none.

## Why
Reserved fields must be zero (RFC 9669, section 3), so that later versions can give them a meaning. `offset=1` turns a
division into a signed one, for example: ignoring it would be another computation.

## Example
`07 10 00 00 01 00 00 00`: `r0 += 1` with a source register of 1.

## Repair
Zero the field, or correct it to the variant that was meant.
""",
    ),
    Code(
        "ISA012",
        "a register that does not exist",
        """
## Meaning
Registers are r0 to r10. The field has four bits, so that bytes can also say r11 to r15.

## Why
An instruction that names another one has nothing to read from or to write to.

## Example
`0f 0b 00 00 00 00 00 00`: `r11 += r0`. LLVM prints r11 when it has run out of registers internally.

## Repair
Use r0 to r9; r10 is the frame pointer.
""",
    ),
    Code(
        "ISA013",
        "the frame pointer is written",
        """
## Meaning
r10 points at the end of the stack frame and is read-only. This instruction would change it.

## Why
The stack's bounds are counted from r10 (RFC 9669, section 2).

## Example
`r10 += -8`

## Repair
Copy it first: `r2 = r10`, then `r2 += -8`.
""",
    ),
    Code(
        "ISA014",
        "a jump out of the program",
        """
## Meaning
The target of a jump, of a call to a local function or of a callback is before the first or beyond the last
instruction. Distances count 8-byte slots from the following instruction on.

## Why
There is no instruction at that place which could be executed.

## Example
`goto +3` as the last but one instruction.

## Repair
Use labels instead of distances, so that the assembler counts. In an object file, check that the call has been
relocated: before that it says -1.
""",
    ),
    Code(
        "ISA015",
        "a jump into the middle of a wide load",
        """
## Meaning
The target of a jump is the second slot of a wide load, which is no instruction.

## Why
That slot has opcode 0; executing it means nothing.

## Example
    if r1 == 0 goto +1
    r2 = 0x1122334455667788 ll
    exit

## Repair
A wide load counts as two slots: here `goto +2` was meant. Labels avoid the counting.
""",
    ),
    Code(
        "ISA016",
        "a program that runs off its end",
        """
## Meaning
The last instruction is neither `exit` nor an unconditional jump.

## Why
After the last instruction there is nothing that could be executed next.

## Example
A program of one instruction, `r0 = 0`.

## Repair
End it with `exit`. When assembling a fragment, pass `check=False`.
""",
    ),
    Code(
        "ISA017",
        "a program without instructions",
        """
## Meaning
What was given does not contain a single instruction.

## Why
A program at least returns: the shortest is `r0 = 0` and `exit`.

## Example
A text that has comments only, or an empty section.

## Repair
Check that the right file or section was given.
""",
    ),
    Code(
        "ISA030",
        "something in the text that is no token",
        """
## Meaning
The assembler met a character that no instruction contains, a word that looks like a number and is none, or a `.raw`
directive that does not have exactly eight bytes.

## Why
Skipping it could change the meaning of the line.

## Example
`r0 = 12ab` (hexadecimal numbers begin with `0x`), `r0 = 010` (a leading zero means octal to some assemblers).

## Repair
Write decimal numbers without leading zeros and hexadecimal ones after `0x`. Comments begin with `#`, `//` or `;`.
""",
    ),
    Code(
        "ISA031",
        "a line that is no instruction",
        """
## Meaning
No instruction of the table has this form. The place is the first token with which no instruction can go on; the hint
says what could have stood there.

## Why
The grammar is exactly the instruction table: what is not in it cannot be encoded.

## Example
`r0 = *(u32 *)(w1 + 4)`: addresses are 64 bits wide.

## Repair
See the forms in the instruction reference. The mnemonic dialect (`mov r0, 5`) has an assembler of its own,
`osmia.isa.mnemonics`.
""",
    ),
    Code(
        "ISA032",
        "a wrong register in the text",
        """
## Meaning
The register does not exist (they are r0 to r10, and w0 to w10 for their low halves), or an instruction that works in
place names two different ones.

## Why
`r1 = be16 r2` cannot be encoded: there is one register field, and it is read and written.

## Example
`r0 |= r50`; `r1 = -r2`

## Repair
Move first: `r1 = r2`, then `r1 = be16 r1`.
""",
    ),
    Code(
        "ISA033",
        "a number that does not fit its field",
        """
## Meaning
Immediates have 32 bits, offsets 16, distances 16 (32 for `gotol` and calls). A decimal immediate is signed; a
hexadecimal one may also be given as the bit pattern of all its bits.

## Why
Cutting it would silently be another number. `r0 = 2147483648` is refused because the encoded immediate would be
negative.

## Example
`w0 = 2147483648` (write `w0 = 0x80000000`); `r0 = *(u8 *)(r1 + 40000)`

## Repair
Load large numbers with a wide load, `r0 = 2147483648 ll`; add large offsets to a register first.
""",
    ),
    Code(
        "ISA034",
        "a label that is not defined",
        """
## Meaning
A jump or call names a label that no line of the text defines.

## Why
Without the label the distance to jump cannot be computed.

## Example
`goto done` without a line `done:`

## Repair
Define it by a line `NAME:`, or correct the spelling; the hint lists similar labels.
""",
    ),
    Code(
        "ISA035",
        "a label that cannot be defined so",
        """
## Meaning
A label is defined twice, or it has the name of a register (`r0`, `w3`) or of the program counter (`pc`).

## Why
It could not be told what a jump to that name means.

## Example
Two lines `loop:` in one text.

## Repair
Rename one of the two labels, and the jumps that mean it.
""",
    ),
    Code(
        "ISA036",
        "a name that nobody knows",
        """
## Meaning
A helper, kernel function or map is named in the text, and the tables of names given to the assembler do not have it;
or no table was given.

## Why
Instructions carry numbers. The instruction set itself knows no names: those of helpers come from `osmia.abi`, those of
maps from whoever created them.

## Example
`call bpf_get_prandom_u32` without `helpers=`.

## Repair
Write the number (`call 7`), or pass `helpers={"bpf_get_prandom_u32": 7}`; likewise `kfuncs=` and `maps=`.
""",
    ),
    Code(
        "ISA037",
        "a name that means two things",
        """
## Meaning
A called name is both a label of the text and a helper, or a call `NAME#NUMBER` (as the verifier prints it) gives a
number that is not the helper's.

## Why
Either reading could be the wrong one, and both would assemble without complaint.

## Example
A local function labelled `bpf_ktime_get_ns`.

## Repair
Rename the label, or drop the name or the number.
""",
    ),
    Code(
        "ISA050",
        "something that is no classic program",
        """
## Meaning
The bytes are no whole number of 8-byte `struct sock_filter`, or the numbers are in none of the forms that tools print:
`tcpdump -ddd` (a count, then `code jt jf k` on each line), `bpf_asm` (the same separated by commas), `tcpdump -dd`
(`{ 0x28, 0, 0, 0x0000000c },`).

## Why
A missing or additional number would shift all others.

## Example
Output of `tcpdump -ddd` without its first line.

## Repair
Pass the whole output. For text with mnemonics use `osmia.isa.cbpf.assemble`.
""",
    ),
    Code(
        "ISA051",
        "an opcode that the classic machine does not have",
        """
## Meaning
Classic BPF and eBPF share a layout but not the meaning of opcodes. This one is none of the classic machine's, or a
field of the instruction does not fit its place (code 16 bits, jt and jf 8, k 32, all unsigned).

## Why
No meaning is defined for it; the kernel refuses such a filter with EINVAL.

## Example
0xb7 is `r0 = imm` in eBPF and nothing in classic BPF.

## Repair
Check that the program is a classic one and is read in the right byte order.
""",
    ),
    Code(
        "ISA052",
        "a classic jump beyond the last instruction",
        """
## Meaning
A jump skips more instructions than there are.

## Why
There is no instruction at that place; every path through a classic program ends with `ret`.

## Example
`(000) jeq #1 jt 9 jf 1` in a program of three instructions.

## Repair
Correct the distance, or use labels and let the assembler count.
""",
    ),
    Code(
        "ISA053",
        "a scratch slot that does not exist",
        """
## Meaning
The classic machine has 16 words of scratch memory, M[0] to M[15].

## Why
The kernel reserves exactly these 16 words for a filter and refuses other numbers.

## Example
`st M[16]`

## Repair
Use one of the 16 slots, reusing one whose value is no longer needed. More memory needs eBPF.
""",
    ),
    Code(
        "ISA054",
        "a classic program that does not end with ret",
        """
## Meaning
The last instruction of a classic program must be `ret`, and here it is not.

## Why
Since jumps only go forward, this guarantees that every run ends.

## Example
A filter whose last line is `ld #0`.

## Repair
Add `ret #0` (drop the packet) or `ret #-1` (keep all of it).
""",
    ),
    Code(
        "ISA055",
        "a division by the constant zero",
        """
## Meaning
A classic program divides by the constant zero: `div #0` or `mod #0`.

## Why
The kernel refuses it. Division by X is allowed; when X is 0 the program returns 0.

## Example
`mod #0`

## Repair
Divide by another constant, or by X if the divisor is only known at run time.
""",
    ),
    Code(
        "ISA056",
        "a shift by more than the word has bits",
        """
## Meaning
`lsh` or `rsh` by a constant of 32 or more.

## Why
The accumulator has 32 bits; the kernel refuses such constants.

## Example
`rsh #32`

## Repair
Shift by 0 to 31; to clear A, write `ld #0`.
""",
    ),
    Code(
        "ISA057",
        "a classic program of impossible length",
        """
## Meaning
A classic program has at least 1 and at most 4096 instructions.

## Why
The kernel accepts no filter beyond this limit, `BPF_MAXINSNS`, and no empty one.

## Example
A generated filter over ten thousand addresses.

## Repair
Use an eBPF program with a map for large sets.
""",
    ),
    Code(
        "ISA058",
        "scratch memory that is read before it is written",
        """
## Meaning
On some path to this instruction nothing has been stored to the slot of M[] that it loads.

## Why
The kernel refuses such filters, since they could otherwise read old kernel memory.

## Example
`ld M[2]` as the first instruction.

## Repair
Store to the slot on every path, for instance at the start of the program.
""",
    ),
    Code(
        "ISA059",
        "a fact about the packet that does not exist",
        """
## Meaning
Absolute loads at offsets from `SKF_AD_OFF` (-0x1000) on give facts such as the packet's mark. There is none at this
offset.

## Why
The kernel knows a fixed list of these facts and refuses filters that ask for others.

## Example
`ld [-4095]`

## Repair
Use the names instead of offsets (`ld #mark`); `osmia.isa.cbpf.ANCILLARIES` lists them all.
""",
    ),
    Code(
        "ISA060",
        "something that seccomp filters cannot do",
        """
## Meaning
Seccomp filters load aligned words from the 64 bytes of `struct seccomp_data`, and nothing else: no bytes, no indexed
loads, no `mod`, no `4*([k]&0xf)`.

## Why
The kernel checks this when the filter is installed and refuses it.

## Example
`ldh [4]`

## Repair
Load the word (`ld [4]`) and mask or shift it.
""",
    ),
    Code(
        "ISA061",
        "a line that is no classic instruction",
        """
## Meaning
The mnemonic is unknown, or its operand has none of the forms that it takes.

## Why
There is no opcode for it, so that nothing could be encoded.

## Example
`ldh M[0]`: scratch memory has whole words only, `ld M[0]`.

## Repair
See the hint. Forms: `[k]`, `[x + k]`, `M[k]`, `#k`, `x`, `a`, `4*([k]&0xf)`, `#len` and the facts such as `#mark`.
""",
    ),
    Code(
        "ISA062",
        "a classic jump that cannot be",
        """
## Meaning
A label is not defined or defined twice, stands before the jump, or is farther away than the jump reaches; or the
numbers in front of the lines are not consecutive.

## Why
The classic machine jumps forward only; conditional jumps skip at most 255 instructions.

## Example
    loop: ld [0]
    jmp loop

## Repair
Reorder the program; for far targets jump to a `ja` that is nearer. Loops need eBPF.
""",
    ),
    Code(
        "ISA063",
        "a number that does not fit a classic instruction",
        """
## Meaning
The operand k has 32 bits: 0 to 4294967295, or negative down to -2147483648.

## Why
Cutting it down to 32 bits would silently be another number.

## Example
`ld #0x100000000`

## Repair
Use a number of 32 bits; compare larger fields in two halves.
""",
    ),
    Code(
        "ISA064",
        "something that only the kernel's own classic machine has",
        """
## Meaning
The classic program loads something that cannot be had where it is to run: a netlink attribute, the hardware type or
the payload offset in an eBPF socket filter; header areas or facts when it runs over plain bytes.

## Why
`struct __sk_buff` has no such field and no helper gives it. Giving 0 instead would be another filter.

## Example
`ld #hatype` translated for a socket filter.

## Repair
Compute it from the packet's bytes, or attach the classic program as it is (`SO_ATTACH_FILTER`).
""",
    ),
    Code(
        "ISA065",
        "a translated program that is too long for its jumps",
        """
## Meaning
A classic instruction becomes up to a dozen eBPF ones, and an eBPF jump of cpu v1 reaches 32767 instructions.

## Why
The offset field of a jump has 16 bits, and the distance does not fit.

## Example
A filter of 4000 indexed loads with a jump over all of them.

## Repair
Split the filter into several smaller ones, or write it for eBPF directly.
""",
    ),
)
