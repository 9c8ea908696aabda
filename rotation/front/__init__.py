"""What outside may ask of the app: use cases with typed results, and the faces that call them."""
