"""Blob Storage, as far as the app asks for it."""
