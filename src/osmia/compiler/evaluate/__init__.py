"""The reference evaluator: runs typed IR over simulated memory, exactly by the rules of ``docs/ir.md``.

It is the oracle that generated code and front ends are compared with::

    evaluator = Evaluator(module, pid=42, cpus=2)
    result = evaluator.run("enter", context)          # context: bytes
    result.value, result.values, result.printed       # return value, decoded events, messages
    evaluator.maps["counts"][42]                      # maps are dict-like, by their layouts
    evaluator.globals["total"]

    address = evaluator.kernel.place(task_layout, (1, "init"))     # memory for probe reads and CO-RE
    evaluator = Evaluator(module, core={"task_struct": task_layout}, helpers={"get_retval": lambda run: 7})

Whatever the verifier would refuse, or generated code must never do, raises :class:`EvaluationFault` with the span of
the operation: accesses out of bounds, through null, to unproven packet bytes or to memory of another kind, records that
are not submitted, helpers that do not exist, too many steps.
"""

from __future__ import annotations

from osmia.compiler.evaluate.buffers import Event
from osmia.compiler.evaluate.faults import EvaluationFault, Fault
from osmia.compiler.evaluate.helpers import builtin_helpers
from osmia.compiler.evaluate.machine import Evaluator
from osmia.compiler.evaluate.maps import Map
from osmia.compiler.evaluate.memory import NULL, Pointer
from osmia.compiler.evaluate.result import Environment, Result

__all__ = [
    "NULL",
    "Environment",
    "EvaluationFault",
    "Evaluator",
    "Event",
    "Fault",
    "Map",
    "Pointer",
    "Result",
    "builtin_helpers",
]
