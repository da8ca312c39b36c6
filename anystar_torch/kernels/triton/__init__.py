"""Kernels for GPUs, one file per kernel, written in Triton."""
