"""What lies behind the checkpoint profile: one pass over a training run, and paired comparisons."""
