"""Other people's images as a store: `open_source` finds them, `survey` judges them, `orders` writes them."""
