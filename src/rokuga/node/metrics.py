"""What a node counts, for Prometheus."""

from prometheus_client import Counter, Gauge

BYTES_CONFIRMED = Counter("rokuga_upload_bytes_confirmed", "Bytes of segments that stores have confirmed")
UPLOAD_ERRORS = Counter("rokuga_upload_errors", "Puts that a store refused or did not answer")
RECORDINGS = Gauge("rokuga_recordings", "Captures that this node holds")
RESTARTS = Counter("rokuga_process_restarts", "Capture and render processes started again after they died", ["process"])
RENDER_LAG = Gauge("rokuga_render_lag_seconds", "How far the render that is furthest behind is behind its room")
UNSENT_REPORTS = Gauge("rokuga_unsent_reports", "Reports that no task has accepted yet")
