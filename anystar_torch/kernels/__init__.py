"""Device kernels: one file per kernel, written in Triton, for what C++ does on CPU tensors.

Every kernel here has a native CPU twin in ``csrc/`` and a plain torch twin beside the public function that calls it.
:mod:`anystar_torch.kernels.choice` says which of the three runs where.
"""
