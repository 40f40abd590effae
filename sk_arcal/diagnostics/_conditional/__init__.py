"""The engine of the conditional calibration test: from rows to sums, draws and answers."""
