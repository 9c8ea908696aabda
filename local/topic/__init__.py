"""An Event Grid custom topic, and the inbox of the mails that its events would send."""
