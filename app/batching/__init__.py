"""Which rows run next, and who may enter? Pure: the clock is passed in, nothing here waits or computes a model."""
