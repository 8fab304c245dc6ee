"""What describes machines: cluster files, their rules, and what a machine costs."""

__all__: list[str] = []
