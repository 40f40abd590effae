"""Adversaries of :class:`AdversarialReweightCalibrator`, the map that answers, and its fit."""
