"""The Hugging Face Hub: fetch what a card names, look at any repo, remember which commit it was. Only this package knows its client."""

from playground.hub.download import SPARE_BYTES, Wanted, Watch, digest_of, fetch, free_bytes, resolve
from playground.hub.lock import Lock, Pin
from playground.hub.places import Place, bytes_of, forget, page_of, place_of
from playground.hub.repos import COMMIT, Listing, look, parse_name

__all__ = [
    "COMMIT",
    "SPARE_BYTES",
    "Listing",
    "Lock",
    "Pin",
    "Place",
    "Wanted",
    "Watch",
    "bytes_of",
    "digest_of",
    "fetch",
    "forget",
    "free_bytes",
    "look",
    "page_of",
    "parse_name",
    "place_of",
    "resolve",
]
