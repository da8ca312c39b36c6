"""Counter-based random numbers: the values of a sample do not depend on batch, device or order."""
