"""What is stored, how it is read, hashed and verified; `pages` is the kit of all HTML. Needs no torch."""
