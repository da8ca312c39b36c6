"""Every kernel of the project: C++ for CPU tensors in ``csrc/``, Triton for GPUs in ``triton/``.

:mod:`anystar_torch.kernels.implementations` says which one runs where.
"""
