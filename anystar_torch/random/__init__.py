"""Counter-based random numbers: the same values for a sample whatever the batch, the device or the order."""
