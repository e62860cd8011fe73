"""Commands of the bpf(2) system call.

Made by hand: numbers are those of ``enum bpf_cmd`` in the kernel's BTF (Linux 6.18) and, beyond, of the uapi header of
Linux 7.2; versions are the releases that first contained the commit that added the command.
"""

from __future__ import annotations

from osmia.abi._table import Table, Version

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

MAP_CREATE = 0
MAP_LOOKUP_ELEM = 1
MAP_UPDATE_ELEM = 2
MAP_DELETE_ELEM = 3
MAP_GET_NEXT_KEY = 4
PROG_LOAD = 5
OBJ_PIN = 6
OBJ_GET = 7
PROG_ATTACH = 8
PROG_DETACH = 9
PROG_TEST_RUN = 10
PROG_GET_NEXT_ID = 11
MAP_GET_NEXT_ID = 12
PROG_GET_FD_BY_ID = 13
MAP_GET_FD_BY_ID = 14
OBJ_GET_INFO_BY_FD = 15
PROG_QUERY = 16
RAW_TRACEPOINT_OPEN = 17
BTF_LOAD = 18
BTF_GET_FD_BY_ID = 19
TASK_FD_QUERY = 20
MAP_LOOKUP_AND_DELETE_ELEM = 21
MAP_FREEZE = 22
BTF_GET_NEXT_ID = 23
MAP_LOOKUP_BATCH = 24
MAP_LOOKUP_AND_DELETE_BATCH = 25
MAP_UPDATE_BATCH = 26
MAP_DELETE_BATCH = 27
LINK_CREATE = 28
LINK_UPDATE = 29
LINK_GET_FD_BY_ID = 30
LINK_GET_NEXT_ID = 31
ENABLE_STATS = 32
ITER_CREATE = 33
LINK_DETACH = 34
PROG_BIND_MAP = 35
TOKEN_CREATE = 36
PROG_STREAM_READ_BY_FD = 37
PROG_ASSOC_STRUCT_OPS = 38


class Command:
    """One command: ``number``, lower-case ``name`` (``map_create``) and the ``version`` it came in."""

    __slots__ = ("name", "number", "version")

    def __init__(self, number: int, name: str, version: Version) -> None:
        self.number = number
        self.name = name
        self.version = version

    @property
    def kernel_name(self) -> str:
        """The enumerator, ``BPF_MAP_CREATE``."""
        return "BPF_" + self.name.upper()

    def __repr__(self) -> str:
        return f"Command({self.name!r}, {self.number})"


_ROWS = (
    (0, "map_create", (3, 18)),
    (1, "map_lookup_elem", (3, 18)),
    (2, "map_update_elem", (3, 18)),
    (3, "map_delete_elem", (3, 18)),
    (4, "map_get_next_key", (3, 18)),
    (5, "prog_load", (3, 18)),
    (6, "obj_pin", (4, 4)),
    (7, "obj_get", (4, 4)),
    (8, "prog_attach", (4, 10)),
    (9, "prog_detach", (4, 10)),
    (10, "prog_test_run", (4, 12)),
    (11, "prog_get_next_id", (4, 13)),
    (12, "map_get_next_id", (4, 13)),
    (13, "prog_get_fd_by_id", (4, 13)),
    (14, "map_get_fd_by_id", (4, 13)),
    (15, "obj_get_info_by_fd", (4, 13)),
    (16, "prog_query", (4, 15)),
    (17, "raw_tracepoint_open", (4, 17)),
    (18, "btf_load", (4, 18)),
    (19, "btf_get_fd_by_id", (4, 18)),
    (20, "task_fd_query", (4, 18)),
    (21, "map_lookup_and_delete_elem", (4, 20)),
    (22, "map_freeze", (5, 2)),
    (23, "btf_get_next_id", (5, 4)),
    (24, "map_lookup_batch", (5, 6)),
    (25, "map_lookup_and_delete_batch", (5, 6)),
    (26, "map_update_batch", (5, 6)),
    (27, "map_delete_batch", (5, 6)),
    (28, "link_create", (5, 7)),
    (29, "link_update", (5, 7)),
    (30, "link_get_fd_by_id", (5, 8)),
    (31, "link_get_next_id", (5, 8)),
    (32, "enable_stats", (5, 8)),
    (33, "iter_create", (5, 8)),
    (34, "link_detach", (5, 9)),
    (35, "prog_bind_map", (5, 10)),
    (36, "token_create", (6, 9)),
    (37, "prog_stream_read_by_fd", (6, 17)),
    (38, "prog_assoc_struct_ops", (7, 0)),
)

TABLE = Table(
    "bpf command", "ABI004", "BPF_", _ROWS, Command, {"prog_run": "prog_test_run", "BPF_PROG_RUN": "prog_test_run"}
)


def command(key: str | int) -> Command:
    """The command of a name (``map_create``, ``BPF_MAP_CREATE``) or number.

    :raises UsageError: ABI004 when there is none.
    """
    row: Command = TABLE.get(key)
    return row


def commands() -> Iterator[Command]:
    """All commands in the order of their numbers."""
    return iter(TABLE)
