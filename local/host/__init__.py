"""The Functions host on one machine: runs the function_app.py that Azure runs, SDKs unmodified."""
