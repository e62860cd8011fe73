"""What code is generated for: the instruction set level and the oldest kernel it must load on."""

from __future__ import annotations


class Target:
    """A target profile.

    :ivar cpu: ``v3`` or ``v4`` (kernel 6.6: signed division, sign-extending moves and loads, unconditional byte swaps,
        long jumps), as LLVM names them.
    :ivar kernel: the oldest kernel the code must load on. From 5.12 on programs may fetch the old value in an atomic
        operation, exchange and compare-and-exchange, and reach the stack with a variable offset; below, variable
        offsets go to scratch memory and scratch slots are claimed by plain stores, which is exact there because
        programs that do not sleep cannot be preempted.
    """

    __slots__ = ("cpu", "kernel")

    def __init__(self, cpu: str = "v3", kernel: tuple[int, int] = (5, 12)) -> None:
        if cpu not in ("v3", "v4"):
            raise ValueError(f"cpu is v3 or v4, not {cpu!r}")
        self.cpu = cpu
        self.kernel = kernel

    @property
    def modern(self) -> bool:
        """Whether fetching atomics and variable stack offsets may be used."""
        return self.kernel >= (5, 12)

    def key(self) -> str:
        """The target as text, for cache keys."""
        return f"{self.cpu}-{self.kernel[0]}.{self.kernel[1]}"

    def __repr__(self) -> str:
        return f"Target({self.cpu!r}, {self.kernel})"


V3 = Target("v3")
V4 = Target("v4", (6, 6))
V3_OLD = Target("v3", (5, 10))
