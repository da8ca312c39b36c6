"""The GPU path on this machine; benchmarks/gpu.sh also installs, builds, tests and trains."""
