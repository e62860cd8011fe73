"""Live maps: typed, dict-like objects over a map's descriptor.

==================== =========================================================================================
``base``             what every map has: information, pins, freezing; how maps are made and opened
``keyed``            maps that are read like a dict: hash, array, LRU and per-CPU kinds, LPM trie
``special``          queue, stack, bloom filter, stack traces
``descriptors``      values or keys that are descriptors: programs, maps, sockets, devices, CPUs, storage
``global_data``      global variables of programs: the data sections
==================== =========================================================================================

:mod:`osmia.kernel.ringbuf` and :mod:`osmia.kernel.perfbuf` read the streaming kinds.
"""

from __future__ import annotations

from osmia.kernel.maps.base import Map, map_from_fd, map_from_id, open_pinned

__all__ = ["Map", "map_from_fd", "map_from_id", "open_pinned"]
