"""Runs all benchmarks, one after the other, and sums up which claims hold.

    benchmarks/run.py [NAME ...]

Exit status 1 when a claim does not hold or a benchmark fails. What lacks its peer (bpftrace, root) is skipped and
said so.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
HELPERS = ("peers", "run")
LIMIT = 900  # seconds for one benchmark


def benchmark(name: str) -> str:
    """Runs one benchmark with its output on the screen; ``holds``, ``skipped`` or what went wrong."""
    print(f"== {name}", flush=True)
    command = [sys.executable, str(FOLDER / f"{name}.py")]
    skipped = False
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as child:
        assert child.stdout is not None
        started = time.monotonic()
        for line in child.stdout:
            print(f"   {line}", end="", flush=True)
            skipped = skipped or line.startswith("skipped:")
            if time.monotonic() - started > LIMIT:
                child.kill()
                return f"stopped after {LIMIT} s"
    if child.returncode == 0:
        return "skipped" if skipped else "holds"
    return "does NOT hold" if child.returncode == 1 else f"failed with exit status {child.returncode}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    known = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem not in HELPERS)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which to run, of {', '.join(known)}; all without")
    names = parser.parse_args().names or known
    unknown = [name for name in names if name not in known]
    if unknown:
        parser.error(f"there is no benchmark {unknown[0]!r}; there are {', '.join(known)}")
    results = {}
    for name in names:
        started = time.monotonic()
        results[name] = (benchmark(name), time.monotonic() - started)
    print("== summary")
    for name, (result, seconds) in results.items():
        print(f"   {name:<14} {result:<16} {seconds:6.1f} s")
    return 0 if all(result in ("holds", "skipped") for result, _ in results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
