# anystar in a container.
#
#   docker build --tag anystar .                                                       for CPUs
#   docker build --tag anystar --build-arg BASE=nvidia/cuda:12.8.1-base-ubuntu24.04 \
#                --build-arg TORCH=cu128 .                                             for NVIDIA GPUs
#   docker run --rm --user "$(id -u):$(id -g)" --volume "$PWD:/data" anystar predict nuclei.tif
#   docker run --rm --gpus all ... the same
#
# BASE is any image with apt and Python 3.11 or newer in its packages, TORCH a backend of uv: cpu, cu128, auto.
ARG BASE=debian:trixie-slim
FROM ${BASE}

# The compiler stays: Triton uses it on GPUs.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends g++ python3 python3-dev python3-venv \
 && rm -rf /var/lib/apt/lists/*

ARG TORCH=cpu
WORKDIR /source
COPY . .
RUN python3 -m venv /opt/anystar \
 && /opt/anystar/bin/pip install --no-cache-dir uv \
 && /opt/anystar/bin/uv pip install --no-cache --python /opt/anystar/bin/python --torch-backend "${TORCH}" ".[hdf5,zarr]" \
 && rm -rf /source/*

# Any user may run it: caches of matplotlib, torch and Triton go to a folder that everybody may write.
ENV PATH=/opt/anystar/bin:$PATH HOME=/tmp
WORKDIR /data
ENTRYPOINT ["anystar"]
CMD ["--help"]
