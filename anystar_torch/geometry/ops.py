"""Operations on star-convex polyhedra: non-maximum suppression and rendering."""

from anystar_torch.geometry.rendering import render_labels
from anystar_torch.geometry.suppression import nms

__all__ = ["nms", "render_labels"]
