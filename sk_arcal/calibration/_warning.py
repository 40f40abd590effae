"""The category of warnings that calibrators raise."""


class CalibrationWarning(UserWarning):
    """A fit succeeded, but the data or the result deserve a second look.

    Examples
    --------
    >>> import warnings
    >>> from sk_arcal.calibration import CalibrationWarning
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore", CalibrationWarning)
    """
