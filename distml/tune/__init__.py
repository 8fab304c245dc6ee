"""Search for hyper-parameters: over an estimator, every fold of every trial a unit."""

__all__: list[str] = []
