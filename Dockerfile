# One image for every process: docker run IMAGE api | dispatcher | worker | migrate | simulator | keys | up | ...
# The second stage gets the finished environment alone: no compiler, no pip cache, no sources.

FROM python:3.12-slim AS build
WORKDIR /src
RUN python -m venv /opt/imagequeue
COPY requirements/run.txt requirements/
RUN /opt/imagequeue/bin/pip install --quiet --no-cache-dir --require-hashes -r requirements/run.txt
COPY . .
RUN /opt/imagequeue/bin/pip install --quiet --no-cache-dir --no-index --no-deps --no-build-isolation . \
    && /opt/imagequeue/bin/pip uninstall --quiet --yes pip

FROM python:3.12-slim
RUN useradd --uid 10001 --user-group --create-home --home-dir /var/lib/imagequeue imagequeue
COPY --from=build /opt/imagequeue /opt/imagequeue
ENV PATH=/opt/imagequeue/bin:$PATH PYTHONUNBUFFERED=1

# Images that the storage could not take wait here, and a local storage or `up` keep everything here.
WORKDIR /var/lib/imagequeue
VOLUME /var/lib/imagequeue
USER 10001:10001

EXPOSE 8000
ENTRYPOINT ["imagequeue"]
CMD ["api", "--host", "0.0.0.0"]

# For the API. The other processes serve nothing; they end by themselves when they do not work any more.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import http.client as h; c = h.HTTPConnection('127.0.0.1', 8000, timeout=3); c.request('GET', '/healthz'); raise SystemExit(c.getresponse().status != 200)"]
