"""The sample application that credentials are rotated under: orders in a PostgreSQL table.

It imports nothing of the product, as no real application would. Run as `python -m local.workload`;
`settings.py` lists the environment variables.
"""
