"""Settings of the property tests."""

from hypothesis import settings

# The machine that runs them may be busy: how long an example took says nothing.
settings.register_profile("unit", deadline=None)
settings.load_profile("unit")
