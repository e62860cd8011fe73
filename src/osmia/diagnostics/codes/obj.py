"""Codes of objects and specs: reading and writing ELF files, data layouts, Osmia's notes."""

from __future__ import annotations

from osmia.diagnostics.codes import Code

ROWS = (
    Code(
        "OBJ001",
        "the file is no ELF file",
        """
## Meaning
An object file starts with the bytes `7f 45 4c 46` (`.ELF`). The file that was given starts with something else, or is
empty.

## Why
Nothing in a file of another kind can be found by the rules of ELF; the message shows the first bytes, which usually
tell what the file really is.

## Example
```
osmia disasm program.c
```

## Repair
Give the compiled object. C source is compiled with `clang -O2 -g -target bpf -c program.c -o program.bpf.o`, a Python
program file with `osmia build program.py -o program.bpf.o`.
""",
    ),
    Code(
        "OBJ002",
        "an object file that is cut off",
        """
## Meaning
The header, the table of sections or a section should reach past the end of the file, or the file has no sections at
all.

## Why
A part of the program is missing. What is left could still load, but it would not be the program that was built.

## Example
A download or copy that stopped half way: the section headers, which compilers put last, are then the first to go.
```
head -c 3000 program.bpf.o > copy.bpf.o
osmia disasm copy.bpf.o
```

## Repair
Copy or build the file again, and compare its size. An object whose sections were stripped (`llvm-strip
--strip-sections`) cannot be repaired; keep an unstripped one.
""",
    ),
    Code(
        "OBJ003",
        "an ELF file that is no BPF object of this machine",
        """
## Meaning
BPF objects are relocatable 64-bit little-endian ELF files (type 1) for machine 247. This one is a 32-bit or big-endian
file, one for another processor, or a finished program or library instead of an object.

## Why
Instructions and data of another machine cannot be reinterpreted. Big-endian BPF objects (`bpfeb`) are refused since
their layouts would be read in the wrong byte order here.

## Example
```
osmia disasm /bin/true
```

## Repair
Build with `clang -target bpf` (or `-target bpfel`), and give the `.o` file itself.
""",
    ),
    Code(
        "OBJ004",
        "sections of an object that overlap",
        """
## Meaning
Two sections claim the same bytes of the file, or a section lies over the file's header.

## Why
No compiler writes such a file; it is damaged or made to confuse. Refusing it also bounds the work that reading a file
can cause by the file's size.

## Example
A file in which a few bytes of the section headers were overwritten.

## Repair
Build the object again. `readelf -S FILE` shows where each section claims to be.
""",
    ),
    Code(
        "OBJ005",
        "a malformed table of an object",
        """
## Meaning
A name lies outside of its string table or is not UTF-8, a symbol is in a section that does not exist, the table of
section names is missing, or there are two sections of one name where only one can be meant.

## Why
Names and symbols decide what belongs to what. Guessing here could connect a program with the wrong map.

## Example
A file whose header says that section 9 holds the section names, where section 9 holds code.

## Repair
Build the object again. If `readelf -s FILE` complains as well, the file is damaged; if not, please report it.
""",
    ),
    Code(
        "OBJ006",
        "a relocation that makes no sense",
        """
## Meaning
A relocation says: put the address of this symbol there. This one patches something that is no call and no wide load,
or lies outside of its section, names a symbol that does not exist, stands twice in one place, or comes in a form (RELA,
an offset into a kernel symbol) that BPF objects do not have.

## Why
Each relocation becomes a map, a callback or a kernel symbol in the program. One that cannot be understood exactly
would leave a wrong number in the code.

## Example
An object assembled by hand in which the address of a map is put into a plain `r1 = 0`:
```
r1 = my_map          # must be a wide load: r1 = my_map ll
```

## Repair
Build with `clang -target bpf`; in assembly, use `ll` loads for addresses. Damaged files must be built again.
""",
    ),
    Code(
        "OBJ007",
        "a section that Osmia cannot load yet",
        """
## Meaning
The object uses something that needs support of its own in a loader: tables of functions for the kernel
(`.struct_ops`), variables in an arena, or jump tables.

## Why
Loading the rest and leaving this out would run a different program than the one that was written.

## Example
```
SEC(".struct_ops.link") struct tcp_congestion_ops my_cc = { ... };
```

## Repair
Load such objects with libbpf or bpftool. For jump tables, compile with `-fno-jump-tables`.
""",
    ),
    Code(
        "OBJ008",
        "functions of an object that cannot be told apart",
        """
## Meaning
A section of instructions is cut into functions by its symbols. Here the symbols overlap, do not lie on multiples of 8
bytes, reach past the section's end, end within a wide load, are missing, or two programs have the same name.

## Why
Only whole functions can be put together to programs.

## Example
An object after `strip` (not `llvm-strip`), which removed all symbols.

## Repair
Keep the symbol table: use `llvm-strip -g` to remove debug information only. In assembly, mark functions with `.type
name, @function` and `.size`.
""",
    ),
    Code(
        "OBJ009",
        "a call that leads to no function",
        """
## Meaning
A call or a callback's address leads into the middle of a function, or to a place without one. Or a function names an
exception callback that the object does not define.

## Why
BPF programs call functions at their start only; the kernel refuses everything else.

## Example
```
call +5              # and five slots further is no function's first instruction
```

## Repair
If the object comes from a compiler, it is damaged: build it again. In assembly, call functions by their names.
""",
    ),
    Code(
        "OBJ010",
        "a symbol that nobody defines",
        """
## Meaning
The program uses a function or variable that the file neither defines nor declares as something of the kernel's.

## Why
There is no linker at load time. What is to come from the kernel must say so with `__ksym` or `__kconfig`, so that it
can be checked; everything else must be in the file.

## Example
```
extern int helper_in_other_file(int);

SEC("xdp") int prog(struct xdp_md *ctx) { return helper_in_other_file(1); }
```

## Repair
Declare kernel functions as `extern int f(int) __ksym;`. Join several files to one object with `bpftool gen object
all.bpf.o a.bpf.o b.bpf.o`. Variables in no section go away with `-fno-common`.
""",
    ),
    Code(
        "OBJ011",
        "a reference to something that is no map and no global variable",
        """
## Meaning
The code takes the address of a byte in a section that is neither `.maps` nor global data, or an address outside of a
variable's section or in the middle of a map's definition.

## Why
Programs reach memory through maps. Global variables work because their sections (`.data`, `.rodata`, `.bss` and such
with a suffix) become maps; other sections become nothing.

## Example
```
SEC("mydata") int counter;       /* not a section that becomes a map */
```

## Repair
Leave the section away (`int counter;`), or name it like `.data.mydata`.
""",
    ),
    Code(
        "OBJ012",
        "maps defined the old way",
        """
## Meaning
The section `maps` holds definitions of type `struct bpf_map_def`. This way has no types of keys and values; libbpf
dropped it with release 1.0, and Osmia does not read it.

## Why
Without types, keys and values would be bytes without meaning, and mistakes in sizes would go unseen.

## Example
```
struct bpf_map_def SEC("maps") counts = { .type = BPF_MAP_TYPE_HASH, ... };
```

## Repair
```
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __type(key, __u32);
    __type(value, __u64);
    __uint(max_entries, 1024);
} counts SEC(".maps");
```
""",
    ),
    Code(
        "OBJ013",
        "a map definition that cannot be read",
        """
## Meaning
A variable in section `.maps` defines a map by its struct type: `__uint` members for numbers, `__type` members for the
types of key and value. Here the variable is no struct, has no map type, gives a size twice with different values, or a
member is not of the form that these macros make.

## Why
The definition is all that is known of the map; half of one would make another map.

## Example
```
struct { __uint(type, BPF_MAP_TYPE_HASH); int key; } m SEC(".maps");
```

## Repair
Use the macros of `bpf/bpf_helpers.h`: `__type(key, int);` instead of `int key;`. Give either the type or the size of
keys and values.
""",
    ),
    Code(
        "OBJ014",
        "a map attribute that is not known",
        """
## Meaning
The definition of a map has an attribute or a map type that Osmia does not know, one that appears twice, or one that
this type of map cannot have, such as static values of a hash map of plain values.

## Why
An attribute that were passed over might be the one that matters: the map would be made, and behave differently.

## Example
```
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entry, 10); } m SEC(".maps");
```

## Repair
The attributes are `type`, `key`, `value`, `key_size`, `value_size`, `max_entries`, `map_flags`, `map_extra`,
`numa_node`, `pinning` and, for maps of maps and of programs, `values`.
""",
    ),
    Code(
        "OBJ015",
        "static values of a map that do not fit it",
        """
## Meaning
A prog array or a map of maps is given its first entries in the source (`.values = { ... }`). One of them is no program
or no map of this file, or has an index that the map does not have.

## Why
The loader fills in these entries before anything runs; one that is missing would end a tail call in nothing.

## Example
```
struct { __uint(type, BPF_MAP_TYPE_PROG_ARRAY); __uint(max_entries, 1); __uint(key_size, 4);
         __array(values, int (void *)); } jumps SEC(".maps") = { .values = { [4] = &next } };
```

## Repair
Make `max_entries` larger than the largest index, and name programs (functions in their own `SEC`) or maps only. Maps
with static values have 4-byte keys.
""",
    ),
    Code(
        "OBJ016",
        "global data that holds an address",
        """
## Meaning
A global variable is initialised with the address of something: a string behind a pointer, a function, another
variable. The compiler leaves a relocation for it in the data section.

## Why
Global data becomes the contents of a map, and a map cannot hold addresses that only the kernel could fill in. Other
loaders pass over this, and the program then reads zeros.

## Example
```
static const char *names[] = { "read", "write" };
```

## Repair
Keep text in arrays: `static const char names[][8] = { "read", "write" };`. Instead of tables of functions use
`switch`, or tail calls through a prog array.
""",
    ),
    Code(
        "OBJ017",
        "types and sections of an object that do not fit together",
        """
## Meaning
The BTF describes sections and their variables. Here it describes a section that the file does not have, a variable
beyond its section's end, something that is no variable, or it is missing although the file defines maps.

## Why
Maps and global variables are known by their types only. With wrong types, values would be read from wrong places.

## Example
An object with maps after `llvm-objcopy --remove-section .BTF`.

## Repair
Compile with `-g` and keep `.BTF`. If nobody changed the object after compiling, build it again.
""",
    ),
    Code(
        "OBJ018",
        "programs that are too large together",
        """
## Meaning
Every program gets a copy of all functions that it calls. All programs of the file together would have more than eight
million instructions.

## Why
The kernel takes a million instructions per program at most, and hardly anybody comes near. A damaged or hostile file
could otherwise ask for any amount of memory.

## Example
Ten thousand programs of one instruction each that all call one function of a thousand instructions.

## Repair
Split the object into several, or make large shared functions inline only where they are needed.
""",
    ),
    Code(
        "OBJ019",
        "a license or version section that cannot be read",
        """
## Meaning
The section `license` holds the license as text, the section `version` a kernel version in four bytes. Here the text is
not UTF-8, or the version has another size.

## Why
The kernel decides by the license which helper functions a program may call; a wrong guess would change what loads.

## Example
```
int _version SEC("version") = 1; long more SEC("version") = 2;
```

## Repair
Write `char LICENSE[] SEC("license") = "GPL";`. The version is looked at by kernels before 5.0 only and can go.
""",
    ),
    Code(
        "OBJ020",
        "a type that has no data layout",
        """
## Meaning
A data layout says how a value lies in memory. Functions, incomplete types (`struct x;` without a body) and types nested
without end have none.

## Why
Keys, values and variables are made into Python values by their layout; without one there is nothing to show.

## Example
```
struct conn;
struct { __uint(type, BPF_MAP_TYPE_HASH); __type(key, struct conn); ... } m SEC(".maps");
```

## Repair
Define the type in full, or use a pointer to it.
""",
    ),
    Code(
        "OBJ021",
        "something that cannot be written to an object",
        """
## Meaning
A layout has no counterpart in BTF (a field outside of its struct), or the notes for the section `.osmia` hold a value
other than text, numbers, bytes, and lists, tuples and dictionaries of these.

## Why
What is written must come back equal when it is read; leaving something out would break that without a word.

## Example
```
spec.extras["when"] = datetime.now()
```

## Repair
Store plain values: `datetime.now().isoformat()`. Build structs with `Struct.of`, which places the fields.
""",
    ),
    Code(
        "OBJ022",
        "notes in an object that are damaged",
        """
## Meaning
The section `.osmia` holds what Osmia knows beyond ELF and BTF: event schemas, hooks, roles of maps. Here it is no JSON
of the expected form, is of another format, or speaks of programs, maps or sizes that the file does not have.

## Why
Events are decoded by these notes. Wrong ones would show wrong values.

## Example
An object that was linked or edited by another tool after `osmia build`, so that a map is gone.

## Repair
Build the object again with this release. To use it as a plain libbpf object, remove the notes: `llvm-objcopy
--remove-section .osmia FILE`.
""",
    ),
    Code(
        "OBJ023",
        "a collection that contradicts itself",
        """
## Meaning
A collection that is to be written refers to a map, variable or function that it does not have, has calls that lead out
of the program, contents larger than their section, programs with several licenses, or something else that no object
file can say.

## Why
The writer never leaves anything out: what it writes must load as the collection would.

## Example
```
spec.programs["p"].relocs.append(Reloc(0, "map", "no_such_map"))
write_object(spec)
```

## Repair
The message names what does not fit. Collections that the compiler or the reader made are consistent; look at what was
changed since.
""",
    ),
)
