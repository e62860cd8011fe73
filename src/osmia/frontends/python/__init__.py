"""The Python front end: from kernel functions in Python to typed IR."""

from __future__ import annotations

from osmia.frontends.python.compile import compile_program
from osmia.frontends.python.unit import Target

__all__ = ["Target", "compile_program"]
