"""Training: data made on the device, the Lightning module, callbacks, checkpoints, the final report."""
