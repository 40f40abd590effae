"""The convex maps of :class:`StructuredScaler` and the choice among them."""
