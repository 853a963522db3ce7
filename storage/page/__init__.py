"""One self-contained page about a store, bounded in work and size however large the store is.

`selection` says which rows are looked at, `histograms` counts their columns, `pictures` makes their images,
`provenance` says where the data come from; `content` puts them into a `Page`, which `rendering` turns into
HTML, with `plots` for its drawings and `numbers` for numbers as people write them.
"""

from storage.page.content import describe
from storage.page.rendering import render, write_page

__all__ = ["describe", "render", "write_page"]
