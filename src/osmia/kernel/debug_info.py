"""What a loaded program remembers of its source: functions and lines; and where perf events hold programs."""

from __future__ import annotations

import os
from struct import iter_unpack, pack_into, unpack_from

from osmia.kernel import refusals, syscall

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

_SIZE = 232


def functions(program: Any) -> list[tuple[int, int]]:
    """First slot and type id (in the program's own BTF) of each function; empty where hidden or unknown.

    :param program: a descriptor or a live program.
    """
    data = _records(program, 132, 144, 136)
    return [(slot, type_id) for slot, type_id in iter_unpack("=II", data)]


def lines(program: Any) -> list[tuple[int, int, int, int, int]]:
    """Source places: slot, offsets of file name and text in the BTF's strings, line, column; empty where hidden."""
    data = _records(program, 172, 148, 152)
    return [(slot, file, text, place >> 10, place & 0x3FF) for slot, file, text, place in iter_unpack("=IIII", data)]


def _records(program: Any, size_at: int, count_at: int, pointer_at: int) -> bytes:
    """One of the arrays of ``struct bpf_prog_info``, with records of the size this module reads."""
    wanted = 8 if pointer_at == 136 else 16
    fd = program if isinstance(program, int) else program.fileno()
    try:
        data = bytearray(_SIZE)
        syscall.object_info(fd, data)
        size, count = unpack_from("=I", data, size_at)[0], unpack_from("=I", data, count_at)[0]
        if not count or size < wanted:
            return b""
        room = bytearray(size * count)
        data = bytearray(_SIZE)
        pack_into("=I", data, size_at, size)
        pack_into("=I", data, count_at, count)
        pack_into("=Q", data, pointer_at, syscall.address(room))
        syscall.object_info(fd, data)
    except OSError as error:
        raise refusals.unexpected("cannot read the program's source places", error) from None
    count = min(count, unpack_from("=I", data, count_at)[0])
    return b"".join(bytes(room[at * size : at * size + wanted]) for at in range(count))


_PROBES = {0: "raw_tracepoint", 1: "tracepoint", 2: "kprobe", 3: "kretprobe", 4: "uprobe", 5: "uretprobe"}


def perf_attachments(pids: Iterable[int]) -> dict[int, list[str]]:
    """Where programs are attached by way of perf events, which processes hold without a link: texts by program id.

    :param pids: the processes to ask about (Linux 4.18); those that this one may not look into are left out.
    """
    found: dict[int, list[str]] = {}
    for pid in pids:
        try:
            numbers = os.listdir(f"/proc/{pid}/fd")
        except OSError:
            continue
        for number in numbers:
            try:
                if os.readlink(f"/proc/{pid}/fd/{number}") != "anon_inode:[perf_event]":
                    continue
                prog_id, kind, offset, _, name = syscall.task_fd_query(pid, int(number))
            except OSError:
                continue
            place = name + (f"+{offset:#x}" if offset and kind > 1 else "")
            text = f"{_PROBES.get(kind, 'perf_event')} {place}".strip()
            if text not in found.setdefault(prog_id, []):
                found[prog_id].append(text)
    return found
