"""Rows of the area CLI: the command line."""

from __future__ import annotations

from osmia.diagnostics.codes import Code

ROWS = (
    Code(
        "CLI001",
        "there is no such command",
        """
## Meaning
The first word after `osmia` is the name of a command, and there is none of that name. The hint names the
nearest ones; for a file it says how to run it.

## Why
A guess could start something else than what was meant, as root. So an unknown word runs nothing.

## Example
```
$ osmia exlpain PY101
error[CLI001]: there is no command 'exlpain'
hint: did you mean 'explain'?
```

## Repair
`osmia --help` lists the commands. A program file or a ready tool is run by the command `run`:
```
osmia run opens.py
osmia run opensnoop
```
""",
    ),
    Code(
        "CLI002",
        "arguments that the command does not have",
        """
## Meaning
A command was given an option it does not know, a value of the wrong form, too many arguments or too few. The
message says which. Long options cannot be abbreviated.

## Why
An option that is overlooked would change the result without a word. Abbreviations would come to mean something
else as soon as a new option is added.

## Example
```
$ osmia ps --jsn
error[CLI002]: osmia ps: unrecognized arguments: --jsn
```

## Repair
`osmia COMMAND --help` tells a command's arguments; `osmia completion bash` prints a script that lets the shell
complete them.
""",
    ),
    Code(
        "CLI003",
        "the output file cannot be written",
        """
## Meaning
A command that makes a file, such as `osmia build`, could not create or replace it. The message has the system's
own words.

## Why
The file is written beside its place and then moved there, so that a reader never sees half of it. When either
step fails, the old file, if there was one, stays as it was.

## Example
```
$ osmia build opens.py -o /no/such/folder/opens.bpf.o
error[CLI003]: cannot write /no/such/folder/opens.bpf.o: No such file or directory
```

## Repair
Make the folder, free space on the disk, or name a place that you may write:
```
osmia build opens.py -o ./opens.bpf.o
```
""",
    ),
    Code(
        "CLI010",
        "nothing to disassemble under this name",
        """
## Meaning
`osmia disasm` takes an object file, a program file that ends in `.py`, a ready tool, or a loaded program:
`id:12`, `name:enter` or the path of a pin. What was given is none of these.

## Why
The four kinds are told apart by their form, never by trying one after the other: a program file is executed
when it is read, and that must not happen to a file that was meant as data.

## Example
```
$ osmia disasm opens
error[CLI010]: 'opens' is no file, no tool and no loaded program
```

## Repair
Give the path of an existing file, or say that a loaded program is meant:
```
osmia disasm ./opens.bpf.o
osmia disasm id:12
osmia disasm name:enter
```
`osmia ps` lists the loaded programs with their ids and names.
""",
    ),
    Code(
        "CLI011",
        "the target has no such program",
        """
## Meaning
`osmia disasm TARGET --program NAME` shows one program of a target with several, and the target has none of this
name; or `name:NAME` was given and no loaded program is called so. The hint lists the names there are.

## Why
Without the selection all programs would be shown, and the first could be taken for the one that was meant.

## Example
```
$ osmia disasm opens.bpf.o --program leave
error[CLI011]: opens.bpf.o has no program 'leave'
hint: it has enter
```

## Repair
Use a name from the hint. The kernel keeps 15 characters of a program's name: for `name:`, longer ones are cut
to that.
""",
    ),
    Code(
        "CLI012",
        "options that do not go together",
        """
## Meaning
Each option is fine by itself, but not with this target or beside that other option; the message names both.
`--jited`, for one, is about machine code, which only a loaded program has.

## Why
One of the two would have to be ignored, and the output would not be what was asked for.

## Example
```
$ osmia disasm opens.bpf.o --jited
error[CLI012]: --jited is for loaded programs, and opens.bpf.o is an object file
```

## Repair
Leave one of them out. To see the machine code of a program in a file, load it first (`osmia run`), then give
its id:
```
osmia disasm id:12 --jited
```
""",
    ),
    Code(
        "CLI013",
        "several loaded programs have this name",
        """
## Meaning
`name:NAME` means one loaded program, and more than one is called so. The hint lists their ids.

## Why
Names are no keys in the kernel: every run of a tool loads programs of the same names. Showing any one of them
would be a guess.

## Example
```
$ osmia disasm name:enter
error[CLI013]: 2 loaded programs are named 'enter'
hint: give one's id: id:41, id:57
```

## Repair
Give the id. `osmia ps` shows which process holds which program.
""",
    ),
)
