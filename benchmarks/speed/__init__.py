"""What is fast and what is not: one module a topic, each against peers and against the machine.

Run all with ``python -m benchmarks.speed OUT`` or one with ``python -m benchmarks.speed.metrics``.
"""
