"""The app's interface: use cases with typed results, the HTTP API and the triggers."""
