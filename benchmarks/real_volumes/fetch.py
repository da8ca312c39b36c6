"""Get the real volumes that may be downloaded from where their authors published them.

    python -m benchmarks.real_volumes --fetch [FOLDER]

Every archive and every volume is compared with its checksum. The licences are printed. Volumes that exist stay as they
are. The others of docs/results.md are in ``../shared/data/real`` only; the last lines say which, and why.
"""

import argparse
import hashlib
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.request import urlopen

import numpy as np
import pooch
import tifffile
from numpy.typing import NDArray

from anystar_torch.system.progress import bar
from benchmarks.real_volumes.volumes import FETCHED
from benchmarks.report import markdown

Voxels = NDArray[Any]


class Archive(NamedTuple):
    """A published ZIP archive.

    Attributes:
        url: its address.
        sha256: the checksum of the file.
    """

    url: str
    sha256: str


class Published(NamedTuple):
    """A volume, and the checksums of what the scores of docs/results.md were measured on.

    Attributes:
        name: of its folder.
        file: name of image and labels in the archives; empty for the volume of the stardist package.
        spacing: voxel size z y x, as in ``spacing.txt``.
        diameter: of the median object, in voxels of the finest axis.
        image: SHA-256 of the voxels of the image.
        labels: SHA-256 of the voxels of the labels, relabelled 1..N in the order of the ids.
    """

    name: str
    file: str
    spacing: str
    diameter: str
    image: str
    labels: str


# Addresses and checksums of the archives as other projects state them (torch_em, splineops).
IMAGES = Archive(
    "https://data.broadinstitute.org/bbbc/BBBC050/Images.zip",
    "29f100abbfebfb1986b8e87eac091e86d8ec27cd8194f9a1c02c805e76b6dcd8",
)
TRUTH = Archive(
    "https://data.broadinstitute.org/bbbc/BBBC050/GroundTruth.zip",
    "1f19b308730dccf217c4d4dcf5745ad0fcde4eeb9f9c9306b2c8abd1fe73e5d1",
)
IMAGE_MEMBER, TRUTH_MEMBER = "Images/train/Images/{}.tif", "GroundTruth/train/GroundTruth_QCANet/{}.tif"

EMBRYOS = (
    Published(
        "bbbc050_train_Emb01_t401",
        "Emb01_t401",
        "2.18 1 1",
        "20",
        "170a3cdec7613ce568d30607aebc1fdd10638c4c43344470794602829d4fc800",
        "ddb891c880100083d297511fa5ad0cd1b1f1fd2c031fad8cb75d56bfa47468b6",
    ),
    Published(
        "bbbc050_train_Emb01_t501",
        "Emb01_t501",
        "2.18 1 1",
        "17",
        "9367780fa73b839c11bb4519722667e6193cfb7d2061b0a00adfbc9342777726",
        "f73d5e355e2f619f91598bc3e11faf0e42c6da4ef872872c206d9e13ec19f461",
    ),
    Published(
        "bbbc050_train_Emb04_t401",
        "Emb04_t401",
        "2.18 1 1",
        "21",
        "70d054e7de74e047d10f4813929a0d945c0c4a0cbc4ecc2468624c39012fb2ae",
        "d65c5322f8dc45b9fd17dff428ffc0b4e396a3ec7f47f40b7814eb50a601a407",
    ),
    Published(
        "bbbc050_train_Emb07_t451",
        "Emb07_t451",
        "2.18 1 1",
        "21",
        "48a81eaf2810693ddc31e2372f920681df173caeb6448be4b318ab0c80c87f29",
        "f123f1b95d104d6b3ccf6461dcdf7fc57a8589d8f5f67b7b33a5cf40d8618720",
    ),
)
PACKAGED = Published(
    "stardist_img3d",
    "",
    "2 1 1",
    "14",
    "9fc635b29b1a5c419d220eaf753a8ecda93738861ad5bd42a0c1ea4556b939c8",
    "5b92f9f167516434ee9e8505318419599996395f0039d47e5963e865bf62f388",
)

LICENCES = (
    {
        "volumes": "bbbc050_*",
        "source": "BBBC050, Broad Bioimage Benchmark Collection; Tokuoka et al. 2020, doi 10.1038/s41540-020-00152-8",
        "licence": "CC BY 3.0",
    },
    {"volumes": "stardist_img3d", "source": "the installed stardist package", "licence": "BSD 3-Clause"},
)
SHARED_ONLY = {
    "gonuclear_1135": "a crop of a volume of S-BIAD1026, whose place is not recorded",
    "bio_cells3d_nuclei": "its labels come from a package of sample data of napari",
    "idr0062_blastocyst_dapi": "its labels were made for this project",
    "ctc_cho_t19": "its labels were made for this project",
}


