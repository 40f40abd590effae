"""The network of :class:`CapacityMatchedMLP`: its rows, its training, its shuffled control."""
