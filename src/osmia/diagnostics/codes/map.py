"""Codes of live maps (``MAP``)."""

from __future__ import annotations

from osmia.diagnostics.codes import Code

ROWS = (
    Code(
        "MAP001",
        "the map is full",
        """
## Meaning
A new key was to be added, and the map holds as many entries as it was made for.

## Why
The room for a map's entries is fixed when it is made, so that programs can update it in an interrupt. Entries whose
program forgets to delete them (a start time whose end never came) fill it sooner or later.

## Example
```
started = prog.hash(u32, u64, max_entries=2)
started[1] = started[2] = started[3] = 0
```

## Repair
Raise `max_entries` where the map is declared, delete entries that are no longer needed, or use `lru_hash`, which drops
the entry that was not used for longest.
""",
    ),
    Code(
        "MAP002",
        "the map has no such key",
        """
## Meaning
A key was read, replaced, popped or deleted that is not in the map; or a queue, stack or array was asked for more than
it has.

## Why
A map behaves like a dict: what is not there is an error, not a zero. For arrays, every index up to `max_entries` is
there, and none beyond.

## Example
```
counts[4711]
```

## Repair
Use `counts.get(key)`, which gives None, or `key in counts`. The error is also a `KeyError` (for queues an
`IndexError`). Programs may delete a key at any moment, so be ready for it even after a check.
""",
    ),
    Code(
        "MAP003",
        "the key is there already",
        """
## Meaning
A key was to be inserted as new, and the map has it.

## Why
`insert` promises that nobody else's value is overwritten, which is how two writers agree who was first.

## Example
```
owners.insert(pid, 1)
owners.insert(pid, 2)
```

## Repair
Assign with `map[key] = value` to set the value either way, or use `setdefault` to keep the first.
""",
    ),
    Code(
        "MAP004",
        "this kind of map cannot do that",
        """
## Meaning
The operation does not exist for the map's type: entries of an array cannot be deleted, a queue has no keys, local
storage cannot be listed, a bloom filter cannot be emptied.

## Why
Each type is a data structure of the kernel that does a few things well. What it cannot do quickly and safely it does
not offer.

## Example
```
del histogram[3]               # histogram is an array
```

## Repair
Do what the hint says: for arrays, assign zero; for storage, ask for one object's value; or choose another type.
""",
    ),
    Code(
        "MAP005",
        "the map does not allow writing or reading",
        """
## Meaning
The map was frozen, made with a flag that forbids user space to read or write, or opened read-only.

## Why
Constants of a program (`.rodata`) are frozen after loading: the verifier has removed branches that depend on them, so
a later change could not take effect.

## Example
```
session.set_global("min_latency_ns", 5)        # a constant of a loaded program
```

## Repair
Set constants before loading (program options, `LoadOptions.constants`), or make the variable an ordinary global that
the program reads each time.
""",
    ),
    Code(
        "MAP006",
        "the key or value does not fit the map",
        """
## Meaning
What was given as key or value cannot be packed into the map's layout: a number out of range, a text that is too long,
a tuple of the wrong length, a closed descriptor, an unknown device.

## Why
Keys and values are bytes with a fixed layout, shared with programs. Cutting off what does not fit would look up, or
store, something else.

## Example
```
counts = prog.hash(u32, u64)
counts["bash"] = 1
```

## Repair
Give a value of the layout that the message names. Bytes of exactly the right size are always accepted.
""",
    ),
    Code(
        "MAP007",
        "the map operation failed",
        """
## Meaning
The kernel answered an operation on a map with an error that is neither about the key nor about the room: it has no
memory, the entry is busy, or a descriptor is of the wrong kind.

## Why
An entry can be locked by another CPU or in use elsewhere (a socket can be in one sockmap only); the kernel then
prefers an error to waiting.

## Example
```
progs[0] = other_type_program          # all programs of a prog array are of one type
```

## Repair
Read the kernel's word in the message. Busy entries are worth another try; for prog arrays and maps of maps, use
objects of the same kind as those that are in it.
""",
    ),
    Code(
        "MAP009",
        "the map is closed",
        """
## Meaning
A map was used after its descriptor was given back.

## Why
Closing a collection or leaving a session's `with` block closes its maps. The map itself may be gone with it.

## Example
```
with prog.open() as session:
    counts = session.loaded.maps["counts"]
print(len(counts))
```

## Repair
Read what you need inside of the block, or pin the map (`counts.pin(path)`) and open the pin later.
""",
    ),
)
