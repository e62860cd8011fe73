"""Kernel functions and the decorators that make them: one method per hook.

A decorator records where the function attaches; it compiles nothing. The row :data:`HOOKS` of a hook says what its
program is and whether the common process filter applies.
"""

from __future__ import annotations

from osmia.diagnostics import UsageError
from osmia.lang.maps import kernel_only
from osmia.object.spec import Hook

TYPE_CHECKING = False
if not TYPE_CHECKING:
    from osmia.lang._generic import overload
else:
    from collections.abc import Callable
    from typing import Any, overload

    from osmia.lang.program import ProgramDecl

    _Decorator = Callable[[Callable[..., Any]], "KernelFunction"]


class HookKind:
    """What the front end must know about a hook.

    :ivar prog_type: program type's name in ``abi.prog_types``. :ivar section: ELF section; ``{target}`` is filled in.
    :ivar context: how the program's argument is read: a name of ``frontends.python.contexts``.
    :ivar filtered: the process filter applies unless ``subject=None``. :ivar default: what the program returns when the
        function does not say. :ivar returns: whether the function may return a verdict.
    """

    __slots__ = ("context", "default", "filtered", "prog_type", "returns", "section")

    def __init__(
        self,
        prog_type: str,
        section: str,
        context: str,
        filtered: bool = False,
        default: int = 0,
        returns: bool = False,
    ) -> None:
        self.prog_type = prog_type
        self.section = section
        self.context = context
        self.filtered = filtered
        self.default = default
        self.returns = returns


HOOKS = {
    "tracepoint": HookKind("tracepoint", "tracepoint/{category}/{event}", "tracepoint", True),
    "raw_tracepoint": HookKind("raw_tracepoint", "raw_tracepoint/{target}", "raw_args", True),
    "btf_tracepoint": HookKind("tracing", "tp_btf/{target}", "btf_args", True),
    "kprobe": HookKind("kprobe", "kprobe/{target}", "regs", True),
    "kretprobe": HookKind("kprobe", "kretprobe/{target}", "regs", True),
    "uprobe": HookKind("kprobe", "uprobe/{target}", "regs", True),
    "uretprobe": HookKind("kprobe", "uretprobe/{target}", "regs", True),
    "usdt": HookKind("kprobe", "usdt/{target}", "usdt", True),
    "fentry": HookKind("tracing", "fentry/{target}", "btf_args", True),
    "fexit": HookKind("tracing", "fexit/{target}", "btf_args", True),
    "fmod_ret": HookKind("tracing", "fmod_ret/{target}", "btf_args", False, 0, True),
    "lsm": HookKind("lsm", "lsm/{target}", "btf_args", False, 0, True),
    "perf_event": HookKind("perf_event", "perf_event", "perf_event", True),
    "profile": HookKind("perf_event", "perf_event", "perf_event", True),
    "software": HookKind("perf_event", "perf_event", "perf_event", True),
    "hardware": HookKind("perf_event", "perf_event", "perf_event", True),
    "interval": HookKind("perf_event", "perf_event", "perf_event"),
    "begin": HookKind("raw_tracepoint", "raw_tracepoint", "none"),
    "end": HookKind("raw_tracepoint", "raw_tracepoint", "none"),
    "iter": HookKind("tracing", "iter/{target}", "iter"),
    "xdp": HookKind("xdp", "xdp", "XdpContext", False, 2, True),
    "tc": HookKind("sched_cls", "tc", "SkbContext", False, 0, True),
    "cgroup": HookKind("", "", "cgroup", False, 1, True),
    "socket_filter": HookKind("socket_filter", "socket", "SkbContext", False, -1, True),
    "sk_lookup": HookKind("sk_lookup", "sk_lookup", "SkLookupContext", False, 1, True),
    "sk_skb": HookKind("sk_skb", "sk_skb/{target}", "SkbContext", False, 1, True),
    "sk_msg": HookKind("sk_msg", "sk_msg", "SkMsgContext", False, 1, True),
    "syscall": HookKind("syscall", "syscall", "none", False, 0, True),
}
"""Every hook by its name."""

