"""The BTF struct of a tracepoint's record.

A program of type ``tracepoint`` gets the event's record. In BTF it is ``struct trace_event_raw_<class>``, and most
events
share the class of others: ``sched:sched_wakeup_new`` has that of ``sched_wakeup_template``. Which class an event has
is not
in BTF; the generated table (``_tracepoint_rows``) knows it for the events of Linux 6.18.
"""

from __future__ import annotations

PREFIX = "trace_event_raw_"


def record_class(category: str, event: str) -> str:
    """The class of an event; the event's own name when the table does not name another.

    System call events have the classes ``sys_enter`` and ``sys_exit``.
    """
    if category == "syscalls":
        if event.startswith("sys_enter_"):
            return "sys_enter"
        if event.startswith("sys_exit_"):
            return "sys_exit"
    from osmia.abi._tracepoint_rows import CLASSES

    return CLASSES.get(f"{category}:{event}", event)


def record_struct(category: str, event: str) -> str:
    """Name of the struct in the kernel's BTF; it is not there when the kernel does not have the event."""
    return PREFIX + record_class(category, event)
