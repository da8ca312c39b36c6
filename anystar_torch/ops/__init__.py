"""Operations on star-convex polyhedra: non-maximum suppression and rendering, native and as torch custom operators.

``anystar_torch.ops.reference`` holds the same two in slow, obvious torch: the definition and the oracle of the tests.
"""

from anystar_torch.ops.nms import nms
from anystar_torch.ops.render import render_labels

__all__ = ["nms", "render_labels"]
