"""Pure functions from data to pictures: text, SVG, HTML."""
