"""The adapters: one other system, one module, one client of somebody else's. None knows another.

Their errors take over statuses, codes and known words from the other side, and never its texts.
"""
