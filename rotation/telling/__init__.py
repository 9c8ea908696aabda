"""The log events and announcements of a rotation, and their recipients."""
