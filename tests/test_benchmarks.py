"""The benchmarks share one header, one clock, one report and one peer runner."""

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from anystar_torch.distributed.blocks import Boxes
from anystar_torch.distributed.work_folder import WorkFolder
from anystar_torch.network import loading
from benchmarks import configs, finetune
from benchmarks.gpu import sections
from benchmarks.gpu.__main__ import Results, section
from benchmarks.header import Header, commit, hash_of_weights
from benchmarks.large import Rows
from benchmarks.many_candidates import made_candidates
from benchmarks.peers import Peer
from benchmarks.real_volumes.ablation import TABLES
from benchmarks.report import Report, figure, markdown
from benchmarks.timing import Timing, in_turn

ROOT = Path(__file__).parent.parent
BENCHMARKS = ROOT / "benchmarks"
COMMANDS = sorted(p for p in BENCHMARKS.rglob("*.py") if 'if __name__ == "__main__"' in p.read_text())
OTHER_HEADERS = {"same_results.py"}  # compares bits, measures nothing


def test_a_header_says_what_figures_were_measured_on():
    header = Header.now(weights=loading.SHIPPED, packages=("numpy", "no_such_package"))
    assert header.threads == torch.get_num_threads()
    assert header.versions["torch"] == torch.__version__
    assert header.versions["no_such_package"] == "not installed"
    for part in (header.date, header.commit, header.processor, header.weights):
        assert part in str(header)
    assert json.loads(json.dumps(header.as_dict()))["command"] == header.command


def test_a_machine_without_git_has_the_commit_that_it_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("COMMIT", "abc1234")
    assert commit() == "abc1234"


def test_the_hash_of_weights_is_that_of_the_file():
    digest = subprocess.run(
        ["sha256sum", loading.SHIPPED / "weights.safetensors"], capture_output=True, text=True, check=True
    ).stdout
    assert digest.startswith(hash_of_weights(loading.SHIPPED))
    assert hash_of_weights() == hash_of_weights(loading.SHIPPED)


def test_tables_are_printed_and_stored(tmp_path, capsys):
    report = Report(Header.now(), tmp_path / "figures.json")
    report.table("first", [{"name": "a", "seconds": 0.12345}, {"name": "b", "objects": 12345}])
    report.table("second", [{"name": "c"}])
    printed = capsys.readouterr().out
    assert "| name | seconds | objects |\n| --- | --- | --- |\n| a | 0.123 |  |\n| b |  | 12,345 |" in printed
    stored = json.loads((tmp_path / "figures.json").read_text())
    assert list(stored["tables"]) == ["first", "second"]
    assert stored["tables"]["first"][0]["seconds"] == 0.12345
    assert stored["header"]["commit"] in printed


def test_rows_are_measured_once_and_kept(tmp_path):
    file, measured = tmp_path / "figures.json", []

    def measure(name):
        measured.append(name)
        return {"seconds": 1.5}

    for names in ("a",), ("a", "b"):
        report = Report(Header.now(), file)
        report.resume()
        rows = Rows(report, "volumes")
        for name in names:
            rows.add({"size": name}, lambda name=name: measure(name))
    assert measured == ["a", "b"]
    stored = json.loads(file.read_text())["tables"]["volumes"]
    assert [(row["size"], row["seconds"]) for row in stored] == [("a", 1.5), ("b", 1.5)]
    assert all(row["commit"] == Header.now().commit for row in stored)


@pytest.mark.long
def test_fine_tuned_cases_are_measured_one_by_one(tmp_path):
    path, header = tmp_path / "figures.json", Header.now(weights=loading.SHIPPED)
    for case, steps in (("cho", 1), ("embryo", 2), ("cho", 3)):
        report = Report(header, path)
        finetune.keep_rows(report)
        finetune.add(report, finetune.GAINS, case, [{"case": case, "steps": steps}])
        finetune.add(report, finetune.FORGOTTEN, case, [{"case": f"{case}: a"}, {"case": f"{case}: b"}])
    assert report.tables[finetune.GAINS] == [{"case": "embryo", "steps": 2}, {"case": "cho", "steps": 3}]
    kept = [row["case"] for row in report.tables[finetune.FORGOTTEN]]
    assert kept == ["embryo: a", "embryo: b", "cho: a", "cho: b"]
    with pytest.raises(SystemExit, match="is of the weights"):
        finetune.keep_rows(Report(replace(header, weights="0"), path))


@pytest.mark.long
def test_made_candidates_conflict_across_the_borders_of_blocks(tmp_path):
    work, boxes = WorkFolder(tmp_path), Boxes((256, 256, 512), (256, 256, 256))
    names = sorted(boxes.names(), key=boxes.box)
    left, right = (work.read(made_candidates(work, boxes, name, 8))["points"] for name in names)
    assert min(len(left), len(right)) > 250_000
    assert left[:, 2].max() == 255
    assert right[:, 2].min() == 256
    border = left[left[:, 2] == 255][:50]
    assert all((np.abs(right - one) <= 6).all(1).any() for one in border)


def test_a_cell_breaks_no_table():
    assert figure("a|b\nc") == "a/b c"
    assert figure(None) == ""
    assert markdown([{"a": 1.0}]).count("\n") == 2


