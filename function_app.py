"""The function app. Azure's host finds `app` here; all that it does is in rotation/."""

import os

from rotation.app import build
from rotation.edges.azure import AzureEdges

app = build(AzureEdges(os.environ))
