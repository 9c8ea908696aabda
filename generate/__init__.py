"""Writes what must agree with the product's catalogue, reasons and structures: `make generated`.

Hand-written files keep what no code knows: the paths of the HTTP API, the guide around its tables,
the Bicep around its lists. Only the parts that are made are replaced in them.
"""
