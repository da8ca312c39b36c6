"""Accuracy on real volumes that no training has seen: ``python -m benchmarks.real_volumes --help``."""
