"""The HTML pages: `routes` is where they begin."""
