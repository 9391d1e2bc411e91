"""Servers that are measured beside ours, each in an environment of its own under build/peers."""
