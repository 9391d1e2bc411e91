"""HTTP only: from bytes to a request, from an answer or an error to bytes."""
