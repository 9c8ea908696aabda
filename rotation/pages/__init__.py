"""The HTML pages, beginning with `routes`."""
