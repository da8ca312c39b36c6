"""Measurements of speed, memory and accuracy; docs/results.md has the figures.

Run each with ``python -m benchmarks.NAME`` from the folder of the repository; ``--help`` lists its options. Every
command prints one header (hardware, versions, commit, hash of the weights, date) and Markdown tables, and writes both
as JSON with ``--json FILE``.

- ``real_volumes``: accuracy on real volumes; comparison of networks; ablations
- ``predict``: prediction, beside StarDist
- ``geometry``: suppression, rendering and training targets, beside StarDist
- ``training``: a training step, beside StarDist in TensorFlow
- ``synthesis``: samples with targets: time and memory of every part; beside another commit
- ``fidelity``: statistics of samples, beside those of the original AnyStar
- ``tiles``: memory, time and equality of objects in tiles
- ``large``: volumes beyond memory: time, memory, workers, suppression of many candidates
- ``live_thresholds``: time from a move of a slider to new labels
- ``export``: exported networks, beside the network itself
- ``learning``: learning curves of training runs
- ``device_cost``: launches and bytes on a GPU, counted without one
- ``gpu, gpu.sh``: everything on a machine with a GPU
- ``same_results``: which results are the same bits as those of another commit
"""
