"""Which model answers, and the way of a request through the service."""
