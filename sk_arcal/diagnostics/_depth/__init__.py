"""What lies behind the diagnostics of layers: reading scores over depth, errors, and resampling."""
