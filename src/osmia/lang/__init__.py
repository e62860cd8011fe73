"""The names a program file imports: types, intrinsics, declarations of maps, hooks and settings. Pure data, no
engine."""

from __future__ import annotations
