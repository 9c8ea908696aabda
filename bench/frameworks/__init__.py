"""Applications in the frameworks that people use, rotated as they come and with the recipes of
docs/applications.md; `catalogue.py` lists them.

Their sources are in the folders here; what is built of them goes to `.frameworks/`.
"""
