"""What Prometheus learns about the API; labels take few values and hold nothing of a request."""

from prometheus_client import CollectorRegistry, Counter, Histogram

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1, 2, 3, 4, 5, 6)


class Metrics:
    """One set per app object, so that several can live in one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter("rokuga_api_requests", "API requests answered", ["action", "code"], registry=self.registry)
        self.seconds = Histogram(
            "rokuga_api_seconds", "Time from a request's last byte to its answer", ["action"], buckets=SECONDS, registry=self.registry
        )
