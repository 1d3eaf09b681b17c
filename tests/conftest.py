"""Before anything imports Triton: without a GPU its kernels, of which only ours runs in tests, are interpreted."""

import os

import torch

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"
