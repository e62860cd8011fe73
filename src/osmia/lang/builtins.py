"""The functions that kernel code has beside Python's own. Each exists so that program files import, type-check and
complete;
the front end compiles calls of them, and user space is told that they work in kernel functions only.
"""

from __future__ import annotations

from osmia.lang.maps import kernel_only

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn, TypeVar

    from osmia.lang.maps import StackTrace

    _T = TypeVar("_T")


def _only(name: str) -> NoReturn:
    raise kernel_only(f"{name}()")


# -- the current task -------------------------------------------------------------------------------------------------


def pid() -> int:
    """Process id (thread group id) of the current task, in the session's pid namespace; ``u32``."""
    _only("pid")


def tid() -> int:
    """Thread id of the current task, in the session's pid namespace; ``u32``."""
    _only("tid")


def comm() -> str:
    """Name of the current task; ``Char[16]``."""
    _only("comm")


def uid() -> int:
    """User id of the current task; ``u32``."""
    _only("uid")


def gid() -> int:
    """Group id of the current task; ``u32``."""
    _only("gid")


def current() -> Any:
    """The current task, a ``task_struct``."""
    _only("current")


def cgroup_id() -> int:
    """Id of the current task's cgroup (version 2); ``u64`` (Linux 4.18)."""
    _only("cgroup_id")


def ancestor_cgroup_id(level: int) -> int:
    """Id of the cgroup ``level`` steps below the root that holds the current task; ``u64`` (Linux 5.7)."""
    _only("ancestor_cgroup_id")


def selected(tgid: int) -> bool:
    """Whether the run's process filter selects a process: for events whose subject is not the current task."""
    _only("selected")


# -- machine and time ------------------------------------------------------------------------------


def cpu() -> int:
    """Number of the CPU; ``u32``."""
    _only("cpu")


def numa_node() -> int:
    """NUMA node of the CPU; ``u32``."""
    _only("numa_node")


def ktime_ns() -> int:
    """Nanoseconds since boot without time in suspend (``CLOCK_MONOTONIC``); ``u64``."""
    _only("ktime_ns")


def boot_ns() -> int:
    """Nanoseconds since boot with time in suspend (``CLOCK_BOOTTIME``); ``u64`` (Linux 5.8)."""
    _only("boot_ns")


def tai_ns() -> int:
    """Nanoseconds of international atomic time (``CLOCK_TAI``); ``u64`` (Linux 6.1)."""
    _only("tai_ns")


def jiffies() -> int:
    """The kernel's tick count; ``u64`` (Linux 5.5)."""
    _only("jiffies")


def random_u32() -> int:
    """A random number; ``u32``."""
    _only("random_u32")


# -- the probe -------------------------------------------------------------------------------------


def func_ip() -> int:
    """Address of the traced function; ``u64`` (Linux 5.15)."""
    _only("func_ip")


def attach_cookie() -> int:
    """The number that user space gave when attaching; ``u64`` (Linux 5.15)."""
    _only("attach_cookie")


def kstack(stacks: StackTrace, skip: int = 0) -> int:
    """Stores the kernel stack and gives its number, negative on failure; ``s64``."""
    _only("kstack")


def ustack(stacks: StackTrace, skip: int = 0) -> int:
    """Stores the user stack and gives its number, negative on failure; ``s64``."""
    _only("ustack")


# -- memory by address -----------------------------------------------------------------------------


def user_str(address: Any, size: int = 0) -> str:
    """Text in user memory; at most ``size`` bytes, by default what its destination holds (256 without one).

    Where the memory cannot be read the text is ``<fault>``, and the fault is counted.
    """
    _only("user_str")


def kernel_str(address: Any, size: int = 0) -> str:
    """Text in kernel memory; like :func:`user_str`."""
    _only("kernel_str")


def user_bytes(address: Any, size: int) -> bytes:
    """``size`` bytes of user memory; zeros where it cannot be read, and the fault is counted."""
    _only("user_bytes")


