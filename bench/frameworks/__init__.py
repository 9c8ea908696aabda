"""Applications in the frameworks that people use, rotated as they are and with docs/applications.md's
recipes; `catalogue.py` lists them.

Their sources are in the folders here; what is built of them goes to `.frameworks/`.
"""
