"""Networks, the training loss, and stored, shipped and imported weights."""
