"""The networks, their loss, and how their weights are stored, opened and imported."""
