"""What a page says of the state of a store, in words that are written as they should be."""

import re
from pathlib import Path

from flows.generate import Order
from storage.page import write_page
from storage.upkeep.verification import record
from storage.verify import verify


def test_months_keep_their_capital(store: Order, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    assert "<b>Not verified.</b>" in write_page(store.root, page).read_text()
    record(store.root, verify(store.root))
    said = re.search(r"<b>(.*?)</b>", write_page(store.root, page).read_text().split('id="state"')[1])
    assert said is not None
    assert re.fullmatch(r"Verified sound on \d+ [A-Z][a-z]+ \d{4}\.", said[1])
