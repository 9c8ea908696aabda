"""Sole importer of psycopg: login roles and their sessions, as the login that rotates."""
