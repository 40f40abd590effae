"""The kernel estimate of :class:`NWConditionalCalibrator`: axes, leave-one-out loss, search."""
