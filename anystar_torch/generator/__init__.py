"""Synthetic volumes from integers: a scene, a map of coordinates into it, and the effects of instruments."""
