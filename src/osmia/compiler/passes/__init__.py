"""Passes over the IR. Each takes a module and gives a module; none changes what it was given."""

from __future__ import annotations

from osmia.compiler.passes.prune import prune
from osmia.compiler.passes.scratch import place_scratch

__all__ = ["place_scratch", "prune"]
