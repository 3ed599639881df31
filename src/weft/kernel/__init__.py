"""Floor 4: how graphs become loops, for any target."""
