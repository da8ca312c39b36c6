"""The generative model: label fields, textures and backgrounds as functions of position."""
