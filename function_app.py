"""The function app. Azure's host finds `app` here; all that it does is in rotation/."""

import os

from rotation.app import build
from rotation.edges.azure import AzureEdges

edges = AzureEdges(os.environ)
edges.report()
app = build(edges)
