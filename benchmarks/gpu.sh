#!/usr/bin/env bash
# The GPU path on this machine, in one command: install, build, test, measure, and if asked train.
#
#   bash benchmarks/gpu.sh                                   at most 8 minutes
#   WHEELS=wheels bash benchmarks/gpu.sh                     a folder of wheels for what is not installed; no network needed
#   TRAIN_MINUTES=5 TESTS=0 SECTIONS=none bash benchmarks/gpu.sh   trains zero_shot_gpu for 5 whole minutes
#   SMOKE=1 bash benchmarks/gpu.sh                           a rehearsal on the CPU with tiny sizes
#
# OUT (outputs/gpu): gpu.json, gpu.md, tests.log; after a training also model/ (float16), train.csv, train.log.
# PYTHON: the interpreter (python3). SECTIONS: of python -m benchmarks.gpu, default all; "none" leaves them out.
# TESTS=0 leaves the tests out. TEST_SECONDS, BENCH_SECONDS: time limits; the sections get what is left of the 8 minutes,
# 300 s at most. TRAIN_BATCH: samples per step (8). Seconds and minutes are whole numbers.
set -uo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
OUT=${OUT:-outputs/gpu}
SMOKE=${SMOKE:-0}
TEST_SECONDS=${TEST_SECONDS:-150}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$OUT" || exit 1
export PYTHONUNBUFFERED=1 PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
began=$SECONDS
tested=0 trained=0
step() { echo "== [$((SECONDS - began)) s] $*"; }

if [ -n "${WHEELS:-}" ]; then
  step "install $(ls "$WHEELS"/*.whl | wc -l) wheels"
  "$PYTHON" -m pip install -q --no-index --no-deps --no-compile --target "$work/site" "$WHEELS"/*.whl || exit 1
  export PYTHONPATH="$PYTHONPATH:$work/site"
fi

"$PYTHON" -c "import antlr4, beartype, hydra, jaxtyping, lightning, omegaconf" || exit 1

if ! "$PYTHON" -c "from anystar_torch.kernels import _native" 2>/dev/null; then
  step "build the native module"
  ninja=()
  command -v ninja >/dev/null && ninja=(-G Ninja)
  { cmake -S . -B "$work/build" "${ninja[@]}" -DPython_EXECUTABLE="$("$PYTHON" -c 'import sys; print(sys.executable)')" \
      && cmake --build "$work/build" -j; } >"$work/build.log" 2>&1 || { tail -n 30 "$work/build.log"; exit 1; }
fi

smoke=()
if [ "$SMOKE" = 1 ]; then
  smoke=(--smoke)
  step "a rehearsal on the CPU"
elif ! reason=$("$PYTHON" -c "import torch; torch.cuda.init()" 2>&1); then
  echo "torch cannot use a GPU here: ${reason##*$'\n'}; SMOKE=1 rehearses on the CPU" >&2
  exit 1
fi

if [ "${TESTS:-1}" = 1 ]; then
  step "tests marked gpu, at most $TEST_SECONDS s"
  # only the files that have some: the others need packages that may be missing here
  # Kernels and training first: if time runs out, the others are cut.
  files=$(grep -rl "mark\.gpu" --include='test_*.py' tests | sort)
  files="$(grep -E "^tests/(kernels|training)/" <<<"$files") $(grep -vE "^tests/(kernels|training)/" <<<"$files")"
  # shellcheck disable=SC2086 # a list of files
  # INT is the signal of Ctrl-C: pytest then prints what has failed.
  # Warnings go to the log: other versions of packages have other ones, and no test of the GPU fails because of them.
  timeout -s INT -k 10 "$((${#smoke[@]} ? 3600 : TEST_SECONDS))" "$PYTHON" -m pytest -q -m gpu -W default \
    -p no:cacheprovider --continue-on-collection-errors --durations=15 $files >"$OUT/tests.log" 2>&1
  tested=$?
  tail -n 25 "$OUT/tests.log"
  step "tests ended with exit status $tested (0: passed, 124: time limit)"
fi

if [ "${SECTIONS:-}" != none ]; then
  left=$((450 - (SECONDS - began)))  # 30 s less than 8 minutes: for the start, and for what does not end at its limit
  BENCH_SECONDS=${BENCH_SECONDS:-$((left > 300 ? 300 : left < 60 ? 60 : left))}
  step "measure, at most $BENCH_SECONDS s"
  rm -f "$OUT/gpu.json" "$OUT/gpu.md"  # of an earlier run: if this one fails, they are not taken for its results
  # shellcheck disable=SC2086 # a list of words
  timeout -k 10 "$((${#smoke[@]} ? 3600 : BENCH_SECONDS + 30))" "$PYTHON" -m benchmarks.gpu --out "$OUT" --seconds "$BENCH_SECONDS" \
    ${SECTIONS:+--sections $SECTIONS} "${smoke[@]}"
fi

if [ -n "${TRAIN_MINUTES:-}" ]; then
  step "train for $TRAIN_MINUTES minutes"
  timeout -k 10 "$((${#smoke[@]} ? 3600 : 60 * TRAIN_MINUTES + 120))" "$PYTHON" -m benchmarks.gpu.training \
    --minutes "$TRAIN_MINUTES" --batch "${TRAIN_BATCH:-8}" --out "$OUT" "${smoke[@]}"
  trained=$?
fi
step "done"
ls -l "$OUT"
if [ "${#smoke[@]}" -gt 0 ] && { [ "$tested$trained" != 00 ] || grep -qs '"error"' "$OUT/gpu.json"; }; then
  step "the rehearsal failed"
  exit 1
fi
[ "${SECTIONS:-}" = none ] && [ -z "${TRAIN_MINUTES:-}" ] || test -s "$OUT/gpu.json"
