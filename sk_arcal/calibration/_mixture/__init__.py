"""Mixtures of experts: their columns, their probabilities, the base of methods that see them."""
