"""Interchangeable tests of one question, one leaf each; `_by_name` is the table of them."""
