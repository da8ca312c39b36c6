"""What every format has in common: one line for what it cannot carry, and nothing half-written."""

import runpy
import sys

import pytest
import torch

from anystar_torch import exporting
from anystar_torch.cli import main
from anystar_torch.exporting import FORMATS, bioimageio, export, keras, onnx, requirements, torch_export
from anystar_torch.exporting.dense import Dense
from anystar_torch.network import weights
from tests.conftest import ROOT
from tests.exporting.networks import config, resnet, seeing, unet


def name(form):
    return f"out{FORMATS[form].ending}"


@pytest.fixture
def model(tmp_path):
    network = seeing()
    return weights.save(tmp_path / "model", network, config(network))


@pytest.mark.parametrize("form", [form for form in FORMATS if form != "keras"])
def test_class_heads_are_refused_where_they_would_be_lost(tmp_path, form):
    network = unet(classes=2)
    with pytest.raises(ValueError, match="head for 2 classes") as error:
        export(form, network, config(network), tmp_path / name(form))
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("form", ["bioimageio", "monai"])
def test_several_channels_are_refused_where_normalisation_is_declared(tmp_path, form):
    network = unet(channels=3)
    with pytest.raises(ValueError, match="this network takes 3"):
        export(form, network, config(network), tmp_path / name(form))


@pytest.mark.parametrize(
    ("form", "missing"),
    [("onnx", "onnxscript"), ("bioimageio", "bioimageio.core"), ("monai", "ignite"), ("keras", "h5py")],
)
def test_a_missing_library_is_one_line(tmp_path, monkeypatch, form, missing):
    find = requirements.find_spec
    monkeypatch.setattr(requirements, "find_spec", lambda name: None if name == missing else find(name))
    with pytest.raises(ImportError, match=rf"needs {missing}: pip install 'anystar_torch\[export\]'"):
        export(form, seeing(), config(seeing()), tmp_path / name(form))
    assert not list(tmp_path.iterdir())


def test_a_missing_parent_package_counts_as_missing():
    with pytest.raises(ImportError, match=r"needs no_such_package\.part"):
        requirements.need("x", "no_such_package.part")


def full(*arguments, **options):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    ("form", "module", "step"),
    [
        ("onnx", onnx, "save"),
        ("torch", torch.export, "save"),
        ("bioimageio", bioimageio, "_described"),
        ("bioimageio", bioimageio, "_pack"),
        ("monai", torch, "save"),
        ("keras", keras, "write_weights"),
    ],
)
def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch, form, module, step):
    monkeypatch.setattr(torch_export, "compiler", lambda: None)
    monkeypatch.setattr(torch_export, "trace", lambda module, network: None)
    if step == "_pack":
        monkeypatch.setattr(bioimageio, "_described", lambda *arguments: None)
    monkeypatch.setattr(module, step, full)
    with pytest.raises(ValueError, match=r"cannot write .*No space left"):
        export(form, seeing(), config(seeing()), tmp_path / name(form))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("form", ["monai", "keras"])
def test_a_folder_with_other_files_is_not_replaced(tmp_path, form):
    network, path = seeing(), tmp_path / "out"
    export(form, network, config(network), path)
    export(form, network, config(network), path, overwrite=True)
    (path / "volumes").mkdir()
    (path / "volumes" / "mine.nii").write_text("mine")
    with pytest.raises(ValueError, match=r"also holds volumes/mine\.nii, which an export would delete"):
        export(form, network, config(network), path, overwrite=True)
    assert (path / "volumes" / "mine.nii").read_text() == "mine"


def test_the_network_is_left_as_it_was(tmp_path):
    network = seeing().train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    export("keras", network, config(network), tmp_path / "folder")
    export("monai", network, config(network), tmp_path / "bundle")
    assert not Dense(network).network.training
    assert network.training
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def run(capsys, *arguments, status=0):
    with pytest.raises(SystemExit) as ended:
        main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    assert ended.value.code == status, err
    return out if status == 0 else err.strip().splitlines()[-1]


def test_the_command_writes_what_it_says(capsys, tmp_path, model):
    said = run(capsys, "export", "--format", "keras", model, "-o", tmp_path / "out")
    assert f"{tmp_path / 'out'}: 0.1 MB, keras of {model}" in said
    assert "(option: --overwrite)" in run(
        capsys, "export", "--format", "keras", model, "-o", tmp_path / "out", status=2
    )
    run(capsys, "export", "--format", "keras", model, "-o", tmp_path / "out", "--overwrite")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "anystar_torch.json",
        "config.json",
        "thresholds.json",
        "weights_best.h5",
    ]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--format", "tiff", "-o", "x"], "is not one of"),
        (["--format", "onnx"], "-o"),
        (["-o", "x.onnx"], "--format"),
        (["--format", "onnx", "-o", "x.pt2"], "must end in .onnx"),
        (["--format", "keras", "-o", "x.h5"], "is a folder"),
        (["--format", "onnx", "-o", "no/x.onnx"], "there is no folder no"),
        (["--format", "keras", "-o", "mine", "--overwrite"], "exists and is not a StarDist model"),
        (["--format", "monai", "-o", "mine", "--overwrite"], "exists and is not a MONAI bundle"),
        (["--format", "onnx", "-o", "mine/f.onnx", "--overwrite"], "exists and is not an ONNX file"),
    ],
)
def test_errors_are_one_line(capsys, tmp_path, model, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine" / "f.onnx").mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    line = run(capsys, "export", model, *arguments, status=2)
    assert line.startswith("anystar: ")
    assert words in line
    assert sorted(tmp_path.rglob("*")) == before


def test_a_backbone_that_cannot_be_compiled_is_one_line(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(torch_export, "compiler", lambda: "c++")
    model = weights.save(tmp_path / "model", resnet(), config(resnet()))
    line = run(capsys, "export", "--format", "torch", model, "-o", tmp_path / "x.pt2", status=2)
    assert "--no-compile" in line


def test_there_is_a_script_for_every_format(capsys, tmp_path, model, monkeypatch):
    asked = []

    def record(form, network, config, path, overwrite, **options):
        asked.append((form, path.name, overwrite))
        path.touch()
        return [path]

    monkeypatch.setattr(exporting, "export", record)
    scripts = sorted((ROOT / "export").glob("*.py"))
    for script in scripts:
        form = script.stem.removeprefix("to_")
        command = [script.name, "--model", str(model), "-o", str(tmp_path / form), "--overwrite"]
        monkeypatch.setattr(sys, "argv", command)
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(script), run_name="__main__")
        assert ended.value.code == 0, capsys.readouterr().err
    assert sorted(asked) == sorted((form, form, True) for form in FORMATS)
