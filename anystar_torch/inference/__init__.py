"""From a volume to its instances: normalise, rescale, tile, collect candidates, suppress, render."""
