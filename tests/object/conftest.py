"""Objects to test with: C compiled with clang as it is on the machine, LLVM IR through llvmlite."""

import functools
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

# Tests are imported one by one, without packages: what they share needs a name of its own.
sys.path.insert(0, str(Path(__file__).parent))

CLANG = shutil.which("clang") or shutil.which("clang-14")
HEADER = "/usr/include/bpf/bpf_helpers.h"
PRELUDE = """
#include <stdbool.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>
#define CORE __attribute__((preserve_access_index))
char LICENSE[] SEC("license") = "GPL";
"""


@functools.cache
def compiled(source: str, flags: tuple[str, ...] = ("-O2", "-g")) -> bytes:
    """A BPF object made of C, the usual headers included."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "prog.c"
        place.write_text(PRELUDE + source)
        command = [CLANG, "-target", "bpf", *flags, "-I/usr/include/x86_64-linux-gnu", "-Wno-unused-value"]
        command += ["-I/usr/include/aarch64-linux-gnu", "-c", str(place), "-o", f"{folder}/prog.o"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert not done.returncode, done.stderr
        return Path(folder, "prog.o").read_bytes()


@pytest.fixture(scope="session")
def compile_c():
    if CLANG is None or not Path(HEADER).exists():
        pytest.skip("needs clang and libbpf-dev")
    return compiled


@pytest.fixture(scope="session")
def compile_ir():
    """LLVM IR to a BPF object, by the LLVM that Osmia's compiler uses."""
    llvm = pytest.importorskip("llvmlite.binding")
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()

    @functools.cache
    def emit(text: str) -> bytes:
        machine = llvm.Target.from_triple("bpfel").create_target_machine(cpu="v3", opt=2)
        module = llvm.parse_assembly(text)
        # The pipeline's first pass turns accesses into relocations; the back end alone cannot.
        builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=2))
        builder.getModulePassManager().run(module, builder)
        return machine.emit_object(module)

    return emit


@pytest.fixture(scope="session")
def kernel_types():
    from osmia.btf.kernel import kernel_btf
    from osmia.diagnostics import BtfError

    try:
        return kernel_btf()
    except BtfError as error:
        pytest.skip(f"needs the kernel's BTF: {error}")
