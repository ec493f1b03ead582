# syntax=docker/dockerfile:1
# One image for the API and the worker: `docker run IMAGE api`, `docker run IMAGE worker`.
# Every package is verified against infra/locks; only wheels are accepted, so no stage needs a compiler.
FROM python:3.12-slim-bookworm AS base
ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ONLY_BINARY=:all: \
    PIP_ROOT_USER_ACTION=ignore

# The project's own wheel, built with the locked build backend.
FROM base AS wheel
WORKDIR /src
COPY infra/locks/dev.txt infra/locks/dev.txt
RUN python -m venv /build && /build/bin/pip install --require-hashes -r infra/locks/dev.txt
COPY pyproject.toml README.md LICENSE ./
COPY app app
COPY worker worker
RUN /build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /dist .

# What runs: the locked dependencies and the wheel, in one virtual environment without pip.
FROM base AS environment
WORKDIR /src
COPY infra/locks/runtime.txt infra/locks/runtime.txt
RUN python -m venv --without-pip /opt/orchestrator \
    && python -m pip --python /opt/orchestrator/bin/python install --require-hashes -r infra/locks/runtime.txt
COPY --from=wheel /dist /dist
RUN python -m pip --python /opt/orchestrator/bin/python install --no-index --no-deps /dist/*.whl

FROM base AS final
LABEL org.opencontainers.image.title="agent-orchestrator" \
      org.opencontainers.image.description="A durable backend for AI agents: API and worker." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.url="https://example.com/agent-orchestrator" \
      org.opencontainers.image.documentation="https://example.com/agent-orchestrator/docs" \
      org.opencontainers.image.source="https://example.com/agent-orchestrator.git"
# A fixed id, so that volumes and security policies can name it. It owns nothing of the program.
RUN groupadd --system --gid 10001 orchestrator \
    && useradd --system --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin orchestrator
COPY --from=environment /opt/orchestrator /opt/orchestrator
ENV PATH="/opt/orchestrator/bin:$PATH" \
    API_HOST=0.0.0.0 \
    API_PORT=8000 \
    DATA_DIR=/tmp/orchestrate
# Nothing is written outside of /tmp: run it with a read-only root and a tmpfs there.
WORKDIR /tmp
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
# Liveness only: a store that is down is no reason to restart the API. Workers have no port and switch it off.
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 CMD ["python", "-c", \
    "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ['API_PORT']), timeout=4); c.request('GET', '/health/live'); sys.exit(c.getresponse().status != 200)"]
ENTRYPOINT ["orchestrate"]
CMD ["api"]
