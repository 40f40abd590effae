"""From rows to records: what a network says about every row, forwarded once and kept."""
