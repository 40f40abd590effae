"""Behind the diagnostics of mixtures of experts: rows of gates and experts, cells, scores."""
