"""The worst shift of a ball, and what it does to cells of confidence and configuration."""
