"""What :class:`RoutingCalibratedClassifierCV` wraps, and fitting it out of fold."""
