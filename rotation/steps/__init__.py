"""The activities: each calls the edges and answers with references.

Each may run twice or be cut off anywhere. A password never leaves the function that needs it.
"""
