"""Search for hyper-parameters: every fold of every trial a unit of the flat graph."""

__all__: list[str] = []
