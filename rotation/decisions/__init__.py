"""Pure decisions over what was observed. The time is passed in; nothing here waits or calls."""
