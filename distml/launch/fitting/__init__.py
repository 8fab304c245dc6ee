"""Does a job fit a place, how long would it take there, and what would that cost?"""

__all__: list[str] = []
