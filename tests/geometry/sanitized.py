"""The tests of the native kernels under AddressSanitizer and UndefinedBehaviorSanitizer (Linux, GCC).

    python -m tests.geometry.sanitized [pytest arguments]

Builds the module with sanitizers in a temporary copy of the package and runs, by default, the property tests and the
fuzzing with malformed arrays there. Any report of a sanitizer ends the run with an error.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
DEFAULT = [
    *(
        f"tests/geometry/test_{name}.py"
        for name in ("properties", "malformed", "native_limits", "nms", "render")
    ),
    "tests/geometry/test_native_targets.py",
    "tests/network/test_loss.py",
    "tests/kernels/test_malformed.py",
    "tests/kernels/test_coordinates.py",
    "tests/kernels/test_native_numbers.py",
    "tests/kernels/test_scene.py",
    "tests/generator/effects/test_implementations.py",
    "-m",
    "not compile",
]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in ("anystar_torch", "configs", "tests"):
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
        for name in ("CMakeLists.txt", "pyproject.toml"):
            shutil.copy(ROOT / name, copy)
        options = [
            "-DANYSTAR_SANITIZE=address,undefined,float-cast-overflow",
            f"-DPython_EXECUTABLE={sys.executable}",
        ]
        run(["cmake", "-S", ".", "-B", "build", *options], copy)
        run(["cmake", "--build", "build", "--parallel"], copy)
        environment = {
            # The interpreter is not built with sanitizers, so their run-time libraries have to be there first.
            "LD_PRELOAD": " ".join(map(library, ("libasan.so", "libubsan.so", "libstdc++.so.6"))),
            "ASAN_OPTIONS": "detect_leaks=0",  # Python's own
            "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
            "ANYSTAR_SHARED": os.environ.get("ANYSTAR_SHARED", str(ROOT.parent / "shared")),
        }
        tests = sys.argv[1:] or DEFAULT
        run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests], copy, environment)


def library(name: str) -> str:
    command = ["g++", f"-print-file-name={name}"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def run(command: list[str], folder: Path, environment: dict[str, str] | None = None) -> None:
    done = subprocess.run(command, cwd=folder, env=os.environ | (environment or {}), check=False)
    if done.returncode:
        raise SystemExit(done.returncode)


if __name__ == "__main__":
    main()
