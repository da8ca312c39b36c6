"""Qt widgets over :mod:`anystar_torch.napari`: they show the state and pass on what the user does."""
