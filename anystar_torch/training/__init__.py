"""Training: data made on the training device, the Lightning module, callbacks, checkpoints and the final report."""
