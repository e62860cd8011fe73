"""Codes of the runtime: sessions, commands, formats, sinks."""

from __future__ import annotations

from osmia.diagnostics.codes import Code

ROWS = (
    Code(
        "RUN001",
        "the command to trace was not found",
        """
## Meaning
The words after `--` are a command that Osmia starts and traces. Its first word is neither the path of an
existing file nor the name of an executable file in one of the folders of `PATH`.

## Why
The command is looked up before anything is attached: a typing error must not cost a run whose output is empty.

## Example
```
$ osmia run opensnoop -- catt /etc/hostname
error[RUN001]: command not found: catt
```

## Repair
Correct the name or give a path. Shell built-ins, aliases and pipelines need a shell, and `sudo` may have a
shorter `PATH` than you:
```
osmia run opensnoop -- sh -c 'cat /etc/hostname | wc -l'
```
""",
    ),
    Code(
        "RUN002",
        "the command to trace could not be started",
        """
## Meaning
The file of the command exists, but the kernel refused to execute it. The message has the kernel's own words.

## Why
The command starts only after the programs are attached, so that its first instruction is seen. What the kernel
says about it is known only then; everything is detached again.

## Example
```
$ printf 'echo hello' > script; osmia run opensnoop -- ./script
error[RUN002]: cannot run ./script: Permission denied
```

## Repair
"Permission denied": make the file executable (`chmod +x`), and look whether its file system is mounted
`noexec`. "Exec format error": the first line must name an interpreter (`#!/bin/sh`), or the binary is for
another machine. "No such file or directory": the interpreter named in it is missing.
""",
    ),
    Code(
        "RUN003",
        "a run has no such option",
        """
## Meaning
`prog.run(...)` or `prog.open(...)` was called with a keyword that is no setting of a run. The hint lists all of
them.

## Why
A setting that is overlooked, such as a misspelt `pid`, would run the program on the whole machine.

## Example
```python
prog.run(durration=5)
```

## Repair
Use a name from the hint. The program's own options go into `settings`:
```python
prog.run(duration=5, settings={"limit": 1_000_000})
```
""",
    ),
    Code(
        "RUN004",
        "arguments that the program does not have",
        """
## Meaning
A program's command line has an option that neither the program nor the common options know, a value of the
wrong form, or two options that exclude each other. The message says which.

## Why
The options decide which processes are traced, and for how long. None is overlooked, none is guessed.

## Example
```
$ osmia run opensnoop --pid 1 -- cat /etc/hostname
error[RUN004]: osmia run opensnoop: --pid and a command exclude each other
```

## Repair
`osmia run PROGRAM --help` lists a program's own options and the common ones. Everything after `--` belongs to
the traced command, so options of the program come before it.
""",
    ),
    Code(
        "RUN005",
        "there is no process of this number",
        """
## Meaning
`--pid` or `--tid` names a process or thread that does not exist, seen from the caller: in a container, numbers
are those of the container.

## Why
A filter for a process that has ended would match nothing, or, once the number is used again, a process that was
never meant.

## Example
```
$ osmia run syscount --pid 999999
error[RUN005]: there is no process 999999
```

## Repair
Look the number up with `ps` or `pgrep` in the same container. To trace a command from its start on, let Osmia
start it: `osmia run syscount -- COMMAND`.
""",
    ),
    Code(
        "RUN006",
        "the path is no cgroup",
        """
## Meaning
`--cgroup` takes a folder of the cgroup v2 file system, by its path or relative to where that is mounted. What
was given is no such folder.

## Why
Programs compare the id of the current task's cgroup, which only version 2 has. Folders of the old version 1
have other numbers, and a filter on them would match the wrong tasks.

## Example
```
$ osmia run opensnoop --cgroup system.slice/no-such.service
error[RUN006]: system.slice/no-such.service is no cgroup
```

## Repair
`systemd-cgls` shows the tree; `cat /proc/PID/cgroup` tells the cgroup of a process, after the second colon:
```
osmia run opensnoop --cgroup /sys/fs/cgroup/system.slice/ssh.service
```
""",
    ),
    Code(
        "RUN007",
        "no task can have this name",
        """
## Meaning
`--comm` compares the name that the kernel keeps of a task, and that has at most 15 bytes. The name given is
longer.

## Why
It could never match: the run would go on and show nothing.

## Example
```
$ osmia run opensnoop --comm systemd-journald-helper
error[RUN007]: no task can be named 'systemd-journald-helper'
```

## Repair
Give the name as the kernel has it, which `ps -o comm` and `cat /proc/PID/comm` show: the first 15 bytes.
```
osmia run opensnoop --comm systemd-journal
```
""",
    ),
    Code(
        "RUN010",
        "a value of this type cannot be shown",
        """
## Meaning
A column of a table has a type for which there is no text form: a union, a bit field without a base, a type that
is known by its size only.

## Why
Raw bytes printed as if they were a number would be read as one.

## Example
```python
prog.show(table)        # a table from an object file whose BTF tells nothing but the values' size
```

## Repair
Give the field a type that has a form: an integer, `Char`, `Bytes`, an array or a struct of these. For a map of
an object file, compile the object with BTF (`clang -g`), so that its types are known.
""",
    ),
    Code(
        "RUN011",
        "there is no such display format",
        """
## Meaning
`columns={...}` of an event, or of `prog.show`, gives a column a display format that does not exist. The hint
names the nearest, or all of them.

## Why
Without the format the raw number would be printed, and a latency in nanoseconds could be taken for
milliseconds.

## Example
```python
@prog.event(columns={"took": "millis"})
class Slow:
    took: u64
```

## Repair
The formats are in the reference, docs/reference/formats.md.
```python
@prog.event(columns={"took": "ms"})
```
""",
    ),
    Code(
        "RUN012",
        "Arrow and Parquet output need another package",
        """
## Meaning
`--arrow` or `--parquet` was asked for, and the Python package `pyarrow`, which writes these formats, is not
installed.

## Why
It is larger than all of Osmia, and most runs do not need it, so it is an optional extra.

## Example
```
$ osmia run opensnoop --parquet -o opens.parquet
error[RUN012]: Arrow and Parquet output need pyarrow
```

## Repair
Install it beside Osmia, in the same environment, or use a format that needs nothing (`--json`, `--csv`):
```
pip install 'osmia[arrow]'
```
""",
    ),
    Code(
        "RUN013",
        "Arrow and Parquet output need a file",
        """
## Meaning
Arrow and Parquet are written to a file, named by `--output`, whose ending says which of the two it is. The name
is missing or ends otherwise.

## Why
Both formats have an index at the end that points back into the file, and every table goes to a file of its own;
neither can be done on standard output.

## Example
```
$ osmia run opensnoop --parquet
error[RUN013]: parquet output needs a file
```

## Repair
Name the file, with an ending that fits:
```
osmia run opensnoop --parquet --output opens.parquet
```
""",
    ),
    Code(
        "RUN014",
        "the output file cannot be written",
        """
## Meaning
`--output` names a file that the system did not let Osmia create or open for writing. The message has the
system's words.

## Why
The file is opened before anything is attached: a run whose result cannot be kept does not start.

## Example
```
$ osmia run opensnoop --json --output /no/such/folder/opens.json
error[RUN014]: cannot write /no/such/folder/opens.json: No such file or directory
```

## Repair
Make the folder, choose another one, or free space on the disk. An existing file is replaced, if you may write
it.
""",
    ),
    Code(
        "RUN015",
        "a printed value does not take its format",
        """
## Meaning
An f-string in a kernel function's `print` gives a value a format that values of its type do not take. The
message names the function, the line, and Python's own reason.

## Why
What `print` is given in the kernel is formatted in user space, by Python's rules. All formats are tried before
anything is attached, so that a run does not end at its first event.

## Example
```python
@prog.tracepoint("syscalls:sys_enter_openat")
def enter(args: TracepointArgs) -> None:
    print(f"{comm():08x} opens")     # a text, with a number's format
```

## Repair
Use a format of the value's type: `08x`, `>5d`, `,` for integers; `<16`, `>16`, `.8` for texts. Structs and
arrays take none.
""",
    ),
    Code(
        "RUN016",
        "a printed record that belongs to no print",
        """
## Meaning
The buffer of printed values holds a record whose number, or whose size, is that of no `print` of the program;
or the list of prints that came with the program is damaged.

## Why
Records of the buffer begin with the number of the `print` they belong to, which decides how they are read.
Reading one with a wrong layout would print values that never were.

## Example
A map named `osmia_prints` of another program was put in the place of this program's own.

## Repair
Run with `--no-cache`, to compile the program anew. If it comes back, report it with the program.
""",
    ),
    Code(
        "RUN017",
        "a value does not fit its column of the output file",
        """
## Meaning
A column of an Arrow or Parquet file has one type. The rows written first made it, say, a column of integers; a
later row has something else there.

## Why
Files of these formats hold one schema, written before the rows. Changing values silently to fit would write
other data than the program gave.

## Example
```python
@prog.report
def report() -> None:
    prog.table("sizes", ["name", "size"], [("a", 1)])
    prog.table("sizes", ["name", "size"], [("b", "unknown")])
```

## Repair
Give a column values of one type, with `None` where there is none; or use `--json`, whose lines are independent
of each other.
""",
    ),
    Code(
        "RUN020",
        "an object file cannot be read",
        """
## Meaning
A file that was given as an object file (`.o`) could not be opened or read. The message has the system's own
words.

## Why
Nothing is known of a program whose file cannot be read; there is nothing to fall back on.

## Example
```
$ osmia disasm missing.bpf.o
error[RUN020]: cannot read missing.bpf.o: No such file or directory
```

## Repair
Check the path and the permissions with `ls -l`. `osmia build FILE.py -o NAME.bpf.o` makes an object file of a
program file.
""",
    ),
    Code(
        "RUN021",
        "there is no ready tool of this name",
        """
## Meaning
A word without a slash and without the ending `.py` is the name of one of the tools that come with Osmia, and
none has this name. The hint names the nearest ones.

## Why
A guess could start another tool than was meant, as root. Files in the current folder are not searched for
names, so that nobody can place a program there that runs instead of a tool.

## Example
```
$ osmia run opensnop
error[RUN021]: there is no tool 'opensnop'
hint: did you mean 'opensnoop'?
```

## Repair
`osmia tools` lists the tools. A program file of your own is given with its ending or a path:
```
osmia run opens.py
```
""",
    ),
    Code(
        "RUN022",
        "a program file cannot be read",
        """
## Meaning
The target is a path, or ends in `.py`, so it is a program file; the system did not let Osmia open or read it.
The message has the system's own words.

## Why
There is nothing to compile. A tool of a similar name is not tried in its place.

## Example
```
$ osmia run opens.py
error[RUN022]: cannot read opens.py: No such file or directory
```

## Repair
Check the path and its permissions with `ls -l`. A ready tool is named without an ending: `osmia run opensnoop`.
""",
    ),
    Code(
        "RUN023",
        "a program file is not valid Python",
        """
## Meaning
Python itself cannot parse the file; the message is Python's. The file may be something else altogether: an
object file, C, a compressed file.

## Why
A program file is an ordinary Python module. Its whole text is parsed before any of it runs.

## Example
```python
prog = Program("opens"
```

## Repair
Correct the place that is shown; an unclosed bracket is often on a line before it. `python -m py_compile
FILE.py` reports the same. An object file is recognised by its ending `.o`.
""",
    ),
    Code(
        "RUN024",
        "a program file failed while it was loaded",
        """
## Meaning
The file is executed like any Python module, to collect the program's declarations, and an exception ended that.
The message has the exception, the excerpt its line in the file.

## Why
Half of the declarations would be half of a program; it is never run.

## Example
```python
from osmia import Program
import requests            # not installed here

prog = Program("opens")
```

## Repair
Run the file with `python FILE.py` to see the whole traceback. Modules that it imports must be installed in the
environment that runs `osmia`: with `sudo`, use the full path of the command in that environment.
""",
    ),
    Code(
        "RUN025",
        "a file without exactly one program",
        """
## Meaning
A program file makes one object of the class `Program` at module level. This one makes none, or several.

## Why
With several, nothing says which one to run; with none there is nothing to run.

## Example
```python
from osmia import Program

def main() -> None:
    prog = Program("opens")     # inside a function: not to be found from outside
```

## Repair
Make the program at module level, `prog = Program("opens")`. Two programs that belong together can be one with
all the hooks; otherwise split them into two files.
""",
    ),
    Code(
        "RUN030",
        "asked of a program that does not run",
        """
## Meaning
`prog.show`, `prog.table` and `prog.symbols` print or name what a running program collected. They were used
while the program was not running: at import, or after the end.

## Why
Maps exist from loading to the end of the session. Before and after, there is nothing to show; an empty table
would look like a result.

## Example
```python
counts = prog.counter(u32)
prog.show(counts)               # at import: nothing runs yet
```

## Repair
Call it from a callback of the program, or inside a session:
```python
@prog.report
def summary() -> None:
    prog.show(counts)
```
""",
    ),
    Code(
        "RUN031",
        "the session is not open",
        """
## Meaning
A session's maps, events or programs were used before it was entered or after it was closed.

## Why
Between `with` and the end of its block the programs are loaded; outside there is nothing in the kernel to talk
to. Closing at a known place is what makes sure that nothing stays attached.

## Example
```python
session = prog.open()
session.streams              # not entered
```

## Repair
Use it as a context manager, and work with it inside the block:
```python
with prog.open() as session:
    session.run()
```
""",
    ),
    Code(
        "RUN032",
        "this program cannot be limited to processes",
        """
## Meaning
`--pid`, `--comm`, `--cgroup`, `--tid` or a command after `--` selects processes, and none of the program's
hooks has a process filter: packets and requests of devices, for instance, belong to no process.

## Why
The run would show events of all processes although one was asked for.

## Example
```
$ osmia run biolatency --pid 1
error[RUN032]: this program has no process filter, so --pid cannot apply
```

## Repair
Run it without the selection. In a program of your own, hooks of the current task (tracepoints, uprobes) have
the filter unless they say `subject=None`; with that, ask `selected(tgid)` in the function.
""",
    ),
    Code(
        "RUN033",
        "a setting or variable that cannot be set",
        """
## Meaning
A setting of the run names an option or global variable that the program does not have, or its value does not
fit the declared type.

## Why
Settings become constants of the program in the kernel before it is verified. One that is lost or cut would
change what the program does without a word.

## Example
```python
limit = prog.option("limit", u32, 1000)
...
prog.run(settings={"limit": -5})
```

## Repair
Use a name from the hint and a value in the range of the option's type; or declare the option with a wider type:
```python
limit = prog.option("limit", s64, 1000)
```
""",
    ),
    Code(
        "RUN034",
        "no network interface to attach to",
        """
## Meaning
A hook of the program, XDP or tc, attaches to a network interface. Neither the program file nor the command line
names one.

## Why
There is no harmless default: a program on the wrong interface can drop the packets of the connection you work
over.

## Example
```
$ osmia run xdpcount
error[RUN034]: count attaches to a network interface
```

## Repair
Name it, with `--interface` or in the decorator. `ip link` lists the interfaces.
```
osmia run xdpcount --interface eth0
```
""",
    ),
    Code(
        "RUN035",
        "no tracepoint matches the pattern",
        """
## Meaning
A tracepoint was given as a pattern, such as `syscalls:sys_enter_open*`, and this kernel has none that matches.

## Why
A pattern is looked up when the program starts, since kernels differ in their tracepoints. A program attached
nowhere would run and show nothing.

## Example
```python
@prog.tracepoint("sycalls:sys_enter_open*")
def enter(args: TracepointArgs) -> None: ...
```

## Repair
`osmia doctor --all` lists the categories; the file `available_events` of tracefs lists all tracepoints. Give
the function several targets if kernels name the same thing differently.
""",
    ),
    Code(
        "RUN036",
        "a USDT probe has more arguments than programs can read",
        """
## Meaning
Programs read the arguments of a USDT probe by a table of descriptions that the session fills, with room for as
many as the probes of SystemTap's headers can have. This probe has more.

## Why
Arguments beyond the table would be left out without a word, or read from the wrong place.

## Example
```python
@prog.usdt("/opt/db/bin/db", "db", "query_done")     # a probe that was made with another tool, with 14 arguments
def done(query: u64) -> None: ...
```

## Repair
Attach to the probe without parameters, which needs no descriptions, and find the values elsewhere: by a uprobe
of the function that contains the probe, for instance.
""",
    ),
)
