"""For ``jupyter nbconvert --config``: live panels become the still pictures that they carry.

The default puts the live widget first, which a page without a kernel shows as nothing.
"""

c = get_config()  # type: ignore[name-defined]  # noqa: F821  (nbconvert provides it)
c.NbConvertBase.display_data_priority = [
    "text/html",
    "image/svg+xml",
    "image/png",
    "text/markdown",
    "text/latex",
    "text/plain",
]
