"""The orchestrators: replayed from their history, so that they reach nothing but the model."""
