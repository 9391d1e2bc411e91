"""From the raw rows of a graph to the numbers of an answer: pure functions, a file per task."""
