"""The machine: devices, memory, precision, progress bars."""
