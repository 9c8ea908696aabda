"""The data: what was observed, records, wire types, reasons. It imports no other room."""
