"""What Triton's compiler makes of the kernel for a GPU that need not be there: `python -m benchmarks.kernels.compiled`.

Compiles every variant that the server may launch ahead of time, and reads registers, spills and instructions from the
machine code. Not time on a GPU; but a spill, a load in single numbers or a missing tensor core shows here first.
"""

import csv
import itertools
import re
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from benchmarks.kernels.contenders import GROUPS
from benchmarks.kernels.tunings import compiled_alike, tunings
from psychechat_kernels.fused_heads import kernel
from psychechat_kernels.fused_heads.tuning import DEFAULT, Tuning

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


class Variant(NamedTuple):
    pooling: str
    pack: int
    dtype: str
    """Of the hidden states, by Triton's name."""
    aligned: bool = True
    """Whether the hidden size is a multiple of 16."""


def variants() -> Iterator[Variant]:
    for pooling, pack, dtype in itertools.product(("mean", "last"), (1, 8, 32), _DTYPES):
        if pooling == "mean" or pack != 8:  # one token a sequence is never dealt out to four rows
            yield Variant(pooling, pack, dtype)
    yield Variant("mean", 32, "bf16", aligned=False)


def compile_for(
    variant: Variant, capability: int, groups: tuple[int, ...] = GROUPS, tuning: Tuning = DEFAULT
) -> dict[str, Any]:
    """Seconds to compile, registers a thread, bytes spilled, and counts of the instructions that matter.

    What is compiled lies in Triton's cache then, where a launch with indices of int32 finds it.
    """
    constants = {
        "POOLING": variant.pooling,
        "GROUPS": groups,
        "SHARED": True,
        "PACK": variant.pack,
        "STEP": kernel.step(variant.pooling, _DTYPES[variant.dtype], tuning),
        "BLOCK": tuning.block,
        "HELD": kernel.held_columns(sum(groups)),
        "ROWS": kernel.ROWS,
        "STAGES": tuning.stages,
    }
    types = dict.fromkeys(("starts", "ends", "arrivals"), "*i32")
    types |= dict.fromkeys(("weight", "bias", "out", "partials"), "*fp32")
    types["hidden"] = f"*{variant.dtype}"
    function = kernel.fused_heads_kernel
    names = function.arg_names
    signature = {name: "constexpr" if name in constants else types.get(name, "i32") for name in names}
    divisible = {n for n in names if signature[n].startswith("*") or (variant.aligned and n in ("width", "stride"))}
    source = ASTSource(
        fn=function,
        signature=signature,
        constexprs={(names.index(name),): value for name, value in constants.items()},
        attrs={
            (at,): [["tt.divisibility", 16]] if name in divisible else []
            for at, name in enumerate(names)
            if name not in kernel.VARYING  # as a launch tells it
        },
    )
    begin = time.perf_counter()
    compiled = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=kernel.compiler_options(tuning))
    seconds = time.perf_counter() - begin
    usage, code = _disassemble(compiled.asm["cubin"])
    row = variant._asdict() | {"columns": sum(groups), "sm": capability, "seconds": round(seconds, 1)}
    row |= {"registers": int(_found(r"REG:(\d+)", usage)), "stack_bytes": int(_found(r"STACK:(\d+)", usage))}
    row["shared_bytes"] = int(compiled.metadata.shared)
    counted = {"spills": r"\b(LDL|STL)\b", "loads_16_byte": r"LDG\S*\.128", "tensor_core": r"\b[HQ]G?MMA\b"}
    return row | {name: len(re.findall(pattern, code)) for name, pattern in counted.items()}


def _disassemble(cubin: bytes) -> tuple[str, str]:
    """cuobjdump's resource usage and nvdisasm's listing; both programs come with Triton."""
    tools = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        usage = _output([str(tools / "cuobjdump"), "-res-usage", file.name])
        return usage, _output([str(tools / "nvdisasm"), "-c", file.name])


def _output(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    assert match is not None, f"no {pattern} in cuobjdump's answer"
    return match[1]


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status. Without typer: a lent machine has torch and Triton alone."""
    parser = ArgumentParser(description="Compile every variant of the kernel and say what came of it.")
    told = "Compute capability: 90 for H100 and H200, 80 for A100. [90]"
    parser.add_argument("--capability", type=int, default=90, help=told)
    told = "Of heads in groups of four instead of the server's; as often as wanted."
    parser.add_argument("--columns", type=int, action="append", help=told)
    told = "Every tuning that the sweep on a GPU tries, of bf16 with mean pooling."
    parser.add_argument("--tuned", action="store_true", help=told)
    parser.add_argument("--out", type=Path, help="CSV file; standard output if not given.")
    given = parser.parse_args(arguments)
    return write_table(given.capability, given.columns or (), given.out, tuned=given.tuned)


def write_table(capability: int, columns: Sequence[int], out: Path | None, *, tuned: bool) -> int:
    if kernel.INTERPRETED:
        print("Nothing is compiled while TRITON_INTERPRET is set; unset it.", file=sys.stderr)
        return 2
    heads = [(4,) * (n // 4) + (n % 4,) * bool(n % 4) for n in columns] or [GROUPS]
    chosen = [v for v in variants() if not tuned or (v.pooling, v.dtype, v.aligned) == ("mean", "bf16", True)]
    how = dict.fromkeys(map(compiled_alike, tunings())) if tuned else [DEFAULT]
    work = [(variant, groups, tuning) for groups in heads for tuning in how for variant in chosen]
    with (
        tempfile.TemporaryDirectory() as cache,
        out.open("w", newline="") if out else nullcontext(sys.stdout) as file,
    ):
        triton.knobs.cache.dir = cache  # an empty one, so that everything is compiled
        writer: csv.DictWriter[str] | None = None
        for done, (variant, groups, tuning) in enumerate(work):
            print(f"Compiling {done + 1} of {len(work)}", file=sys.stderr, flush=True)
            row = compile_for(variant, capability, groups, tuning)
            row |= {name: value for name, value in tuning._asdict().items() if name != "waves"} if tuned else {}
            row |= {"triton": triton.__version__}
            if writer is None:
                writer = csv.DictWriter(file, row)
                writer.writeheader()
            writer.writerow(row)
            file.flush()  # a run that is stopped keeps what it has
    return 0


if __name__ == "__main__":
    sys.exit(main())