# target: (program type, ELF section, context, default verdict)
CGROUP_HOOKS = {
    "skb/ingress": ("cgroup_skb", "cgroup_skb/ingress", "SkbContext", 1),
    "skb/egress": ("cgroup_skb", "cgroup_skb/egress", "SkbContext", 1),
    "sock_create": ("cgroup_sock", "cgroup/sock_create", "SockContext", 1),
    "sock_release": ("cgroup_sock", "cgroup/sock_release", "SockContext", 1),
    "post_bind4": ("cgroup_sock", "cgroup/post_bind4", "SockContext", 1),
    "post_bind6": ("cgroup_sock", "cgroup/post_bind6", "SockContext", 1),
    "sockops": ("sock_ops", "sockops", "SockOpsContext", 1),
    "device": ("cgroup_device", "cgroup/dev", "DeviceContext", 1),
    "sysctl": ("cgroup_sysctl", "cgroup/sysctl", "SysctlContext", 1),
    "getsockopt": ("cgroup_sockopt", "cgroup/getsockopt", "SockoptContext", 1),
    "setsockopt": ("cgroup_sockopt", "cgroup/setsockopt", "SockoptContext", 1),
    **{
        name: ("cgroup_sock_addr", f"cgroup/{name}", "SockAddrContext", 1)
        for name in (
            "bind4", "bind6", "connect4", "connect6", "sendmsg4", "sendmsg6", "recvmsg4", "recvmsg6",
            "getpeername4", "getpeername6", "getsockname4", "getsockname6",
            "connect_unix", "sendmsg_unix", "recvmsg_unix", "getpeername_unix", "getsockname_unix",
        )
    },
}  # fmt: skip
"""The cgroup hooks by target."""

SOFTWARE_EVENTS = {
    "cpu-clock": 0, "task-clock": 1, "page-faults": 2, "context-switches": 3, "cpu-migrations": 4, "minor-faults": 5,
    "major-faults": 6, "alignment-faults": 7, "emulation-faults": 8, "dummy": 9, "bpf-output": 10,
    "cgroup-switches": 11,
}  # fmt: skip
"""``PERF_COUNT_SW_*`` by name."""

HARDWARE_EVENTS = {
    "cpu-cycles": 0, "instructions": 1, "cache-references": 2, "cache-misses": 3, "branch-instructions": 4,
    "branch-misses": 5, "bus-cycles": 6, "stalled-cycles-frontend": 7, "stalled-cycles-backend": 8,
    "ref-cycles": 9,
}  # fmt: skip
"""``PERF_COUNT_HW_*`` by name."""


class KernelFunction:
    """A Python function that is compiled to a kernel program.

    :ivar name: the program's name. :ivar hook: where it attaches. :ivar function: the Python function.
    :ivar filtered: the process filter comes first. :ivar sleepable: the program may sleep.
    :ivar when: ``""``, or what must be on for the session to load it (``tree``: following a command's process tree).
    """

    __slots__ = ("_live", "filtered", "function", "hook", "name", "program", "sleepable", "when")

    def __init__(
        self,
        program: ProgramDecl,
        function: Callable[..., Any],
        hook: Hook,
        *,
        filtered: bool = False,
        sleepable: bool = False,
        when: str = "",
    ) -> None:
        self.program = program
        self.function = function
        self.name = function.__name__
        self.hook = hook
        self.filtered = filtered
        self.sleepable = sleepable
        self.when = when
        self._live: Any = None

    def __repr__(self) -> str:
        return f"<kernel function {self.name} on {self.hook.kind} {self.hook.target}>".replace(" >", ">")

    def __call__(self, *args: object, **named: object) -> Any:
        raise UsageError(
            "PY004",
            f"{self.name} is a kernel program; user space cannot call it",
            hint=f"run it once in the kernel with `prog.{self.name}.test_run(...)`",
        )

    def bind(self, live: Any) -> None:
        """Connects the declaration with a session's loaded program; ``None`` disconnects."""
        self._live = live

    def test_run(self, *args: Any, **options: Any) -> Any:
        """Runs the program once in the kernel; the session's program takes the arguments."""
        return self.program.test_run(self, *args, **options)


