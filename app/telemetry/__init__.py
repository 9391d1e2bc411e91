"""What the service says about itself: counters, and one log line a request."""
