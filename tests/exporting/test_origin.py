"""Packages say what is known of the training data, the authors and the licence of a network, and nothing else."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from anystar_torch.exporting import bioimageio, export
from anystar_torch.exporting.origin import origin
from anystar_torch.network import loading, weights
from anystar_torch.network.provenance import Provenance
from tests.exporting.networks import config, seeing
from tests.exporting.test_refusals import run

pytestmark = pytest.mark.filterwarnings("ignore")  # of bioimageio's own making
NETWORK = seeing()
TUNED = {"start": "pretrained", "trained_share": 1.0, "fine-tuned on": ["embryo", "root"]}
KINDS = {
    "synthetic": config(NETWORK),
    "fine-tuned": config(NETWORK, provenance=Provenance(seed=0, notes=TUNED)),
    "fine-tuned from another": config(
        NETWORK, provenance=Provenance(seed=0, notes={**TUNED, "start": "a/model"})
    ),
    "imported": config(NETWORK, imported_from="StarDist", sizes_known=False, provenance=Provenance()),
    "imported and fine-tuned": config(
        NETWORK, imported_from="StarDist", provenance=Provenance(seed=0, notes={**TUNED, "start": "a/keras"})
    ),
    "imported and trained on": config(
        NETWORK, provenance=Provenance(seed=0, notes={"start": "a/keras", "start imported from": "StarDist"})
    ),
}
CLAIMS = ("anystar_torch authors", "BSD")  # of authors and licence


def monai(path, known, **options):
    """The metadata and the page of a MONAI bundle, and whether it has a licence file."""
    export("monai", NETWORK, known, path, **options)
    metadata = json.loads((path / "configs" / "metadata.json").read_text())
    license = path / "LICENSE"
    return (
        metadata,
        (path / "docs" / "README.md").read_text(),
        license.read_text() if license.is_file() else None,
    )


def bioimage(known, **options):
    """The description of a BioImage.IO package, without its files."""
    return bioimageio._entries(Path(), NETWORK, known, origin(known, **options), 20)


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """The configuration of a network that stands for the shipped one."""
    known = config(NETWORK, provenance=Provenance(seed=5, recipe="zero_shot"))
    monkeypatch.setattr(loading, "SHIPPED", weights.save(tmp_path / "shipped", NETWORK, known))
    return known


def check_data(kind, text):
    """Whether a text on training data says what is known of a kind of network."""
    assert ("No real image was used" in text) == (kind == "synthetic")
    assert text.startswith("Unknown") == kind.startswith("imported")
    assert ("function of a seed" in text) != kind.startswith("imported")  # the generator is described
    assert ("annotated volumes of its user: embryo, root." in text) == ("fine-tuned" in kind)
    unknown = kind in ("imported", "imported and fine-tuned")
    assert ("synthetic volumes that were made during training" in text.lower()) == (not unknown)
    assert ("may have been fine-tuned before" in text) == (kind == "fine-tuned from another")


def check_description(kind, text):
    """Whether the description of a network claims synthetic training alone only where it is so."""
    assert ("only on synthetic volumes" in text) == (kind == "synthetic")
    assert ("fine-tuned on annotated volumes of its user" in text) == ("fine-tuned" in kind)
    assert ("then trained on synthetic volumes" in text) == (kind == "imported and trained on")
    assert ("StarDist" in text and "other software" in text) == kind.startswith("imported")


@pytest.mark.parametrize("kind", KINDS)
def test_a_bundle_names_the_training_data(tmp_path, kind):
    metadata, page, _ = monai(tmp_path / "bundle", KINDS[kind])
    check_data(kind, metadata["data_source"])
    check_description(kind, metadata["description"])
    assert f"## Training data\n\n{metadata['data_source']}\n" in page
    assert metadata["description"] in page
    assert ("assumed" in page) == (kind == "imported")  # the object diameters


@pytest.mark.parametrize("kind", KINDS)
def test_a_package_names_the_training_data(kind):
    described = bioimage(KINDS[kind])
    check_description(kind, described["description"])
    assert ("training_data" in described) == (kind == "synthetic")
    assert ("synthetic-data" in described["tags"]) == (kind == "synthetic")


@pytest.mark.parametrize("kind", KINDS)
def test_a_bundle_claims_no_authors_and_no_licence_that_are_not_known(tmp_path, kind):
    metadata, page, license = monai(tmp_path / "bundle", KINDS[kind])
    assert (metadata["authors"], metadata["copyright"], license) == ("unknown", "unknown", None)
    assert not any(claim in page for claim in CLAIMS)
    assert "Authors of the network: unknown. Licence of its weights: unknown." in page


@pytest.mark.parametrize("kind", KINDS)
def test_a_package_claims_no_authors_and_no_licence_that_are_not_known(kind):
    described = bioimage(KINDS[kind])
    assert described.get("authors", []) == []
    assert described.get("license") is None


@pytest.mark.long
def test_bioimageio_core_accepts_a_package_without_authors_licence_and_training_data(tmp_path):
    export("bioimageio", NETWORK, KINDS["fine-tuned"], tmp_path / "package.zip")


def test_packages_of_the_shipped_network_have_its_authors_and_licence(tmp_path, shipped):
    metadata, page, license = monai(tmp_path / "bundle", replace(shipped, prob_thresh=0.55))
    assert metadata["authors"] == "The anystar_torch authors"
    assert metadata["copyright"] == "Copyright (c) The anystar_torch authors"
    assert license.startswith("BSD-3-Clause, The anystar_torch authors.")
    assert "Licence of its weights: BSD-3-Clause." in page


def test_given_authors_and_licence_are_recorded(tmp_path):
    given = {"authors": ["A. First", "B. Second"], "license_id": "CC-BY-4.0"}
    metadata, page, license = monai(tmp_path / "bundle", KINDS["fine-tuned"], **given)
    described = bioimage(KINDS["fine-tuned"], **given)
    assert metadata["authors"] == "A. First, B. Second"
    assert metadata["copyright"] == "Copyright (c) A. First, B. Second"
    assert license.startswith("CC-BY-4.0, A. First, B. Second.")
    assert [one["name"] for one in described["authors"]] == given["authors"]
    assert described["license"] == "CC-BY-4.0"
    assert "Authors of the network: A. First, B. Second. Licence of its weights: CC-BY-4.0." in page


@pytest.mark.parametrize(
    ("form", "options", "words"),
    [
        ("monai", ["--license", "my own/licence"], "license_id must be an SPDX identifier"),
        ("bioimageio", ["--license", "BSD3"], "license_id must be an SPDX identifier"),
        ("bioimageio", ["--author", "a/b"], "authors must be names without slashes, got 'a/b'"),
        ("monai", ["--author", " "], "authors must be names without slashes, got ' '"),
        ("keras", ["--author", "A. First"], "keras cannot express authors; bioimageio, monai can"),
    ],
)
def test_authors_and_licences_that_cannot_be_recorded_are_one_line(capsys, tmp_path, form, options, words):
    model = weights.save(tmp_path / "model", NETWORK, KINDS["fine-tuned"])
    output = tmp_path / f"out{'.zip' if form == 'bioimageio' else ''}"
    line = run(capsys, "export", "--format", form, model, "-o", output, *options, status=2)
    assert words in line
    assert options[0] in line
    assert not output.exists()


def test_the_command_records_authors_and_licence(capsys, tmp_path):
    model = weights.save(tmp_path / "model", NETWORK, KINDS["fine-tuned"])
    options = ("--author", "A. First", "--author", "B. Second", "--license", "MIT")
    run(capsys, "export", "--format", "monai", model, "-o", tmp_path / "out", *options)
    metadata = json.loads((tmp_path / "out" / "configs" / "metadata.json").read_text())
    assert metadata["authors"] == "A. First, B. Second"
    assert (tmp_path / "out" / "LICENSE").read_text().startswith("MIT,")
