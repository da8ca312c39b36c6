"""The napari plugin: segment a volume, set its thresholds by sight, correct it.

State and work are in modules without Qt; the widgets of :mod:`anystar_torch.napari.views` only show it.
"""
