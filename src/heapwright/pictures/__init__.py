"""Pure functions from data to pictures: lines of text for a terminal, or SVG."""