def test_functions_take_turns_after_a_warm_up():
    calls = []
    taken = in_turn({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, repeats=3, pause=0.0)
    assert "".join(calls) == "ab" * 4
    assert taken["a"].repeats == 3
    assert taken["a"].least <= taken["a"].median <= taken["a"].most


def test_short_functions_are_repeated_for_the_given_time():
    assert in_turn({"a": lambda: None}, repeats=1, seconds=60.0, most=7, pause=0.0)["a"].repeats == 7


def test_a_timing_is_the_median_of_its_seconds():
    assert Timing.of([3.0, 1.0, 2.0]) == (2.0, 1.0, 3.0, 3)


def test_a_peer_answers_requests(tmp_path, monkeypatch):
    for name in ("serve.py",):
        (tmp_path / name).write_text((BENCHMARKS / "peers" / name).read_text())
    (tmp_path / "double.py").write_text(
        "from serve import case, serve\nfactor = case()\nprint('noise')\nserve(lambda n: n * factor)\n"
    )
    monkeypatch.setattr("benchmarks.peers.HERE", tmp_path)
    with Peer("double", 3, python=sys.executable) as peer:
        assert [peer.ask(n) for n in (1, 2)] == [3, 6]


def test_a_peer_that_ends_is_an_error(tmp_path, monkeypatch):
    (tmp_path / "broken.py").write_text("raise SystemExit(3)\n")
    monkeypatch.setattr("benchmarks.peers.HERE", tmp_path)
    with pytest.raises(SystemExit, match="exit status 3"):
        Peer("broken", None, python=sys.executable)


def test_figures_of_a_gpu_replace_those_of_an_earlier_run_at_once(tmp_path):
    for name in ("gpu.json", "gpu.md"):
        (tmp_path / name).write_text("of an earlier run")
    results = Results(tmp_path, Header.now())
    assert json.loads((tmp_path / "gpu.json").read_text())["rows"] == []
    results.add({"section": "prediction", "name": "64^3", "seconds": 1.5})
    assert [row["name"] for row in json.loads((tmp_path / "gpu.json").read_text())["rows"]] == ["64^3"]
    assert "| 64^3 | 1.5 |" in (tmp_path / "gpu.md").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gpu.json", "gpu.md"]


@pytest.mark.parametrize(("left", "over"), [(-1.0, True), (60.0, False)])
def test_the_start_of_a_section_counts_as_its_time(monkeypatch, capsys, left, over):
    monkeypatch.setitem(sections.SECTIONS, "operators", lambda bench: bench.skip("copy"))
    monkeypatch.setenv("GPU_UNTIL", str(time.time() + left))
    section("operators", smoke=True)
    row = {"section": "operators", "name": "copy", "error": "no time left"}
    assert capsys.readouterr().out == (f"ROW {json.dumps(row)}\n" if over else "")


@pytest.mark.skipif(shutil.which("timeout") is None, reason="needs GNU coreutils")
@pytest.mark.parametrize(("settings", "status"), [({"TESTS": "0"}, 1), ({"SECTIONS": "none"}, 0)])
def test_the_gpu_script_does_not_take_an_earlier_run_for_its_own(tmp_path, settings, status):
    """Its Python is a program that does nothing and succeeds."""
    python, out = tmp_path / "python", tmp_path / "out"
    python.write_text("#!/bin/sh\n")
    python.chmod(0o755)
    out.mkdir()
    if "SECTIONS" not in settings:
        (out / "gpu.json").write_text('{"rows": []}')
    environment = {**os.environ, "PYTHON": str(python), "OUT": str(out), **settings}
    command = ["bash", str(BENCHMARKS / "gpu.sh")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == status, done.stdout + done.stderr
    assert not (out / "gpu.json").exists()


@pytest.mark.skipif(shutil.which("timeout") is None, reason="needs GNU coreutils")
def test_the_gpu_script_refuses_a_machine_without_a_gpu(tmp_path):
    """A rehearsal in its place would take the time for which a GPU was borrowed."""
    python, out = tmp_path / "python", tmp_path / "out"
    python.write_text('#!/bin/sh\ncase "$2" in *cuda.init*) echo "no NVIDIA driver" >&2; exit 1;; esac\n')
    python.chmod(0o755)
    environment = {**os.environ, "PYTHON": str(python), "OUT": str(out), "SMOKE": "0"}
    command = ["bash", str(BENCHMARKS / "gpu.sh")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == "torch cannot use a GPU here: no NVIDIA driver; SMOKE=1 rehearses on the CPU\n"


@pytest.mark.parametrize("path", COMMANDS, ids=lambda path: path.relative_to(BENCHMARKS).as_posix())
def test_every_command_prints_the_header(path):
    files = [path] if path.name != "__main__.py" else [*path.parent.glob("*.py")]
    source = "".join(file.read_text() for file in files)
    assert "begin(" in source or "Header.now(" in source or path.name in OTHER_HEADERS


def test_no_benchmark_edits_the_search_path_or_times_by_itself_what_takes_turns():
    for path in BENCHMARKS.rglob("*.py"):
        source = path.read_text()
        assert "sys.path.insert" not in source or path.name in OTHER_HEADERS, path
        assert "setattr(" not in source, path


def test_the_wheel_holds_the_package_alone():
    import tomllib

    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["scikit-build"]
    assert build["wheel"]["packages"] == ["anystar_torch"]


@pytest.mark.long
@pytest.mark.parametrize(("what", "name"), [(what, name) for what, table in TABLES.items() for name in table])
def test_the_settings_of_an_ablation_exist(what, name):
    overrides = [change.format(half=5, twice=20, same_time=6) for change in TABLES[what][name]]
    model = "model=small" if what == "recipe" else "model=light"
    configs.training_config(["+experiment=zero_shot", model, "run_folder=unused", *overrides])
