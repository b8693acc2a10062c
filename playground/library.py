"""The library: every card there is, where its weights are, and any model of the Hub or of a folder that somebody wants beside them."""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path

from playground import hub
from playground.cards import Card, find_card
from playground.engine import Engine
from playground.errors import BadRequest, BadWeights, HubUnreachable
from playground.formats import Files, Found, recognise
from playground.hub import Listing, Lock, Pin, Watch

PULSE_SECONDS = 0.1
MAX_FOLDER_FILES = 2000


@dataclass(frozen=True)
class Finding:
    """A repo or folder that was looked at: its card to be, how large it is, and how much of that must be fetched."""

    card: Card
    bytes: int
    missing: int
    parameters: int = 0
    note: str = ""
    names: tuple[str, ...] = ()
    """The files that it needs."""
    listing: Listing | None = None
    """What lies in its repo, until it is pinned."""
    asked: str = ""
    """The revision that was asked for."""

    def pin(self, files: Mapping[str, str]) -> Pin:
        """It as it was fetched, with the sha256 of each file."""
        card, listing = self.card, self.listing
        assert listing is not None
        return Pin(
            listing.repo, self.asked, listing.commit, card.format, card.family, card.title, files, self.bytes, self.parameters,
            card.defaults, card.license, card.dataset,
        )  # fmt: skip


@dataclass(frozen=True)
class Progress:
    """Of a download, in bytes; `card` once it is done."""

    done: int
    total: int
    card: Card | None = None


