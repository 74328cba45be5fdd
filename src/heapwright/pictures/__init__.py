"""Pure functions from data to pictures, which are lines of text for a terminal."""
