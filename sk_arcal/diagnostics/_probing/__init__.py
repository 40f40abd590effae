"""Probes that share everything but the feature, and the kernels behind them."""