class Library:
    """Looks at models and brings them in, for one engine. Everything it refuses, it refuses in a sentence."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.settings = engine, engine.settings
        self.lock = Lock(self.settings.lock_path)

    # -- looking ----------------------------------------------------------------------------------------------------

    def look(self, text: str) -> Finding:
        """What a repo (`owner/name`, `owner/name@revision`, its page's address), a listed card's id, or a folder of this machine holds.

        Raises `BadWeights` for what does not fit or is not allowed, `HubUnreachable` for a silent Hub without a copy here.
        """
        text = text.strip()
        if not text:
            raise BadWeights("No model was named.", "Write owner/name, as on the repo's page, or the path of a folder.")
        if text.startswith(("/", "./", "../", "~")):
            return self._look_into(Path(text).expanduser())
        listed = (self.engine.cards or {}).get(text)
        repo, revision = (listed.repo, listed.revision) if listed is not None and listed.repo else hub.parse_name(text)
        assert repo is not None
        if not self.engine.may_fetch(repo):
            what = "Fetching from the Hub is switched off here." if self.settings.hub == "off" else f"{repo} is not on this page's list."
            raise BadWeights(what, "Run the page yourself to fetch any repo: PLAYGROUND_HUB=any.")
        return self._look_up(repo, revision or "main")

    def _look_up(self, repo: str, asked: str) -> Finding:
        pin = self.lock.find(repo, asked)
        try:
            if pin is not None and hub.COMMIT.fullmatch(asked):
                return self._pinned(pin)
            listing = hub.look(repo, asked, self.settings.hub_timeout)
        except HubUnreachable:
            if pin is None:
                raise
            return self._pinned(pin, "The Hub did not answer, so nobody knows whether it has changed since.")
        if pin is None:
            return self._listed(listing, asked)
        moved = f"{asked} has moved on to {listing.commit[:12]} since this was pinned. To take that: {repo}@{listing.commit}"
        return self._pinned(pin, "" if listing.commit == pin.commit else moved)

    def _listed(self, listing: Listing, asked: str) -> Finding:
        s = self.settings
        files = Files(listing.repo, listing.sizes, lambda name: listing.read(name, s.hub_timeout, s.hub_retries))
        found = recognise(files)
        self._allow(listing.repo, listing.size_of(found.files))
        card = replace(self._card(f"{listing.repo}@{listing.commit}", found, listing.repo.partition("/")[2]), repo=listing.repo)
        card = self._titled(replace(card, revision=listing.commit, license=listing.license or card.license))
        size, missing = listing.size_of(found.files), listing.missing_bytes(found.files)
        return Finding(card, size, missing, found.parameters, "", found.files, listing, asked)

    def _pinned(self, pin: Pin, note: str = "") -> Finding:
        card = self._titled(pin.card())
        here = hub.bytes_of(card, self.settings.weights_dir)
        return Finding(card, pin.bytes, max(0, pin.bytes - here), pin.parameters, note, tuple(pin.files))

    def _look_into(self, folder: Path) -> Finding:
        if self.settings.visitors != "trusted":
            raise BadWeights("Folders of this machine are not open to visitors.", "Name a repo of the Hub, or run the page yourself.")
        if not folder.is_dir():
            raise BadWeights(f"There is no folder {folder}.", "Give the path of a folder on the machine that runs this page.")
        folder = folder.resolve()
        sizes = _sizes(folder)
        found = recognise(Files(str(folder), sizes, lambda name: (folder / name).read_bytes()))
        hashes = {name: hub.digest_of(folder / name) for name in found.files}
        card = replace(self._card("", found, folder.name), files=hashes, folder=folder)
        name = re.sub(r"[^\w.-]+", "-", folder.name, flags=re.ASCII).strip("-") or "model"
        size = sum(sizes[name] for name in found.files)
        return Finding(replace(card, id=f"./{name}@{card.weights_sha256[:40]}"), size, 0, found.parameters, names=found.files)

    def _allow(self, repo: str, size: int) -> None:
        if size > self.settings.max_fetch_mb * 2**20:
            what = f"{repo} has {size / 2**20:,.0f} MiB, more than the {self.settings.max_fetch_mb:,} that this page fetches."
            raise BadWeights(what, "PLAYGROUND_MAX_FETCH_MB raises the limit.")

    def _card(self, card_id: str, found: Found, name: str) -> Card:
        """What was recognised, as a card; its title is its name and what it is."""
        title = f"{name} · {found.title}"
        return Card(card_id, found.family, title, {}, defaults=found.defaults, format=found.format, dataset=self._dataset(found.classes))

    def _titled(self, card: Card) -> Card:
        """With what the manifest says of its repo."""
        listed = next((each for each in (self.engine.cards or {}).values() if each.repo == card.repo and not each.files), None)
        if listed is None:
            return card
        return replace(
            card, title=listed.title, license=card.license or listed.license, paper=listed.paper, about=listed.about,
            defaults={**card.defaults, **listed.defaults},
        )  # fmt: skip

    def _dataset(self, classes: Sequence[str]) -> str:
        """The data set here whose classes those are; "" when there is none."""
        known = {self.engine.shelf(name).classes: name for name in self.engine.datasets()} if classes else {}
        return known.get(tuple(classes), "")

    # -- bringing in ------------------------------------------------------------------------------------------------

    def adopt(self, finding: Finding) -> Generator[Progress, None, None]:
        """Fetches what is missing, pins it, and lets the engine find it by its id; the last progress has the card.

        Closing it stops the download. Raises what `hub.fetch` raises, and `BadWeights` where the disk is too small.
        """
        card = finding.card
        if finding.missing and finding.missing + hub.SPARE_BYTES > (free := hub.free_bytes()):
            what = f"{card.title} needs {_mb(finding.missing)}, and {_mb(free)} are free on the disk."
            raise BadWeights(what, "Forget a model that was fetched, or set HF_HOME to a larger disk.")
        if finding.listing is not None:
            wanted = finding.listing.wanted(finding.names)
            folder = yield from self._fetched(wanted, finding.missing)
            pin = finding.pin({name: hub.digest_of(folder / name) for name in finding.names})
            self.lock.write(pin)
            card = self._titled(pin.card())
        elif card.repo is not None and card.revision is not None:
            yield from self._fetched(hub.Wanted(card.repo, card.revision, card.files, card.title), finding.missing)
        self.engine.add(card)
        yield Progress(finding.missing, finding.missing, card)

    def bring(self, text: str) -> Card:
        """Looks at a model and adopts it at once. Raises what those two raise."""
        *_, last = self.adopt(self.look(text))
        assert last.card is not None
        return last.card

    def forget(self, card_id: str) -> int:
        """Takes what was fetched of a card from memory and from the disk; returns the bytes that became free.

        Raises `BadRequest` while it is at work, and for weights that were not fetched.
        """
        card = find_card(self.engine.cards or {}, card_id)
        if hub.place_of(card, self.settings.weights_dir) != "cached":
            raise BadRequest(f"{card.title} was not fetched from the Hub.", "Only what was fetched can be forgotten.")
        self.engine.unload(card_id)
        assert card.repo is not None and card.revision is not None
        return hub.forget(card.repo, card.revision)

    def _fetched(self, wanted: hub.Wanted, total: int) -> Generator[Progress, None, Path]:
        """Progress while the download runs beside it; closing this stops that at its next piece."""
        s, watch = self.settings, Watch(total)
        pool = ThreadPoolExecutor(1)
        work = pool.submit(hub.fetch, wanted, timeout=s.hub_timeout, retries=s.hub_retries, watch=watch)
        try:
            while wait([work], PULSE_SECONDS).not_done:
                yield Progress(min(watch.done, total), total)
        finally:
            watch.stopped.set()
            pool.shutdown(wait=False)
        return work.result()


def _sizes(folder: Path) -> dict[str, int]:
    """Every plain file up to three folders deep, with its size in bytes. Raises `BadWeights` for a folder that holds too many."""
    sizes: dict[str, int] = {}
    for path in (path for depth in ("*", "*/*", "*/*/*") for path in folder.glob(depth)):
        if path.is_file() and not path.name.startswith("."):
            sizes[path.relative_to(folder).as_posix()] = path.stat().st_size
        if len(sizes) > MAX_FOLDER_FILES:
            raise BadWeights(f"{folder} holds more than {MAX_FOLDER_FILES:,} files.", "Name the folder of one model.")
    return sizes


def _mb(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"
