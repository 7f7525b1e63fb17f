# A job container: it runs one command and ends. Non-root, no compiler, nothing but the package and what it needs.
FROM python:3.13 AS build
WORKDIR /src
COPY setup.cfg setup.py pyproject.toml README.md LICENSE ./
COPY migrator migrator
RUN python -m venv --without-pip /opt/migrator && pip --python /opt/migrator/bin/python install --no-cache-dir .

FROM python:3.13-slim
COPY --from=build /opt/migrator /opt/migrator
ENV PATH="/opt/migrator/bin:$PATH" PYTHONUNBUFFERED=1
# Checkpoints, reject files and dumps of a job live in /data: mount a volume there.
RUN useradd --create-home --uid 10001 migrator && install --directory --owner=migrator /data
USER migrator
WORKDIR /data
# Says whether the command can start at all; how a job ended is said by its exit code.
HEALTHCHECK --interval=30s --timeout=10s --start-period=5s CMD ["migrator", "--version"]
ENTRYPOINT ["migrator"]
CMD ["--help"]
