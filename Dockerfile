# A job container: it runs one command and ends. Non-root, no compiler, nothing but the package and what it needs.
FROM python:3.13-slim AS build
WORKDIR /src
COPY setup.cfg pyproject.toml README.md LICENSE ./
COPY migrator migrator
RUN python -m venv /opt/migrator && /opt/migrator/bin/pip install --no-cache-dir .

FROM python:3.13-slim
RUN useradd --create-home --uid 10001 migrator
COPY --from=build /opt/migrator /opt/migrator
ENV PATH="/opt/migrator/bin:$PATH" PYTHONUNBUFFERED=1
USER migrator
# Checkpoints, reject files and dumps of a job live here: mount a volume.
WORKDIR /home/migrator/data
# A job that hangs at its start is as ill as one that ended.
HEALTHCHECK --interval=30s --timeout=10s --start-period=5s CMD ["migrator", "--version"]
ENTRYPOINT ["migrator"]
CMD ["--help"]
