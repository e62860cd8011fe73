"""Codes of the compiler: the textual form of the typed IR."""

from __future__ import annotations

from osmia.diagnostics.codes import Code

ROWS = (
    Code(
        "IR300",
        "a character or an escape that means nothing in the textual IR",
        r"""
## Meaning
The text has a character that starts no word of the language, a text in quotes that does not end on its line, or an
escape in quotes that is not known.

## Why
The textual form is exact: what is read back is what was written. Skipping a character would change the program.

## Example
```
module "demo" license "GPL" &
```

## Repair
Take the character out. Inside quotes write `\n`, `\t`, `\r`, `\\`, `\"` or `\u{1f600}`; comments start with `#`.
""",
    ),
    Code(
        "IR301",
        "something else is expected here in the textual IR",
        r"""
## Meaning
The word at the marked place does not fit the grammar: a sign, a name, a type or a value of another kind must come
here, or the operation before should have ended with its line.

## Why
Each item of a module has one form. The reader says what it expects instead of guessing what was meant.

## Example
An operation takes one line, and its attributes come behind a semicolon:
```
  %1: u32 = const value=3
```

## Repair
Write what the message asks for:
```
  %1: u32 = const; value=3
```
The grammar stands at the top of `osmia.compiler.text`.
""",
    ),
    Code(
        "IR302",
        "a number in the textual IR that is out of its range",
        r"""
## Meaning
A size, a count, an offset or another number is negative where it may not be, is no whole number, or is larger than
any program could use. Bytes in `x"..."` need two hexadecimal digits each.

## Why
A type of a thousand gigabytes or a number of a million digits is damage or an attack, and would only take memory
before it fails elsewhere.

## Example
```
  local $buffer: bytes[99999999999]
```

## Repair
Use a number in the range that the message tells. Sizes go up to one gibibyte; numbers have at most 400 digits.
""",
    ),
    Code(
        "IR303",
        "types or values in the textual IR that are nested too deep",
        r"""
## Meaning
More than 64 types or values stand inside each other.

## Why
The reader works level by level on the machine's stack. A limit that no real program comes near keeps a damaged text
from ending the process.

## Example
A tuple in a tuple, seventy times:
```
extras { "deep": ((((((...)))))) }
```

## Repair
Flatten the value: a list of names with a list of values beside it says the same with two levels.
""",
    ),
    Code(
        "IR304",
        "a name in the textual IR that is not defined",
        r"""
## Meaning
An operand, a struct, an enum or a source file is used and the text does not define it. Structs and enums are
defined before they are used; values anywhere in their function.

## Why
A use without a definition has no type, so the operation has no meaning.

## Example
```
  %2: u64 = add %1, %one
```
with no line that defines `%one`.

## Repair
Define it, or correct the name:
```
  %one: u64 = const; value=1
  %2: u64 = add %1, %one
```
Types of the kernel are no layouts: write `kstruct task_struct`.
""",
    ),
    Code(
        "IR305",
        "a type in the textual IR that cannot stand here",
        r"""
## Meaning
The word is no type, or a type of another sort is needed: values are scalars, pointers and references; what a
pointer leads to, a field and a global variable are layouts or kernel types.

## Why
Aggregates live in memory and have no values in the IR; a reference to a map has no layout in memory. The types keep
the two apart.

## Example
```
  %1: struct Event = load %0
```

## Repair
Use a pointer to the aggregate and load its fields:
```
  %1: ptr<map, u32> = field %0; offset=8, name="pid"
  %2: u32 = load %1
```
""",
    ),
    Code(
        "IR306",
        "something in the textual IR that is there twice",
        r"""
## Meaning
A name is defined a second time in the place where names are unique: values, locals and labels of a function; maps,
globals, functions and types of a module; keys of a dict; attributes of an operation; items of a map.

## Why
Which of the two would count? Taking either one silently would run another program than the one that was written.

## Example
```
  %1: u32 = const; value=3
  %1: u32 = const; value=4
```

## Repair
Give one of them another name, or take it out. Two structs of the same name need two aliases: `struct Event.2 named
"Event" size 8 align 8 {...}`.
""",
    ),
    Code(
        "IR307",
        "an item of a map, event or hook in the textual IR that has the wrong kind of value",
        r"""
## Meaning
The item takes another kind of value: sizes and flags are whole numbers, `key` and `value` are layouts, `contents`
is a list of pairs of bytes, columns and options are dicts with text as keys.

## Why
Specs go on to the object writer and the kernel, where a wrong kind of value would show much later and far from its
cause.

## Example
```
map @counts: hash {key="u32", value=u64, max_entries=16}
```

## Repair
```
map @counts: hash {key=u32, value=u64, max_entries=16}
```
Text in quotes is text; a type is written without quotes.
""",
    ),
    Code(
        "IR308",
        "an operation in the textual IR that does not fit the table of operations",
        r"""
## Meaning
There is no operation of that name, or it has another number of operands, other attributes, attributes of other
kinds, or a result where it has none (or none where it has one).

## Why
Every operation is a row of one table that the checks, the passes, the evaluator and the code generator read. What
is no row has no meaning to any of them.

## Example
```
  %1: u32 = add %0
```

## Repair
```
  %1: u32 = add %0, %step
```
`docs/ir.md` lists all operations with operands and attributes; the rows are in `osmia.compiler.ir.ops`.
""",
    ),
    Code(
        "IR309",
        "a module that has no textual form",
        r"""
## Meaning
The module holds a value that cannot be written as text and read back exactly: a Python object in the extras or in
an attribute, an infinite number, a type nested more than 64 deep.

## Why
The textual form is exact both ways. A value that would come back as something else is refused when it is written,
not lost.

## Example
A front end keeps an object of its own in the module:
```
module.extras["source"] = open("prog.py")
```

## Repair
Keep plain data there: None, booleans, numbers, text, bytes, tuples, lists, dicts, and types of the IR.
""",
    ),
)
