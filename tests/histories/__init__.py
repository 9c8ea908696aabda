"""Histories that instances of each version of the story have, as files, and today's answer to them.

    python -m tests.histories       records those of `rotation.story.version.VERSION`

A folder is named after its version and is never written again: it stands for the rotations that
wait in somebody's task hub.
"""
