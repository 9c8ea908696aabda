"""`rotctl`: what a running rotation does and waits for, and how to act on it, from a terminal.

A client of the app's HTTP API, in Azure or on the local stack. Of the product it has no code: the
words are in words.json, which `make generated` writes; `check` and `schema` alone use its
`rotation.config`.
"""
