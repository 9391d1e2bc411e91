"""The service: loads bundles and answers over HTTP. Never imports torch."""
