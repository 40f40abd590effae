"""The category of warnings that the extraction of features raises."""


class ExtractionWarning(UserWarning):
    """An extraction goes on, but something beside it deserves a second look.

    Examples
    --------
    >>> import warnings
    >>> from sk_arcal.feature_extraction import ExtractionWarning
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore", ExtractionWarning)
    """
