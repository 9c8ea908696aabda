"""What is decided about, and the forms in which it is kept and sent. Imports nothing else here."""
