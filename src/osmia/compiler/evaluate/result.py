"""What a run gave, and the surroundings that a program can ask about."""

from __future__ import annotations

from osmia.diagnostics import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from osmia.compiler.evaluate.buffers import Event
    from osmia.compiler.evaluate.maps import Map


class Environment:
    """What helpers tell a program about the machine and the task; every item may be changed between runs.

    :ivar pid: process id. :ivar tid: thread id; None: the same. :ivar uid: user. :ivar gid: group.
    :ivar comm: the task's name. :ivar task: kernel address of the ``task_struct``. :ivar cgroup_id: the task's cgroup.
    :ivar cgroups: ids of the cgroup's ancestors, the root first. :ivar time_ns: what the next question for the time
        gives. :ivar tick_ns: how far every question moves it. :ivar cpu: the CPU that runs. :ivar seed: of the random
        numbers. :ivar cookie: the attach cookie. :ivar func_ip: address of the probed function.
    :ivar kernel_stack: return addresses, innermost first. :ivar user_stack: likewise.
    """

    __slots__ = (
        "cgroup_id", "cgroups", "comm", "cookie", "cpu", "func_ip", "gid", "kernel_stack", "pid", "seed", "task",
        "tick_ns", "tid", "time_ns", "uid", "user_stack",
    )  # fmt: skip

    def __init__(self, **items: Any) -> None:
        self.pid = 1000
        self.tid: int | None = None
        self.uid = 0
        self.gid = 0
        self.comm: str | bytes = "osmia"
        self.task = 0
        self.cgroup_id = 1
        self.cgroups: Sequence[int] = (1,)
        self.time_ns = 1_000_000_000
        self.tick_ns = 1000
        self.cpu = 0
        self.seed = 0
        self.cookie = 0
        self.func_ip = 0
        self.kernel_stack: Sequence[int] = ()
        self.user_stack: Sequence[int] = ()
        for name, value in items.items():
            if name not in self.__slots__:
                raise UsageError(
                    "IR357", f"the evaluator has no setting '{name}'", hint=f"it has {', '.join(self.__slots__)}"
                )
            setattr(self, name, value)


class Result:
    """What one run gave.

    :ivar value: the function's result as int, bool or Pointer; 0 for a program without result, None for another
        function without result.
    :ivar events: records in the order of their reservation, discarded ones left out.
    :ivar printed: messages of ``printk`` and ``trace_printk``, as they are. :ivar output: bytes that ``seq_write`` and
        ``seq_printf`` wrote.
    :ivar maps: all maps by name, as they are after the run (see :class:`~osmia.compiler.evaluate.maps.Map`).
    :ivar context: bytes of the context after the run. :ivar packet: bytes of the packet after the run, None without.
    :ivar meta: bytes in front of the packet.
    :ivar steps: operations that ran. :ivar tail_calls: how many tail calls succeeded.
    :ivar redirects: targets of redirect helpers: (map name or ``""``, key or interface number).
    :ivar signals: numbers given to ``send_signal``.
    """

    __slots__ = (
        "context", "events", "maps", "meta", "output", "packet", "printed", "redirects", "signals", "steps",
        "tail_calls", "value",
    )  # fmt: skip

    def __init__(self) -> None:
        self.value: Any = None
        self.events: list[Event] = []
        self.printed: list[str] = []
        self.output = b""
        self.maps: dict[str, Map] = {}
        self.context = b""
        self.packet: bytes | None = None
        self.meta = b""
        self.steps = 0
        self.tail_calls = 0
        self.redirects: list[tuple[str, Any]] = []
        self.signals: list[int] = []

    @property
    def values(self) -> list[Any]:
        """The events' decoded values."""
        return [event.value for event in self.events]

    def __repr__(self) -> str:
        return f"Result({self.value!r}, {len(self.events)} events, {len(self.printed)} messages)"
