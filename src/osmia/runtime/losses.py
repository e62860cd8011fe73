"""What a session lost, by cause, in words."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from osmia.object.spec import CollectionSpec
    from osmia.runtime.names import StackNames


def collect(spec: CollectionSpec, loaded: Any, streams: Iterable[Any], names: StackNames) -> dict[str, int]:
    """Counts by cause; causes without a count are left out.

    Kernel programs count what a map refused in the global ``osmia_map_errors`` (one slot per entry of
    ``extras["map_errors"]``), faults of reads in ``osmia_faults``, activations without scratch memory in
    ``osmia_scratch_busy``.
    """
    found: dict[str, int] = {}
    causes = spec.extras.get("map_errors", ())
    if causes:
        counts = loaded.get_global("osmia_map_errors")
        for cause, count in zip(causes, counts, strict=False):
            _add(found, _refused(spec, str(cause)), count)
    for variable, cause in (
        ("osmia_faults", "reads of memory that was not there"),
        ("osmia_truncated", "texts cut at the size of their field"),
        ("osmia_scratch_busy", "events without free scratch memory"),
    ):
        if variable in spec.global_vars:
            _add(found, cause, loaded.get_global(variable))
    for stream in streams:
        if stream.lost():
            _add(found, f"events of {stream.schema.name}: buffer {stream.schema.map_name} was full", stream.lost())
        _add(found, "printed values that did not take their format", getattr(stream, "unformatted", 0))
    _add(found, "stacks that could not be read", names.unnamed)
    return found


def _add(found: dict[str, int], cause: str, count: int) -> None:
    if count:
        found[cause] = found.get(cause, 0) + count


def _refused(spec: CollectionSpec, cause: str) -> str:
    declared = spec.maps.get(cause)
    if declared is None:
        return cause
    if declared.kind == "ringbuf":
        return f"events: ring {cause} was full; raise size= above {declared.max_entries}"
    return f"updates: map {cause} was full or busy; raise max_entries= above {declared.max_entries}"
