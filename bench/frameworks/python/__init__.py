"""The sample application's orders, for Python's servers."""
