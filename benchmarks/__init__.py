"""How fast and how much: scripts that compare contestants within one run. Nothing imports them."""
