"""Import large packages before coverage starts: a pytest plugin of `make fast`.

Before Python 3.12, coverage is called for every line that Python executes, also in other packages. Their import takes
about twice as long. pytest imports the plugins of its command line before pytest-cov starts coverage.
"""

import importlib

for name in (
    "torch",
    "torch._dynamo",
    "scipy.ndimage",
    "scipy.spatial",
    "matplotlib.figure",
    "lightning.pytorch",
):
    importlib.import_module(name)
