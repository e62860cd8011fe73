"""Attaching a session's programs: several targets and wildcards, what is missing on this machine, iterators' output."""

from __future__ import annotations

from osmia.diagnostics import AttachError, SymbolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from osmia.kernel.load import LoadedCollection
    from osmia.object.spec import CollectionSpec, Hook
    from osmia.runtime.options import RunOptions

_NOT_ATTACHED = ("begin", "end", "func", "syscall", "freplace")
_WILD = "*?["
_TREE = "tree"


def attach_all(
    spec: CollectionSpec,
    loaded: LoadedCollection,
    options: RunOptions,
    links: list[Any],
    skipped: list[tuple[str, str]],
) -> None:
    """Attaches every loaded program to every target of its hook; links are appended as they are made.

    A target that this machine lacks is skipped, and said, as long as another target of the same function is there: of
    the same program, or of one that the front end split the function into (hook option ``one_of``).
    Programs that follow a command's process tree come first, so that no child is missed.

    :raises AttachError: a program could not be attached anywhere.
    """
    attached: set[str] = set()
    missing: list[tuple[Hook, AttachError | SymbolError]] = []
    order = sorted(loaded.programs, key=lambda name: spec.programs[name].hook.options.get("when") != _TREE)
    for name in order:
        hook = spec.programs[name].hook
        if hook.kind in _NOT_ATTACHED:
            continue
        targets = list(expand(hook))
        made = 0
        failure: AttachError | SymbolError | None = None
        for target in targets:
            try:
                links.append(_attach(loaded, name, hook, target, options))
                made += 1
                attached.add(target)
            except (AttachError, SymbolError) as error:
                failure = failure or error
                if len(targets) > 1 or hook.options.get("one_of"):
                    skipped.append((f"{hook.kind} {target}", error.message))
        if failure is not None and not made:
            if not hook.options.get("one_of"):
                raise failure
            missing.append((hook, failure))
    for hook, failure in missing:
        if attached.isdisjoint(hook.options["one_of"]):
            raise failure


def _attach(loaded: LoadedCollection, name: str, hook: Hook, target: str, options: RunOptions) -> Any:
    from osmia.kernel.attach import attach
    from osmia.object.spec import Hook as NewHook

    settings = {key: value for key, value in hook.options.items() if key not in ("one_of", "targets", "when")}
    if options.pid and hook.kind in ("uprobe", "uretprobe", "usdt") and not settings.get("pid"):
        settings["pid"] = options.pid
    if hook.kind == "usdt" and not settings.get("locations"):
        from osmia.runtime.usdt import locations

        settings["locations"] = locations(loaded, settings)
    return attach(loaded.programs[name], NewHook(hook.kind, target, settings), maps=loaded.maps)


def expand(hook: Hook) -> Iterator[str]:
    """The targets of a hook: those it lists, with wildcards replaced by what this machine has.

    :raises AttachError: HOOK codes, when a pattern matches nothing.
    """
    for target in hook.options.get("targets") or (hook.target,):
        if hook.kind == "tracepoint" and any(char in target for char in _WILD):
            from osmia.kernel import tracefs

            found = tracefs.tracepoints(target)
            if not found:
                raise AttachError(
                    "RUN035", f"no tracepoint matches {target}", hint="osmia doctor --all lists the categories"
                )
            yield from found
        else:
            yield target


def describe_skipped(skipped: list[tuple[str, str]]) -> str:
    """One line per reason, with how many probes and which."""
    reasons: dict[str, list[str]] = {}
    for where, reason in skipped:
        reasons.setdefault(reason, []).append(where)
    lines = []
    for reason, places in reasons.items():
        shown = ", ".join(places[:3]) + (f" and {len(places) - 3} more" if len(places) > 3 else "")
        lines.append(f"skipped {len(places)} of the probes: {shown}: {reason}\n")
    return "".join(lines)
