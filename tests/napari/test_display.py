"""A real viewer under Xvfb: the program that makes the pictures of docs/napari.md, which checks every step."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

pytest.importorskip("napari", reason="the plugin needs the extra napari")

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("xvfb-run") is None, reason="a real viewer needs Xvfb (.ci/xvfb installs it)"
)
def test_a_user_segments_a_real_volume_moves_a_slider_and_corrects(tmp_path):
    pytest.importorskip("stardist", reason="the real volume comes with the stardist package")
    from anystar_torch.training.report import example_volume

    image, _ = example_volume()
    display = ["xvfb-run", "-a", "-s", "-screen 0 1600x1000x24"]
    words = [sys.executable, "-m", "docs.make_napari_pictures", str(image), "--out", str(tmp_path)]
    environment = {**os.environ, "QT_QPA_PLATFORM": "xcb"}
    done = subprocess.run([*display, *words], cwd=ROOT, env=environment, capture_output=True, text=True)
    if "no Qt platform plugin could be initialized" in done.stderr:
        pytest.skip("Qt's plugin for X11 lacks a library (.ci/xvfb installs it)")
    assert done.returncode == 0, done.stderr
    assert "1 added, 1 deleted" in done.stdout
    for name in ("preview", "run", "volume", "corrected"):
        colours = Image.open(tmp_path / f"{name}.png").convert("RGB").getcolors(1 << 24)
        assert len(colours) > 60, name  # labels over grey values, not an empty canvas
