"""Codes of BTF: reading, looking up, laying out and writing the kernel's type information."""

from __future__ import annotations

from osmia.diagnostics.codes import Code

ROWS = (
    Code(
        "BTF001",
        "the data is not BTF",
        """
## Meaning
BTF data starts with the magic number `eb9f`, in the byte order of the machine it was made for. What was
given starts with something else, or is empty.

## Why
Without the magic number nothing in the data can be trusted, not even its byte order.

## Example
A whole ELF object is passed where the contents of its `.BTF` section are expected.

## Repair
Pass the section's bytes. `bpftool btf dump file OBJECT` shows whether an object has a `.BTF` section;
compile with `-g` (clang) to get one.
""",
    ),
    Code(
        "BTF002",
        "a version of BTF that is not known",
        """
## Meaning
The third byte of BTF is its version, the fourth its flags. Known are version 1 and no flags, which is all
that kernels and compilers have produced so far.

## Why
Another version may lay its records out differently; reading it as version 1 would give wrong types.

## Example
Data from a future compiler, or data damaged in its first bytes.

## Repair
Update Osmia, or have the compiler write version 1. If the bytes are damaged, build the object again.
""",
    ),
    Code(
        "BTF003",
        "a BTF header that does not fit its data",
        """
## Meaning
The header says where the type section and the string section lie. They reach past the end of the data, overlap,
are not made of whole words, or the split BTF and its base differ in byte order.

## Why
Reading on would mean reading something else than types.

## Example
A download or copy that stopped half way: the header promises 5 MB, the file has 2 MB.

## Repair
Get or build the data again. For split BTF (a kernel module's), pass the base that it was made for.
""",
    ),
    Code(
        "BTF004",
        "the BTF type section ends within a type",
        """
## Meaning
Type records stand one after the other, each as long as its kind and its number of elements say. The last one is
longer than what is left of the section.

## Why
Either the data was cut off, or an element count earlier in the section is wrong, and then every type
after it has been misread.

## Example
A struct that claims 65535 members in a section of 200 bytes.

## Repair
Get the data again from where it came, or build it again.
""",
    ),
    Code(
        "BTF005",
        "a BTF type of unknown kind",
        """
## Meaning
A record's info word holds a kind that is not among the nineteen known ones, or bits that its kind does not use.

## Why
The length of a record of unknown kind is unknown, so nothing after it can be found.

## Example
Kind 25, or a pointer that claims to have members.

## Repair
If a newer compiler or kernel made the data, update Osmia. Otherwise the data is damaged: get or build it
again.
""",
    ),
    Code(
        "BTF006",
        "a BTF string offset outside of the strings",
        """
## Meaning
Names are stored as offsets into the string section. This one lies past its end.

## Why
A type without its name cannot be looked up or printed, and the rest of its record is doubtful too.

## Example
The BTF of a kernel module read alone: its names count on from the end of the kernel's strings.

## Repair
Pass the kernel's BTF as `base`, or use `module_btf(NAME)`, which does. Otherwise get or build the data
again.
""",
    ),
    Code(
        "BTF007",
        "a BTF string section that is malformed",
        """
## Meaning
The string section starts with the empty string, ends with NUL, and holds UTF-8. This one does not.

## Why
Without the last NUL, a name would run on into whatever follows.

## Example
A section that was cut off in the middle of a name.

## Repair
Get the data again from where it came, or build it again.
""",
    ),
    Code(
        "BTF008",
        "a BTF type id that does not exist",
        """
## Meaning
Types mention each other by id, counted from 1 in the order of the data. There is no type with this id.

## Why
Ids have a meaning only within the BTF they come from.

## Example
An id of a module's BTF used with the kernel's, or a struct member whose type id was damaged.

## Repair
Use ids with the object that gave them. If the id comes from the data itself, get or build that again.
""",
    ),
    Code(
        "BTF009",
        "a BTF type with an impossible field",
        """
## Meaning
A record is whole, but what it says cannot be: an integer of 3000 bytes, a member past its struct's end, a function
whose type is no prototype, a section that lists something else than variables.

## Why
Offsets and sizes computed from it would be wrong, and a program using them would read the wrong memory.

## Example
A struct of 8 bytes with an 8-byte member at offset 4.

## Repair
The message names the type and its place in the data. Get or build the data again; if a compiler
produced it as it is, report that to the compiler.
""",
    ),
    Code(
        "BTF010",
        "a BTF type that is defined by itself",
        """
## Meaning
Typedefs, qualifiers, pointers or members by value form a circle. Only a struct or union can lead back to itself, and
only through a pointer.

## Why
Such a type has no size, and its text in C has no end.

## Example
`typedef a b` together with `typedef b a`, or a struct that contains itself.

## Repair
Get or build the data again. When building BTF, declare a struct first, let a pointer mention the declared
id, then define the struct with that pointer as a member.
""",
    ),
    Code(
        "BTF011",
        "a BTF type that is nested too deep",
        """
## Meaning
More than 128 typedefs, qualifiers, arrays or anonymous structs stand inside each other, or writing the type as C
would take more than 65536 parts.

## Why
Compilers stay far below (the kernel itself takes 32). The limit keeps hostile data from using up memory.

## Example
An anonymous struct with two members of an anonymous struct with two members of ..., a hundred times over.

## Repair
Get the data again from where it came, or build it again.
""",
    ),
    Code(
        "BTF012",
        "a BTF type that is too large",
        """
## Meaning
The size of a type, computed from its arrays, is 4 GiB or more.

## Why
Sizes in BTF and in the kernel have 32 bits; larger ones would wrap around.

## Example
An array of 65536 arrays of 65536 integers.

## Repair
Get or build the data again. When building BTF, use smaller arrays.
""",
    ),
    Code(
        "BTF020",
        "no type with this name",
        """
## Meaning
The BTF has no type of this name, or none of the wanted kind.

## Why
Names are compared exactly. A struct, a typedef and a function may share one name and still be different types.

## Example
`by_name("task_strct")`; the hint proposes `task_struct`.

## Repair
Check the spelling against the hint. Types of a module are in that module's BTF (`module_btf(NAME)`) and
only while it is loaded. Types that depend on the kernel's configuration may be missing: use `type_exists` in programs.
""",
    ),
    Code(
        "BTF021",
        "a type without size",
        """
## Meaning
The size or alignment of a type was asked for that has none: `void`, a function, or a struct that is only declared.

## Why
The kernel's BTF holds declarations of structs whose definitions only modules have.

## Example
`sizeof` of `struct foo;`.

## Repair
Use a pointer to it, or the BTF that holds its definition.
""",
    ),
    Code(
        "BTF022",
        "a member of something that is no struct",
        """
## Meaning
A member path goes on where there are no members: at an integer, a pointer, an array without an index, or a struct
that is only declared.

## Why
What a pointer points to lies elsewhere in memory: its members have no offset from the first struct.

## Example
`find_member(task_struct, "real_parent.tgid")`: `real_parent` is a pointer.

## Repair
Look up `real_parent` first, read it, then look up `tgid` in what it points to. Write an index after arrays.
""",
    ),
    Code(
        "BTF023",
        "a struct without such a member",
        """
## Meaning
The struct has no member of this name, nor has any anonymous struct or union within it.

## Why
Members come and go between kernel versions and configurations.

## Example
`find_member(task_struct, "state")` on Linux 5.14 or newer, where it became `__state`.

## Repair
Choose among the members listed. In programs, ask `field_exists` and handle both.
""",
    ),
    Code(
        "BTF024",
        "a member path that is malformed",
        """
## Meaning
A path consists of names, dots and constant indices: `a.b[2].c`.

## Why
Arrows, calls, negative or computed indices have no fixed place in a struct.

## Example
`cred->uid`, `comm[-1]`, `.a`, or the empty path.

## Repair
Write the path as names, dots and indices; split it where it follows a pointer.
""",
    ),
    Code(
        "BTF025",
        "an index that the type does not take",
        """
## Meaning
A path has an index after something that is no array, or past the array's end. A flexible array (`x[]` at a struct's
end) takes any index.

## Why
The place would lie outside of the array, in memory of another member.

## Example
`comm[16]` for `char comm[16]`: the last index is 15.

## Repair
Use an index within the array; `c_declare` shows how many elements it has.
""",
    ),
    Code(
        "BTF026",
        "no enumerator with this name",
        """
## Meaning
No enum of the BTF has an enumerator of this name.

## Why
BTF knows enums. Constants made by `#define` leave no trace in it.

## Example
`enum_value("O_RDONLY")`: a `#define` in the kernel's headers.

## Repair
Check the spelling against the hint. For a `#define`, write the number, or look for it among Osmia's
constants.
""",
    ),
    Code(
        "BTF030",
        "the kernel has no BTF",
        """
## Meaning
`/sys/kernel/btf/vmlinux` does not exist: the kernel was built without its type information, or `/sys` is not mounted.

## Why
Without it, programs cannot be fitted to the kernel's structs, nor attached to its functions by type.

## Example
A kernel older than 5.2, a kernel built without `CONFIG_DEBUG_INFO_BTF`, a container without `/sys`.

## Repair
Use a distribution's kernel (all large ones have it since 2020), or build with `CONFIG_DEBUG_INFO_BTF=y`.
In a container, mount `/sys`.
""",
    ),
    Code(
        "BTF031",
        "a BTF file that cannot be read",
        """
## Meaning
The file exists or should exist, but the system refused to open or read it; the message has the system's reason.

## Why
Usually missing permission on the file or on a folder above it.

## Example
A copy of `/sys/kernel/btf/vmlinux` in another user's home folder.

## Repair
Check the path, its permissions and those of the folders above it.
""",
    ),
    Code(
        "BTF032",
        "no BTF of this module",
        """
## Meaning
The folder `/sys/kernel/btf` has no file for this module: no types of it are known.

## Why
A module's BTF is there only while it is loaded, and only if it was built with BTF. What is compiled into the
kernel is in the kernel's own BTF.

## Example
`module_btf("btrfs")` before the module is loaded.

## Repair
Load the module, or look the type up in `kernel_btf()`.
""",
    ),
    Code(
        "BTF040",
        "the data is not .BTF.ext",
        """
## Meaning
The `.BTF.ext` section of an object links instructions with types and lines. What was given does not start with its
magic number, has another version, or differs from the `.BTF` in byte order.

## Why
Nothing in it can be trusted then, not even where its tables are.

## Example
The two sections of different objects were mixed up.

## Repair
Pass the contents of the object's own `.BTF.ext`, together with its own `.BTF`.
""",
    ),
    Code(
        "BTF041",
        "a .BTF.ext table that does not fit",
        """
## Meaning
The function, line or relocation table reaches past the data's end, claims more records than fit, or has records
smaller than they must be.

## Why
The object was cut off or damaged, and lines would be shown for the wrong instructions.

## Example
A line table of 64 bytes that claims a million records.

## Repair
Build the object again, and copy it whole; a copy may have stopped half way.
""",
    ),
    Code(
        "BTF042",
        "a .BTF.ext record that is impossible",
        """
## Meaning
A record is whole, but mentions a type that does not exist or is of the wrong kind, an offset within an instruction,
an unknown kind of relocation, or an access string that is no list of numbers.

## Why
Applying it would change the wrong instruction, or change it wrongly.

## Example
Function information that points at a struct.

## Repair
Build the object again; if a newer compiler made it, update Osmia.
""",
    ),
    Code(
        "BTF050",
        "something that BTF cannot express",
        """
## Meaning
A type, string or record given to a BTF builder breaks a limit of the format or a rule of the kernel's check: a name
that is no identifier, a value too large for its field, a member outside of its struct, more than 65535 members.

## Why
The kernel would refuse the BTF when the program is loaded, with a far less clear message.

## Example
`Struct("my struct", ...)`: a blank in the name.

## Repair
Change what the message names; the limits are those of the format itself.
""",
    ),
    Code(
        "BTF051",
        "BTF that is not complete",
        """
## Meaning
A builder was asked for its result, or for a type, while a declared type was not defined, or a type mentions an id
that the builder never gave out.

## Why
Ids stand for types only in the builder that returned them.

## Example
`declare(Struct, "node")` without `define` before `to_bytes()`.

## Repair
Define every declared id once, as the kind and name it was declared with. To take a type from other BTF, use
`copy`, which translates ids.
""",
    ),
)
