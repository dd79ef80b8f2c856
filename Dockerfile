# The one image of every process: `marqetfi serve`, `engine`, `worker`, `beat`, `migrate`.
FROM python:3.12-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/marqetfi
ENV PATH=/opt/marqetfi/bin:$PATH
WORKDIR /build
COPY requirements.txt ./
RUN pip install --require-hashes --only-binary :all: -r requirements.txt
COPY requirements-dev.txt pyproject.toml README.md LICENSE ./
COPY app app
COPY migrations migrations
# The build backend stays behind in an environment of its own; it is the locked one, checked by its hash.
RUN python -m venv /opt/build \
    && /opt/build/bin/pip install --require-hashes --constraint requirements-dev.txt hatchling \
    && /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /build/wheels . \
    && pip install --no-deps /build/wheels/*.whl

FROM python:3.12-slim
RUN useradd --system --uid 10001 --create-home --home-dir /home/marqetfi marqetfi \
    && install --directory --owner marqetfi --group marqetfi --mode 700 /data
COPY --from=build /opt/marqetfi /opt/marqetfi
ENV PATH=/opt/marqetfi/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    HOST=0.0.0.0 \
    LOG_FORMAT=json \
    MARQETFI_DATA_DIR=/data
WORKDIR /home/marqetfi
USER marqetfi
EXPOSE 8000
# SIGTERM: clients are told to come back elsewhere, and what was begun is finished.
STOPSIGNAL SIGTERM
ENTRYPOINT ["marqetfi"]
CMD ["serve"]
