"""Layers of a network: where they lie, what they hold, and what its own head says of them."""
