"""The machine: device, memory, allocator, precision, progress bars, messages of errors."""
