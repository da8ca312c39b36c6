"""What an instrument does to an image: one effect, one file."""
