"""Which results of this tree are the same bits as those of another commit.

Run by ``python -m benchmarks.same_results COMMIT``. It compares:

- samples and training targets of every generator that both trees have;
- suppression and rendering of the parity cases;
- predictions of the shipped weights on the development volumes with the size given; ``--estimated`` adds those without.

Each tree computes in a process of its own. Both use only names of the public interface, which both trees have.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.against import ROOT, checkout

WORKER = """
import hashlib, json, sys
from pathlib import Path
tree, data, estimated = sys.argv[1], Path(sys.argv[2]), sys.argv[3] == "1"
# without the import hook of an editable install
sys.meta_path[:] = [finder for finder in sys.meta_path if "ScikitBuild" not in type(finder).__name__]
sys.path.insert(0, tree)
import numpy as np, tifffile, torch
import anystar_torch
from anystar_torch import AnyStar, Rays, load_synthesizer, ops, targets
assert anystar_torch.__file__.startswith(tree), anystar_torch.__file__
torch.set_num_threads(2)

def report(name, *arrays):
    digest = hashlib.sha256()
    for array in arrays:
        array = np.ascontiguousarray(np.asarray(array))
        digest.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())
    print(json.dumps([name, digest.hexdigest()]), flush=True)

rays = Rays.golden_spiral(96)
for name in sorted(path.stem for path in (Path(tree) / "configs" / "synth").glob("*.yaml")):
    sample = load_synthesizer(name, seed=7)(torch.arange(6) * 1000003)
    report(f"samples of {name}, image", sample.image)
    report(f"samples of {name}, labels", sample.labels)
    report(f"targets of {name}, distances", targets.star_distances(sample.labels, rays, grid=(2, 2, 2)))
    report(f"targets of {name}, probability", targets.object_probability(sample.labels, grid=(2, 2, 2)))
for path in sorted((data / "parity").glob("nms_*.npz")):
    stored = np.load(path)
    if "order" not in stored:
        continue
    points, distances = (torch.from_numpy(stored[key].astype(np.float32)) for key in ("points", "dist"))
    scores = torch.empty(len(points))
    scores[torch.from_numpy(stored["order"].astype(np.int64))] = torch.linspace(1, 0, len(points))
    its = Rays(torch.from_numpy(stored["rays_vertices"].astype(np.float32)),
               torch.from_numpy(stored["rays_faces"].astype(np.int64)))
    keep = ops.nms(points, distances, scores, its, 0.4)
    report(f"suppression, {path.stem}", keep)
    shape = tuple(int(n) for n in points.max(0).values + 8)
    report(f"rendering, {path.stem}", ops.render_labels(points[keep], distances[keep], its, shape))
model = AnyStar.from_pretrained()
for folder in sorted((data / "real").iterdir()):
    lines = (folder / "spacing.txt").read_text().split("\\n")
    volume, spacing = tifffile.imread(folder / "image.tif"), tuple(map(float, lines[0].split()))
    for diameter in (float(lines[1]), None) if estimated else (float(lines[1]),):
        found = model.predict(volume, spacing=spacing, diameter=diameter, device="cpu", progress=False)
        how = "size given" if diameter else "size estimated"
        report(f"prediction, {folder.name}, {how}", found.labels, found.points, found.distances, found.scores)
"""


def results(tree: Path, data: Path, estimated: bool) -> dict[str, str]:
    """Checksum by name of everything that the tree computes; progress goes to the error stream."""
    command = [sys.executable, "-W", "ignore", "-c", WORKER, str(tree), str(data), str(int(estimated))]
    found: dict[str, str] = {}
    with subprocess.Popen(command, cwd=tree, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            name, digest = json.loads(line)
            found[name] = digest
            print(f"{tree}: {name}", file=sys.stderr, flush=True)
    if process.returncode:
        raise SystemExit(f"the process of {tree} failed; its message is above")
    return found


def main() -> None:
    """Compare this tree with another commit; exit with 1 where a result of both differs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("commit", help="the commit to compare with")
    parser.add_argument(
        "--estimated", action="store_true", help="predict without the size too (minutes a volume)"
    )
    shared = Path(os.environ.get("ANYSTAR_SHARED", ROOT.parent / "shared"))
    parser.add_argument("--data", type=Path, default=shared / "data", help="folder with real/ and parity/")
    arguments = parser.parse_args()
    with checkout(arguments.commit) as other:
        before = results(other, arguments.data, arguments.estimated)
    after = results(ROOT, arguments.data, arguments.estimated)
    print("| result | same bits |\n| --- | --- |")
    for name in sorted(before | after):
        both = name in before and name in after
        answer = ("yes" if before[name] == after[name] else "NO") if both else "in one tree only"
        print(f"| {name} | {answer} |")
    if any(before[name] != after[name] for name in before.keys() & after.keys()):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
