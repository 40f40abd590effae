"""Groups of routing, patches of their cells and how many: :class:`MulticalibrationCalibrator`."""
