"""The typed IR: the language every front end speaks and every later step reads. See ``docs/ir.md``."""

from __future__ import annotations

from osmia.compiler.ir.module import Block, Function, FunctionBuilder, Global, Local, Module, Op, Value
from osmia.compiler.ir.types import FUNC_REF, MAP_REF, VOID, KArray, KType, Ptr, Space, ValueType

__all__ = [
    "FUNC_REF",
    "MAP_REF",
    "VOID",
    "Block",
    "Function",
    "FunctionBuilder",
    "Global",
    "KArray",
    "KType",
    "Local",
    "Module",
    "Op",
    "Ptr",
    "Space",
    "Value",
    "ValueType",
]
