"""The kernel's contract with BPF programs and their loaders, as rows: pure data, no system call.

One module per table, each imported only by who needs it:

==================== ============================================================================
``prog_types``       program types: number, section prefixes, context, what they may return
``attach_types``     attach types: number, program types, how and to what they attach
``link_types``       link types
``map_types``        map types: number, rules for keys, values, entries and flags, helpers
``commands``         commands of bpf(2)
``helpers``          helper functions: prototype, program types, licence, version
``uapi``             constants: flags, perf, netlink, tc, XDP, sockets
``contexts``         context and record structs: fields, offsets, access rights
``registers``        registers and calling conventions of x86-64 and arm64
``syscalls``         system calls of x86-64 and aarch64 with their arguments
``tracepoints``      the BTF record struct of a tracepoint
``kernel_versions``  features by kernel version
``reference``        the tables as Markdown
==================== ============================================================================

Rows know the kernel version they came in as a pair, ``(5, 8)``. A name that no table has is refused
with a coded error that suggests the nearest names. Names are lower case without the kernel's prefix
(``hash``); the kernel's own spelling (``BPF_MAP_TYPE_HASH``) and its number are accepted as well.
"""

from __future__ import annotations
