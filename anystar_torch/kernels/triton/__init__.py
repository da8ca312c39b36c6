"""Kernels for GPUs, written in Triton, one file per family."""
