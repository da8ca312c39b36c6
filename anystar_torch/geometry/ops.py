"""Operations on star-convex polyhedra: non-maximum suppression and rendering, native and as torch custom operators.

``anystar_torch.geometry.reference`` holds the same two in slow, obvious torch: the definition and the oracle
of the tests.
"""

from anystar_torch.geometry.rendering import render_labels
from anystar_torch.geometry.suppression import nms

__all__ = ["nms", "render_labels"]
