"""A Kubernetes API for the kinds in use, with one local process per container.

store     what exists, with its revisions, on disk
registry  what the API server makes of a write: defaults, validation, conflicts, deletion
api       the HTTP surface; patches, fields, watch, rbac, proxy are parts of it
controllers, deployments, ...  move the world towards what was asked for
node      runs pods as processes; services routes TCP to them
"""
