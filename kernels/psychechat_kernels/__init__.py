"""Kernels of the PsychēChat server. Plain PyTorch functions on tensors: nothing here knows of the server or of vLLM."""
