# The server's images: `docker build --target cpu .` or `--target gpu .`. Both have what KubeRay wants of an image (bash,
# wget, `ray` on the path) and run as a user without rights. No secret goes in: keys are files that are mounted.
ARG PYTHON=3.11-slim-bookworm

FROM python:${PYTHON} AS base
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# The compiler is for Triton and vLLM, which compile as they start. Debian keeps no old versions, so none is named.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ libnuma1 wget \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 1000 psychechat \
    && useradd --uid 1000 --gid psychechat --create-home psychechat
ENV VENV=/opt/psychechat
ENV PATH=$VENV/bin:$PATH PYTHONUNBUFFERED=1
# Neither Ray nor vLLM tells its makers that it runs.
ENV RAY_USAGE_STATS_ENABLED=0 VLLM_NO_USAGE_STATS=1 DO_NOT_TRACK=1

# uv does what pip cannot: it installs what the lock says and checks each hash, without asking what the packages ask for.
FROM base AS build
ENV UV_LINK_MODE=copy UV_CACHE_DIR=/var/cache/uv PIP_NO_CACHE_DIR=1
WORKDIR /src
COPY requirements-uv.lock ./
RUN python -m venv /opt/uv && /opt/uv/bin/pip install --require-hashes -r requirements-uv.lock
ENV PATH=/opt/uv/bin:$PATH

FROM build AS build-cpu
COPY requirements-image-cpu.lock ./
# Where torch's CPU build is, since the index has the one for CUDA: a page of links to wheels, or a folder with them.
ARG TORCH=https://download.pytorch.org/whl/cpu/torch/
RUN --mount=type=cache,target=/var/cache/uv uv venv "$VENV" \
    && uv pip install --python "$VENV" --no-deps --compile-bytecode --require-hashes --find-links "$TORCH" \
        -r requirements-image-cpu.lock
COPY . .
RUN uv pip install --python "$VENV" --no-deps --no-build-isolation --compile-bytecode .

FROM build AS build-gpu
COPY requirements-image-gpu.lock ./
RUN --mount=type=cache,target=/var/cache/uv uv venv "$VENV" \
    && uv pip install --python "$VENV" --no-deps --compile-bytecode --require-hashes -r requirements-image-gpu.lock
COPY . .
RUN uv pip install --python "$VENV" --no-deps --no-build-isolation --compile-bytecode .

FROM base AS serve
USER 1000:1000
WORKDIR /home/psychechat
# What engines download and compile. A new volume that is mounted there belongs to whom the folder in the image does.
RUN mkdir .cache
ENV TRITON_CACHE_DIR=/home/psychechat/.cache/triton
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=5m CMD ["wget", "-q", "-O-", "http://127.0.0.1:8000/health"]
# KubeRay puts `ray start` in its place. By itself it serves the CPU demo on loopback; with a settings file that has API
# keys, `psychechat serve --config FILE --host 0.0.0.0`.
CMD ["psychechat", "serve"]

FROM serve AS gpu
# Which GPUs a container sees is for whoever starts it: `--gpus`, or Kubernetes's device plugin.
ENV NVIDIA_DRIVER_CAPABILITIES=compute,utility
# FlashInfer's would be compiled as the engine starts, and there is no nvcc here.
ENV VLLM_USE_FLASHINFER_SAMPLER=0
COPY --from=build-gpu /opt/psychechat /opt/psychechat

FROM serve AS cpu
COPY --from=build-cpu /opt/psychechat /opt/psychechat
