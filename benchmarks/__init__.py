"""Committed measurements; each file is one command."""