class HelperFunction:
    """A function that kernel functions call: inlined, or a call of its own (``inline=False``)."""

    __slots__ = ("__wrapped__", "function", "inline", "name", "program")

    def __init__(self, program: ProgramDecl, function: Callable[..., Any], inline: bool) -> None:
        self.program = program
        self.function = function
        self.name = function.__name__
        self.inline = inline
        self.__wrapped__ = function

    def __repr__(self) -> str:
        return f"<helper function {self.name}>"

    def __call__(self, *args: Any, **named: Any) -> Any:
        """In user space it is the Python function it was."""
        return self.function(*args, **named)


class Kfunc:
    """A kernel function that programs may call, declared by a typed stub.

    :ivar weak: the program loads without it; ``exists(f)`` tells in the kernel.
    """

    __slots__ = ("function", "name", "weak")

    def __init__(self, function: Callable[..., Any], weak: bool) -> None:
        self.function = function
        self.name = function.__name__
        self.weak = weak

    def __repr__(self) -> str:
        return f"<kfunc {self.name}>"

    def __call__(self, *args: object, **named: object) -> Any:
        raise kernel_only(self.name)


class HookDecorators:
    """The hook decorators of a program."""

    functions: list[KernelFunction]

    def test_run(self, function: KernelFunction, *args: Any, **options: Any) -> Any:
        """Runs a kernel function once; sessions replace this."""
        raise kernel_only(f"{function.name}.test_run")

    def _attach(
        self,
        kind: str,
        target: str = "",
        options: dict[str, Any] | None = None,
        subject: str | None = "current",
        sleepable: bool = False,
        when: str = "",
    ) -> _Decorator:
        row = HOOKS[kind]
        if subject not in ("current", None):
            raise UsageError(
                "PY007",
                f"subject is 'current' or None, not {subject!r}",
                hint="with subject=None call `selected(tgid)` where the function knows whom the event is about",
            )
        hook = Hook(kind, target, options)

        def decorate(function: Callable[..., Any]) -> KernelFunction:
            if isinstance(function, KernelFunction):
                raise UsageError(
                    "PY007",
                    f"{function.name} has a hook already",
                    hint="give one decorator several targets, or let two functions call a common one",
                )
            if not hasattr(function, "__code__"):
                raise UsageError("PY007", f"{function!r} is no Python function")
            made = KernelFunction(
                self,  # type: ignore[arg-type]
                function,
                hook,
                filtered=row.filtered and subject is not None,
                sleepable=sleepable,
                when=when,
            )
            self.functions.append(made)
            return made

        return decorate

    def _targets(self, kind: str, targets: tuple[str, ...], example: str, **rest: Any) -> _Decorator:
        for target in targets:
            if not isinstance(target, str) or not target or target.strip() != target:
                raise UsageError("PY007", f"{target!r} is no target of a {kind}", hint=f"write {example}")
        if not targets:
            raise UsageError("PY007", f"a {kind} needs a target", hint=f"write {example}")
        options = dict(rest.pop("options", None) or {})
        if len(targets) > 1:
            options["targets"] = targets
        return self._attach(kind, targets[0], options, **rest)

    # -- tracing ------------------------------------------------------------------------------------------------

    def tracepoint(self, *targets: str, subject: str | None = "current") -> _Decorator:
        """A kernel tracepoint, ``category:event``; ``*`` matches any text.

        The argument's attributes are the tracepoint's fields; system calls' fields are named as in their manual.
        """
        example = '@prog.tracepoint("sched:sched_switch")'
        for target in targets:
            if isinstance(target, str) and target.count(":") != 1:
                raise UsageError("PY007", f"{target!r} is no tracepoint: it has the form category:event", hint=example)
        return self._targets("tracepoint", targets, example, subject=subject)

    def raw_tracepoint(self, *targets: str, subject: str | None = "current") -> _Decorator:
        """A raw tracepoint by name: the arguments of the kernel's trace call, typed from BTF (Linux 4.17)."""
        return self._targets("raw_tracepoint", targets, '@prog.raw_tracepoint("sched_switch")', subject=subject)

    def btf_tracepoint(self, *targets: str, subject: str | None = "current") -> _Decorator:
        """A raw tracepoint whose pointers may be read directly (Linux 5.5)."""
        return self._targets("btf_tracepoint", targets, '@prog.btf_tracepoint("sched_switch")', subject=subject)

    def kprobe(self, *functions: str, offset: int = 0, subject: str | None = "current") -> _Decorator:
        """The entry of a kernel function, or an instruction in it; parameters are its first arguments."""
        options = {"offset": offset} if offset else {}
        return self._targets("kprobe", functions, '@prog.kprobe("vfs_read")', subject=subject, options=options)

    def kretprobe(self, *functions: str, subject: str | None = "current") -> _Decorator:
        """The return of a kernel function; the parameter is its result."""
        return self._targets("kretprobe", functions, '@prog.kretprobe("vfs_read")', subject=subject)

    def fentry(self, *functions: str, subject: str | None = "current", sleepable: bool = False) -> _Decorator:
        """The entry of a kernel function through BTF, cheaper than a kprobe (Linux 5.5)."""
        return self._targets("fentry", functions, '@prog.fentry("vfs_read")', subject=subject, sleepable=sleepable)

    def fexit(self, *functions: str, subject: str | None = "current", sleepable: bool = False) -> _Decorator:
        """The return of a kernel function with its arguments; ``ret`` is the result (Linux 5.5)."""
        return self._targets("fexit", functions, '@prog.fexit("vfs_read")', subject=subject, sleepable=sleepable)

    def fmod_ret(self, function: str, *, sleepable: bool = False) -> _Decorator:
        """Replaces the result of a kernel function that allows it (Linux 5.7)."""
        return self._targets("fmod_ret", (function,), '@prog.fmod_ret("security_file_open")', sleepable=sleepable)

    def lsm(self, hook: str, *, sleepable: bool = False) -> _Decorator:
        """A security hook: return 0 to allow, a negative error number to refuse (Linux 5.7)."""
        return self._targets("lsm", (hook,), '@prog.lsm("file_open")', sleepable=sleepable)

    def uprobe(
        self,
        binary: str,
        symbol: str = "",
        *,
        offset: int = 0,
        pid: int = 0,
        subject: str | None = "current",
        sleepable: bool = False,
    ) -> _Decorator:
        """A function (or instruction) of a program or library; parameters are its first integer arguments.

        :param binary: a path, or a name looked up in PATH and the library folders. :param symbol: function name.
        :param offset: bytes from the symbol, or from the file's start without one. :param pid: only in this process.
        """
        return self._user("uprobe", binary, symbol, offset, pid, subject, sleepable)

    def uretprobe(
        self,
        binary: str,
        symbol: str = "",
        *,
        offset: int = 0,
        pid: int = 0,
        subject: str | None = "current",
        sleepable: bool = False,
    ) -> _Decorator:
        """The return of a function of a program or library; the parameter is its result."""
        return self._user("uretprobe", binary, symbol, offset, pid, subject, sleepable)

    def _user(
        self, kind: str, binary: str, symbol: str, offset: int, pid: int, subject: str | None, sleepable: bool
    ) -> _Decorator:
        if not binary or not (symbol or offset):
            raise UsageError(
                "PY007", f"a {kind} needs a binary and a symbol or offset", hint=f'@prog.{kind}("bash", "readline")'
            )
        place = symbol + (f"+{offset:#x}" if offset and symbol else "") or f"{offset:#x}"
        options: dict[str, Any] = {"binary": binary, "symbol": symbol, "offset": offset, "pid": pid}
        return self._attach(kind, f"{binary}:{place}", options, subject, sleepable)

    def usdt(
        self, binary: str, provider: str, name: str, *, pid: int = 0, subject: str | None = "current"
    ) -> _Decorator:
        """A statically defined probe of a program or library; parameters are its arguments."""
        if not (binary and provider and name):
            raise UsageError("PY007", "a usdt probe needs a binary, a provider and a name")
        options: dict[str, Any] = {"binary": binary, "provider": provider, "name": name, "pid": pid}
        return self._attach("usdt", f"{binary}:{provider}:{name}", options, subject)

    # -- time and counters -----------------------------------------------------------------------------------------

    def perf_event(
        self, type: int, config: int, *, period: int = 0, hz: int = 0, pid: int = 0, subject: str | None = "current"
    ) -> _Decorator:
        """Any event of perf_event_open(2), every ``period`` counts or ``hz`` times a second."""
        if (period > 0) == (hz > 0):
            raise UsageError("PY007", "a perf event takes either period= or hz=")
        options: dict[str, Any] = {"type": type, "config": config, "period": period, "hz": hz, "pid": pid}
        return self._attach("perf_event", f"{type}:{config:#x}", options, subject)

    def profile(
        self, *, hz: int = 0, us: int = 0, ms: int = 0, s: int = 0, pid: int = 0, subject: str | None = "current"
    ) -> _Decorator:
        """On every CPU at regular times of the CPU clock."""
        options = {**_rate("profile", hz, us * 1_000 + ms * 1_000_000 + s * 1_000_000_000), "pid": pid}
        return self._attach("profile", "", options, subject)

    def software(self, event: str, period: int = 1, *, pid: int = 0, subject: str | None = "current") -> _Decorator:
        """Every ``period``-th software event, such as ``page-faults``."""
        config = _event("software", event, SOFTWARE_EVENTS)
        return self._attach("software", event, {"type": 1, "config": config, "period": period, "pid": pid}, subject)

    def hardware(
        self, event: str, period: int = 1_000_000, *, pid: int = 0, subject: str | None = "current"
    ) -> _Decorator:
        """Every ``period``-th hardware event, such as ``cache-misses``."""
        config = _event("hardware", event, HARDWARE_EVENTS)
        return self._attach("hardware", event, {"type": 0, "config": config, "period": period, "pid": pid}, subject)

    def interval(self, *, seconds: float = 0, ms: int = 0, us: int = 0, hz: int = 0) -> _Decorator:
        """On one CPU at regular times."""
        return self._attach("interval", "", _rate("interval", hz, int(seconds * 1e9) + ms * 1_000_000 + us * 1_000))

    @overload
    def begin(self, function: Callable[[], Any]) -> KernelFunction: ...
    @overload
    def begin(self) -> _Decorator: ...
    def begin(self, function: Any = None) -> Any:
        """Once, before the other programs run."""
        return self._bare("begin", function)

    @overload
    def end(self, function: Callable[[], Any]) -> KernelFunction: ...
    @overload
    def end(self) -> _Decorator: ...
    def end(self, function: Any = None) -> Any:
        """Once, after the other programs are detached."""
        return self._bare("end", function)

    def iter(self, kind: str, *, map: Any = None, pid: int = 0, sleepable: bool = False) -> _Decorator:
        """Once per object of a kind: ``task``, ``task_file``, ``task_vma``, ``bpf_map``, ``bpf_map_elem``... (Linux
        5.8)."""
        options: dict[str, Any] = {"pid": pid}
        if map is not None:
            options["map"] = map
        return self._targets("iter", (kind,), '@prog.iter("task")', options=options, sleepable=sleepable)

    # -- network and control ------------------------------------------------------------------------------------

    @overload
    def xdp(self, interface: Callable[..., Any]) -> KernelFunction: ...
    @overload
    def xdp(self, interface: str = "", *, frags: bool = False) -> _Decorator: ...
    def xdp(self, interface: Any = "", *, frags: bool = False) -> Any:
        """Each packet an interface receives, before the kernel looks at it."""
        return self._bare("xdp", interface, {"frags": frags})

    def tc(self, direction: str, interface: str = "") -> _Decorator:
        """Each packet of an interface: ``ingress`` or ``egress``."""
        if direction not in ("ingress", "egress"):
            raise UsageError("PY007", f"tc is 'ingress' or 'egress', not {direction!r}")
        return self._attach("tc", interface, {"direction": direction})

    def cgroup(self, hook: str, path: str = "") -> _Decorator:
        """A hook of control groups, such as ``skb/ingress``, ``connect4`` or ``sockops``; ``path`` names the cgroup."""
        name = hook.removeprefix("sock_addr/").removeprefix("sock/").removeprefix("sockopt/")
        if name not in CGROUP_HOOKS:
            from osmia.diagnostics.text import did_you_mean

            near = did_you_mean(name, CGROUP_HOOKS)
            raise UsageError("PY007", f"there is no cgroup hook {hook!r}", hint=near or ", ".join(CGROUP_HOOKS))
        return self._attach("cgroup", name, {"path": path})

    @overload
    def socket_filter(self, function: Callable[..., Any]) -> KernelFunction: ...
    @overload
    def socket_filter(self) -> _Decorator: ...
    def socket_filter(self, function: Any = None) -> Any:
        """Each packet of a socket; the result is the number of bytes to keep."""
        return self._bare("socket_filter", function)

    @overload
    def sk_lookup(self, function: Callable[..., Any]) -> KernelFunction: ...
    @overload
    def sk_lookup(self) -> _Decorator: ...
    def sk_lookup(self, function: Any = None) -> Any:
        """Chooses the socket of an incoming connection (Linux 5.9)."""
        return self._bare("sk_lookup", function)

    def sk_skb(self, which: str, map: Any = None) -> _Decorator:
        """Data arriving at a socket of a sockmap: ``stream_parser``, ``stream_verdict`` or ``verdict``."""
        if which not in ("stream_parser", "stream_verdict", "verdict"):
            raise UsageError("PY007", f"sk_skb is 'stream_parser', 'stream_verdict' or 'verdict', not {which!r}")
        return self._attach("sk_skb", which, {} if map is None else {"map": map})

    def sk_msg(self, map: Any = None) -> _Decorator:
        """Data sent through a socket of a sockmap."""
        return self._attach("sk_msg", "", {} if map is None else {"map": map})

    @overload
    def syscall(self, function: Callable[..., Any]) -> KernelFunction: ...
    @overload
    def syscall(self) -> _Decorator: ...
    def syscall(self, function: Any = None) -> Any:
        """Run on demand, with ``test_run`` (Linux 5.14); may sleep."""
        return self._bare("syscall", function, sleepable=True)

    def _bare(self, kind: str, given: Any, options: dict[str, Any] | None = None, sleepable: bool = False) -> Any:
        target = given if isinstance(given, str) else ""
        decorate = self._attach(kind, target, options, sleepable=sleepable)
        return decorate if given is None or isinstance(given, str) else decorate(given)


def _rate(kind: str, hz: int, nanoseconds: int) -> dict[str, int]:
    if (hz > 0) == (nanoseconds > 0):
        raise UsageError("PY007", f"a {kind} takes a frequency or a time span", hint=f"@prog.{kind}(hz=99)")
    return {"hz": hz} if hz > 0 else {"period_ns": nanoseconds}


def _event(kind: str, event: str, table: dict[str, int]) -> int:
    if event not in table:
        from osmia.diagnostics.text import did_you_mean

        raise UsageError(
            "PY007", f"there is no {kind} event {event!r}", hint=did_you_mean(event, table) or ", ".join(table)
        )
    return table[event]
