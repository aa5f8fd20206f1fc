# The server with the models that are checked out: `make image`. dvc.lock is the manifest that the models are verified against.
FROM python:3.11-slim AS build
WORKDIR /app
COPY requirements-serve.lock ./
RUN python -m venv /venv \
    && /venv/bin/pip install --no-cache-dir --require-hashes -r requirements-serve.lock \
    && /venv/bin/pip uninstall --yes setuptools pip

FROM python:3.11-slim
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin serve \
    && install --directory --owner serve /data
COPY --from=build /venv /venv
WORKDIR /app
COPY dvc.lock ./
COPY stages/__init__.py stages/
COPY stages/projects stages/projects
COPY stages/runtime stages/runtime
COPY serve serve
COPY models models
COPY reports reports
ARG REVISION=unknown
ENV PATH=/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    ORT_DISABLE_TELEMETRY=1 \
    SERVE_REVISION=$REVISION \
    SERVE_DATABASE_URL=sqlite+aiosqlite:////data/serve.db \
    SERVE_SPILL_PATH=/data/serve.spill
USER 10001
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/ready', timeout=2)"]
ENTRYPOINT ["python", "-m", "serve"]
CMD ["--host", "0.0.0.0", "--port", "8000"]
