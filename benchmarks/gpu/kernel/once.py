"""The kernel, launched a few times on the sweep's large case, for a profiler: `... once '{"warps": 8}'`."""

import json
import sys

import torch

from benchmarks.gpu.kernel.sweep import CASES
from benchmarks.kernels.cases import build
from benchmarks.kernels.contenders import GROUPS, fused
from psychechat_kernels.fused_heads import Tuning

if __name__ == "__main__":
    device, case = torch.device("cuda"), CASES[3]
    inputs, launch = build(case, device), fused(device, Tuning(**json.loads(sys.argv[1])))
    for _ in range(4):
        launch(inputs, case.pooling, case.length, torch.empty(case.batch, sum(GROUPS), device=device))
    torch.cuda.synchronize()
