"""Sole importer of kubernetes: the few objects that a rotation reads and changes.

Everything here needs just the verbs of infra/kubernetes/rbac.yaml. Errors take over status, reason
and field names from the API server, and not its messages: those can quote what was sent.
"""
