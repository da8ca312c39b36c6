"""Kernels: one module per family, with its custom operators, their references, and the choice of implementation.

C++ for CPU tensors is in ``csrc/``, Triton for GPUs in ``triton/``. :mod:`anystar_torch.kernels.implementations`
chooses by device. A new kernel needs a reference, a C++ and a Triton implementation, and a test that compares them.
"""
