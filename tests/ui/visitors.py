"""Two visitors of the page."""

ME, OTHER = "m" * 32, "o" * 32
