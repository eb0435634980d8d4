# One image for every process: docker run IMAGE api | dispatcher | worker | migrate | simulator | keys | up | ...
# For x86-64 and 64-bit Arm: every pin of requirements/run.txt has a wheel for both, and nothing is compiled.
#
#     docker build --tag imagequeue .
#     docker buildx build --platform linux/amd64,linux/arm64 --tag registry.example.com/imagequeue:1.2 --push .
#
# The second stage gets the finished environment alone: no compiler, no pip cache, no sources.

ARG PYTHON=3.12

FROM python:${PYTHON}-slim AS build
WORKDIR /src
RUN python -m venv /opt/imagequeue
COPY requirements/run.txt requirements/
RUN /opt/imagequeue/bin/pip install --quiet --no-cache-dir --only-binary :all: --require-hashes -r requirements/run.txt
COPY . .
RUN /opt/imagequeue/bin/pip install --quiet --no-cache-dir --no-index --no-deps --no-build-isolation . \
    && /opt/imagequeue/bin/pip uninstall --quiet --yes pip

FROM python:${PYTHON}-slim
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /var/lib/imagequeue imagequeue \
    && install --directory --mode 1777 /var/lib/imagequeue
COPY --from=build /opt/imagequeue /opt/imagequeue
# Bytecode came with the installation, and the file system may be read-only.
ENV PATH=/opt/imagequeue/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1

# Images that the storage could not take wait here, and a local storage or `up` keep everything here. Like /tmp it may
# be written by any user id: `docker run --read-only --tmpfs /tmp --user 12345:12345` works as well.
WORKDIR /var/lib/imagequeue
VOLUME /var/lib/imagequeue
USER 10001:10001

EXPOSE 8000
ENTRYPOINT ["imagequeue"]
CMD ["api", "--host", "0.0.0.0"]

# For the API. The other processes serve nothing; they end by themselves when they do not work any more.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import http.client as h; c = h.HTTPConnection('127.0.0.1', 8000, timeout=3); c.request('GET', '/healthz'); raise SystemExit(c.getresponse().status != 200)"]