def fetch(
    folder: Path,
    volumes: Sequence[Published] = (PACKAGED, *EMBRYOS),
    images: Archive = IMAGES,
    truth: Archive = TRUTH,
    cache: Path | None = None,
) -> list[dict[str, str]]:
    """Write volumes as folders that :func:`benchmarks.real_volumes.volumes.read` reads.

    Args:
        folder: where the folders go; made if it is missing.
        volumes: which.
        images: the archive of their images.
        truth: the archive of their labels.
        cache: folder of the downloaded archives; None for that of pooch.

    Returns:
        Name and state of every volume: "there already" or "written".

    Raises:
        SystemExit: an archive cannot be had, or a checksum differs. Nothing of that volume is left.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for volume in volumes:
        if (folder / volume.name).is_dir():
            rows.append({"volume": volume.name, "state": "there already"})
            continue
        if volume.file:
            image = member(download(images, cache), IMAGE_MEMBER.format(volume.file))
            labels = member(download(truth, cache), TRUTH_MEMBER.format(volume.file))
        else:
            image, labels = packaged()
        check(volume, image, labels)
        with temporary(folder, volume.name) as place:
            tifffile.imwrite(place / "image.tif", image, compression="zlib")
            tifffile.imwrite(place / "labels.tif", labels.astype(np.uint16), compression="zlib")
            (place / "spacing.txt").write_text(f"{volume.spacing}\n{volume.diameter}\n")
        rows.append({"volume": volume.name, "state": "written"})
    return rows


def download(archive: Archive, cache: Path | None) -> Path:
    """The file of an archive, downloaded once.

    Raises:
        SystemExit: it cannot be downloaded, or its checksum differs.
    """
    name = archive.url.rpartition("/")[2]
    try:
        path = pooch.retrieve(
            archive.url,
            known_hash=f"sha256:{archive.sha256}",
            fname=f"bbbc050-{name}",
            path=cache or pooch.os_cache("anystar_torch"),
            downloader=copy,
        )
    except HTTPError as error:
        error.close()  # it holds the connection
        raise SystemExit(f"{archive.url} cannot be used: {error}") from None
    except (OSError, ValueError) as error:  # a ValueError if the checksum differs
        raise SystemExit(f"{archive.url} cannot be used: {error}") from error
    return Path(path)


def copy(url: str, target: str, _: pooch.Pooch) -> None:
    """Download ``url`` to the file ``target`` with a progress bar; pooch's own leaves its connection open."""
    done = 0
    with urlopen(url, timeout=60) as answer, open(target, "wb") as file, bar(f"downloading {url}") as tick:
        total = int(answer.headers.get("Content-Length", 0))
        while block := answer.read(1 << 20):
            file.write(block)
            done += len(block)
            tick(done, max(total, done))


def member(archive: Path, name: str) -> Voxels:
    """The TIFF ``name`` of an archive."""
    with zipfile.ZipFile(archive) as file:
        try:
            content = file.read(name)
        except KeyError as error:
            raise SystemExit(f"{archive} has no {name}") from error
    voxels: Voxels = tifffile.imread(BytesIO(content))
    return voxels


def packaged() -> tuple[Voxels, Voxels]:
    """Image and labels of the volume in the stardist package.

    Raises:
        SystemExit: the package is not installed.
    """
    try:
        from stardist.data import test_image_nuclei_3d
    except ImportError as error:
        raise SystemExit(
            "the volume stardist_img3d needs the stardist package: pip install stardist"
        ) from error
    image, labels = test_image_nuclei_3d(return_mask=True)
    return image, labels


def check(volume: Published, image: Voxels, labels: Voxels) -> None:
    """Compare voxels with those of the results.

    Raises:
        SystemExit: they differ.
    """
    if image.shape != labels.shape:
        raise SystemExit(f"{volume.name}: the image has shape {image.shape}, the labels {labels.shape}")
    relabelled = np.unique(labels, return_inverse=True)[1].reshape(labels.shape)
    for what, voxels, wanted in (("image", image, volume.image), ("labels", relabelled, volume.labels)):
        found = hashlib.sha256(np.ascontiguousarray(voxels, "<u2").tobytes()).hexdigest()
        if found != wanted:
            raise SystemExit(
                f"{volume.name}: the voxels of its {what} are not those of docs/results.md "
                f"(SHA-256 {found[:12]}, wanted {wanted[:12]}); their source has changed"
            )


@contextmanager
def temporary(folder: Path, name: str) -> Iterator[Path]:
    """A new folder that gets its name when the block ends; removed if it fails."""
    place = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=folder))
    try:
        yield place
        place.chmod(0o755)
        os.replace(place, folder / name)
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise


def run(arguments: Sequence[str]) -> None:
    """The command line after ``--fetch``."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.real_volumes --fetch",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", nargs="?", type=Path, default=FETCHED, help="default: %(default)s")
    folder = parser.parse_args(arguments).folder
    print(markdown(LICENCES), flush=True)
    print(f"\n{markdown(fetch(folder))}\n\nin {folder}\n")
    for name, why in SHARED_ONLY.items():
        print(f"not fetched: {name}: {why}")
