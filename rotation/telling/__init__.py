"""What is told about a rotation, and to whom."""
