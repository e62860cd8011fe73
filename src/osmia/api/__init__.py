"""Program as users see it: declarations plus run, open, build and test runs."""

from __future__ import annotations

from osmia.api.program import Program

__all__ = ["Program"]
