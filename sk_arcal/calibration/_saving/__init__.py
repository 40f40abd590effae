"""Saving a calibrator: plain state for pickle and skops, sealed dictionaries for JSON."""
