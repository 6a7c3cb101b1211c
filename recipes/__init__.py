"""The shipped recipes; installed as kdcompress.recipes, so that their names work anywhere."""
