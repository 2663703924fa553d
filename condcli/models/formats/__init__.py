"""A file or folder becomes what was saved in it, or is refused by what it is."""
