"""How the networks are trained and evaluated: batches, objectives, and skorch's loop."""
