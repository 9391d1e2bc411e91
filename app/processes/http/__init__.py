"""HTTP/1.1 on a socket: from bytes to whole requests, within limits of size and time, and from answers to bytes."""
