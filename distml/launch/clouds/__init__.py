"""Clusters that are started and ended from here, and what keeps their limits."""

__all__: list[str] = []
