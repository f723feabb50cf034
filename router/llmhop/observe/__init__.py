"""What operators see of requests: the access log and the metrics."""
