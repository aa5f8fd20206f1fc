# The server with the models that are checked out: `make image`. dvc.lock is the manifest that the models are verified against.
ARG BASE=python:3.11-slim
FROM ${BASE} AS build
WORKDIR /app
COPY requirements-serve.lock ./
RUN python -m venv /venv \
    && /venv/bin/pip install --no-cache-dir --require-hashes -r requirements-serve.lock
COPY stages stages
COPY serve serve
# The server sends two files of swagger_ui, and of vl_convert what it makes here; the other packages are for the command
# line and the tests of those that need them.
RUN /venv/bin/python -m serve.pages.assets \
    && find . -name __pycache__ -prune -exec rm -r {} + \
    && find /venv/lib/python3*/site-packages/swagger_ui/static -type f \
         ! -name swagger-ui.css ! -name swagger-ui-bundle.js ! -name LICENSE -delete \
    && /venv/bin/pip uninstall --yes vl-convert-python faker polyfactory rich-click rich pygments setuptools pip

FROM ${BASE}
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin serve \
    && install --directory --owner serve /data
COPY --from=build /venv /venv
WORKDIR /app
COPY dvc.lock ./
COPY --from=build /app/stages stages
COPY --from=build /app/serve serve
COPY models models
COPY reports reports
ARG REVISION=unknown
ARG VERSION=unknown
ARG SOURCE=unknown
LABEL org.opencontainers.image.title=Veritable \
      org.opencontainers.image.licenses=Apache-2.0 \
      org.opencontainers.image.revision=$REVISION \
      org.opencontainers.image.version=$VERSION \
      org.opencontainers.image.source=$SOURCE
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
