"""Where a job runs. A launcher knows the driver by its command line alone."""

__all__: list[str] = []
