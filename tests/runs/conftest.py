"""Settings of the tests of runs."""

from hypothesis import settings

# No test asserts a time, by way of hypothesis' default limit either.
settings.register_profile("no-deadline", deadline=None)
settings.load_profile("no-deadline")