def kernel_bytes(address: Any, size: int) -> bytes:
    """``size`` bytes of kernel memory; zeros where it cannot be read, and the fault is counted."""
    _only("kernel_bytes")


def user_read(address: Any, type: type[_T]) -> _T:
    """A value of ``type`` in user memory; zero where it cannot be read, and the fault is counted."""
    _only("user_read")


def kernel_read(address: Any, type: type[_T]) -> _T:
    """A value of ``type`` in kernel memory; zero where it cannot be read, and the fault is counted."""
    _only("kernel_read")


def cast(address: Any, type: Any) -> Any:
    """A kernel address as a pointer to a kernel type: ``cast(args.skaddr, sock)``."""
    _only("cast")


def addr(pointer: Any) -> int:
    """The address of a kernel pointer or kernel field as a number; ``u64``."""
    _only("addr")


# -- output ----------------------------------------------------------------------------------------


def printk(text: str) -> None:
    """Writes to the kernel's trace pipe; ``text`` is a string or an f-string with at most three numbers."""
    _only("printk")


def seq_print(text: str) -> None:
    """Writes text to an iterator's output; ``text`` is a string or an f-string."""
    _only("seq_print")


def seq_write(value: Any) -> None:
    """Writes a struct's bytes to an iterator's output."""
    _only("seq_write")


# -- bytes and bits --------------------------------------------------------------------------------


def ntohs(value: int) -> int:
    """Network to host byte order; ``u16``."""
    _only("ntohs")


def ntohl(value: int) -> int:
    """Network to host byte order; ``u32``."""
    _only("ntohl")


def ntohll(value: int) -> int:
    """Network to host byte order; ``u64``."""
    _only("ntohll")


def htons(value: int) -> int:
    """Host to network byte order; ``u16``."""
    _only("htons")


def htonl(value: int) -> int:
    """Host to network byte order; ``u32``."""
    _only("htonl")


def htonll(value: int) -> int:
    """Host to network byte order; ``u64``."""
    _only("htonll")


def log2(value: int) -> int:
    """Position of the highest set bit, 0 for 0; ``u32``."""
    _only("log2")


def signed(value: int) -> int:
    """The same bits as a signed integer of the same width."""
    _only("signed")


def unsigned(value: int) -> int:
    """The same bits as an unsigned integer of the same width."""
    _only("unsigned")


# -- what the running kernel has -------------------------------------------------------------------


def field_exists(field: Any) -> bool:
    """Whether a kernel type has a field: ``field_exists(task_struct.loginuid)``. Decided when the program is loaded."""
    _only("field_exists")


def field_size(field: Any) -> int:
    """Size of a kernel field in bytes; ``u64``."""
    _only("field_size")


def field_offset(field: Any) -> int:
    """Offset of a kernel field in bytes; ``u64``."""
    _only("field_offset")


def type_exists(type: Any) -> bool:
    """Whether the kernel has a type."""
    _only("type_exists")


def type_size(type: Any) -> int:
    """Size of a kernel type in bytes; ``u64``."""
    _only("type_size")


def enum_value(enumerator: Any) -> int:
    """Value of an enumerator in the running kernel: ``enum_value(tcp_state.TCP_CLOSE)``."""
    _only("enum_value")


def enum_exists(enumerator: Any) -> bool:
    """Whether the kernel has an enumerator."""
    _only("enum_exists")


def kconfig(name: str, type: type[_T]) -> _T:
    """A value of the kernel's configuration: ``kconfig("CONFIG_HZ", u32)``."""
    _only("kconfig")


def ksym(name: str, *, weak: bool = False) -> int:
    """Address of a kernel symbol; 0 for a weak one that is missing; ``u64``."""
    _only("ksym")


def exists(kfunc: Any) -> bool:
    """Whether the kernel has a weak kfunc."""
    _only("exists")


class Helper:
    """A kernel helper by its name; ``from osmia.helpers import bpf_get_prandom_u32`` makes one."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name

    def __call__(self, *args: Any) -> Any:
        raise kernel_only(f"{self.name}()")
