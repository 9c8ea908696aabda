"""Everything Azure provides, on one machine. Never deployed."""
