"""What the steps need of other systems: protocols, whose arguments are targets.

Each contract says of its verbs when a repeat is harmless and what they raise. All may raise
`Unavailable` (worth a retry) and `Denied`. What only reads is a protocol of its own; what changes a
slot is handed out by `rotation.steps.guards` alone.
"""
