"""Self-contained HTML pages: data, style and code are in the file, and it loads nothing.

`web` has what all pages share: the frame of a page, its colours and controls, D3, figures in words, tables, histograms.
"""
