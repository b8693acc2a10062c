// The page's own code: live pictures on canvases. Loaded once in <head>; each custom component calls one `mount…` function.
(() => {
  const MAX_IN_FLIGHT = 4; // more only queues on the server; fewer stalls on a slow line
  const CROWDED_MS = 50; // a frame that stood in line for longer on the server: then more in flight only make the line longer
  const WAITING_MS = 3000; // a word on the line that is older than this is no longer true
  const standInLine = (panel, { position, seconds }, shown) => { // told again and again; what is `shown` already is described again afterwards
    const caption = panel.element.querySelector(".lp-caption"), before = position === 1 ? "next" : `${position - 1} before you`;
    clearTimeout(panel.waiting);
    caption.textContent = `In line: ${before}${seconds > 0 ? `, about ${seconds} s` : ""}.`;
    caption.classList.remove("lp-error");
    panel.waiting = setTimeout(() => (shown ? panel.describe() : (caption.textContent = "")), WAITING_MS);
  };
  const SETTLE_MS = 300; // a knob that rests this long is kept: link, PNG, Python
  const CLICK_MS = 50; // what a click has changed rests already; several knobs may follow from one click
  const OWN = location.search.slice(1).split("&").filter((pair) => pair.startsWith("__")); // the page's own, such as __theme
  const LIVE = "playground/live", SOURCE = "playground/source.png", ANIMATION = "playground/animation", PICTURE = "playground/picture.png";

  const playground = (window.playground = { panels: {}, latencies: [] });
  const $ = (root, selector) => root.querySelector(selector);
  const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
  const duration = (ms) => (ms >= 1000 ? `${(ms / 1000).toFixed(1)} s` : `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`);
  const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

  const toQuery = (names, values) => {
    const query = new URLSearchParams();
    names.forEach((name, index) => {
      const value = values[index];
      for (const item of Array.isArray(value) ? value : [value]) if (item !== null && item !== undefined) query.append(name, item);
    });
    return query.toString();
  };

  const say = (text) => { // spoken by screen readers, shown for a moment
    const box = document.getElementById("lp-say") || Object.assign(document.body.appendChild(document.createElement("div")), { id: "lp-say", role: "status" });
    box.textContent = text;
    box.classList.add("lp-on");
    clearTimeout(say.timer);
    say.timer = setTimeout(() => box.classList.remove("lp-on"), 4000);
  };
  playground.say = say;
  playground.bitmap = (url) => { // of a data: URL; `fetch` would go by way of the browser's network, which takes 10 ms
    const bytes = Uint8Array.from(atob(url.slice(url.indexOf(",") + 1)), (letter) => letter.charCodeAt(0));
    return createImageBitmap(new Blob([bytes]));
  };
  const address = (query) => history.replaceState(null, "", `?${[query, ...OWN].join("&")}`); // the page's link is what is looked at

  const play = (panel, count) => { // from the chosen frame to the last, and back, until it is stopped or out of sight
    const button = $(panel.element, ".lp-play"), stop = () => { clearInterval(panel.playing); panel.playing = null; button.textContent = "▶ Play"; };
    if (panel.playing) return stop();
    if (calm()) return say("Motion is switched off on this device; use the scrubber.");
    let way = panel.selected === count - 1 ? -1 : 1;
    button.textContent = "■ Pause";
    panel.playing = setInterval(() => {
      if (!panel.visible) return stop();
      if (panel.selected + way < 0 || panel.selected + way >= count) way = -way;
      panel.select(panel.selected + way);
    }, Math.max(40, 2400 / count));
  };

  const GAP = 2; // pixels of the page between pictures
  const TITLES = "12px system-ui, sans-serif";
  const SMALLEST = 10; // pixels of a name's letters where they have little room
  const LEGIBLE = 40; // pixels of the page that a picture must be wide for its name to be read
  const LINE = 17, BELOW = 5; // and for each line of the name below one, where they have names
  const whole = (across, down, width, height, size, name = 0) => { // the factor that pictures are enlarged by, in device pixels
    const room = Math.min((width - GAP * (across - 1)) / across, (height - GAP * (down - 1)) / down - name);
    const fitting = room * (devicePixelRatio || 1) / size;
    return fitting >= 1 ? Math.floor(fitting) : Math.max(1 / size, fitting); // large pictures are reduced to what there is room for
  };

  let moved = -Infinity; // when something was last dragged, typed or walked with keys
  const move = () => (moved = performance.now());
  addEventListener("input", move, true);
  addEventListener("pointermove", (event) => event.buttons && move(), true);
  addEventListener("keydown", (event) => event.key.startsWith("Arrow") && move(), true);

  // ---- a panel: knobs on one side, pictures on the other ----------------------------------------------------------
  class Panel {
    constructor(element, props, trigger, watch) {
      Object.assign(this, { element, props, trigger, inFlight: 0, sequence: 0, turn: 0, shown: 0, selected: 0, want: null, dirty: false, slow: new Set() });
      this.canvas = $(element, ".lp-stage canvas");
      this.strip = $(element, ".lp-strip canvas");
      this.scrub = $(element, ".lp-scrub");
      this.caption = $(element, ".lp-caption");
      this.bind();
      watch("value", () => this.keep());
      new ResizeObserver(() => this.draw()).observe($(element, ".lp-stage"));
      playground.panels[props.panel] = this;
      if (this.visible) { this.want = { query: props.opening, since: performance.now() }; this.pump(); } // seen before it is kept
      this.settle();
    }

    settle() { this.trigger("settle"); }

    leave() { // what replaces it is on its way
      clearTimeout(this.timer);
      delete playground.panels[this.props.panel];
    }

    bind() {
      this.scrub.addEventListener("input", () => this.select(+this.scrub.value));
      const pick = (event) => { const cell = this.cellAt(event); if (cell >= 0) this.select(cell); };
      this.canvas.addEventListener("pointerdown", pick);
      this.canvas.addEventListener("pointermove", (event) => { if (event.buttons && this.isGrid) pick(event); });
      this.canvas.addEventListener("keydown", (event) => this.arrow(event));
      for (const type of ["pointerdown", "pointermove"])
        this.strip.addEventListener(type, (event) => { if (type === "pointerdown" || event.buttons) this.select(this.stripCell(event)); });
      $(this.element, ".lp-play").addEventListener("click", () => this.play());
      for (const button of this.element.querySelectorAll("[data-save]")) button.addEventListener("click", () => this.save(button.dataset.save));
    }

    // -- live: latest wins ------------------------------------------------------------------------------------------
    push(values) {
      if (this.isLeft(values[0])) { clearTimeout(this.timer); return; }
      const query = toQuery(["task", ...this.props.names], [this.props.task, ...values]), card = this.card;
      this.values = values;
      this.map?.moveTo(values, this.props.names);
      if (this.card !== card) this.picker?.render();
      if (query === this.lastQuery) return;
      this.lastQuery = query;
      this.dirty = true;
      if (!this.visible) { this.late = true; return; } // another task's panel in the same tab: made when it is looked at
      if (!this.slow.has(this.card)) { this.want = { query, since: performance.now() }; this.pump(); }
      this.rest(performance.now() - moved < SETTLE_MS ? SETTLE_MS : CLICK_MS);
    }

    // A model that somebody added has a panel of its own, which is on its way: this one no longer asks anything.
    isLeft(card) { return card !== this.props.card && `${card} ${this.props.card}`.includes("/"); }

    rest(ms) {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => { this.dirty = false; this.settle(); }, ms);
    }

    opened() {
      if (this.late) { this.late = false; this.rest(0); }
      this.address();
    }

    pump() {
      while (this.inFlight < (this.crowded ? 1 : MAX_IN_FLIGHT) && this.want) {
        const { query, since } = this.want, order = ++this.sequence;
        this.want = null;
        this.inFlight++;
        this.ask(query, order, since, this.card).catch(() => order > this.shown && this.complain("The page's server does not answer. Check the connection and move a knob."))
          .finally(() => { this.inFlight--; this.pump(); });
      }
    }

    async ask(query, order, since, card) {
      const answer = await fetch(`${LIVE}?${query}`);
      this.crowded = +answer.headers.get("x-waited") > CROWDED_MS;
      if (answer.status === 204) { this.slow.add(card); return; } // this model takes too many steps: only what is kept is shown
      if (!answer.ok) {
        if (order <= this.shown) return;
        this.shown = order;
        if (answer.status === 400 && query === this.lastQuery) clearTimeout(this.timer); // no such request; what was kept stays
        this.complain(await answer.text());
        return;
      }
      const about = JSON.parse(decodeURIComponent(answer.headers.get("x-sheet")));
      const bitmap = await createImageBitmap(await answer.blob());
      if (order <= this.shown) return;
      this.shown = order;
      this.show(bitmap, about);
      playground.latencies.push(performance.now() - since);
    }

    // -- kept: the recipe, the link, the PNG ------------------------------------------------------------------------
    async keep() {
      const value = this.props.value;
      if (value?.waiting && !this.dirty) return standInLine(this, value.waiting, this.about);
      if (!value?.png || this.dirty) return;
      clearTimeout(this.waiting);
      const done = value.about.progress >= 1, turn = ++this.turn;
      $(this.element, ".lp-bar i").style.width = done ? "0" : `${100 * value.about.progress}%`;
      const bitmap = await playground.bitmap(value.png);
      if (this.dirty || turn !== this.turn) return; // the knobs moved on, or a later answer was quicker
      this.kept = value;
      this.slow[value.live ? "delete" : "add"](value.card); // its knobs say how many passes it takes
      this.values = this.props.names.map((name) => value.values[name]);
      this.show(bitmap, value.about);
      if (!done) return;
      $(this.element, ".lp-python").textContent = value.python;
      if (this.visible) this.address();
    }

    get visible() { return this.element.offsetParent !== null; }
    get card() { return this.values?.[0] ?? this.props.card; } // which model the tab has chosen
    address() { if (this.kept) address(this.kept.query); }
    complain(text) { this.caption.textContent = text; this.caption.classList.add("lp-error"); }

    // -- drawing ----------------------------------------------------------------------------------------------------
    show(bitmap, about) {
      Object.assign(this, { bitmap, about });
      if (this.fresh !== about.count) { // a new number of pictures: a film opens on its middle
        this.fresh = about.count;
        this.selected = this.isGrid ? 0 : this.places >> 1;
      }
      this.selected = clamp(this.selected, 0, this.places - 1);
      this.element.firstElementChild.classList.toggle("lp-is-grid", this.isGrid);
      this.element.firstElementChild.classList.toggle("lp-is-wide", !this.isGrid && about.group > 3);
      this.scrub.max = this.places - 1;
      this.scrub.value = this.selected;
      this.draw();
      this.describe();
    }

    get isGrid() { return this.props.view !== "film" || (this.about && this.about.count > this.about.columns * this.about.group); }
    get places() { return this.isGrid || this.about.group === 1 ? this.about.count : this.about.columns; } // what can be selected
    get frame() { return [...Array(this.about.group).keys()].map((row) => this.selected + row * this.about.columns); } // a film's pictures at once

    // As many columns as make the pictures largest, and of those the ones with most room for names; a square of four ends keeps its own.
    columns(width, height) {
      const { size, count, columns } = this.about;
      if (!this.isGrid) return this.about.group;
      if (this.props.view === "film" || this.props.view === "map" || this.about.group > 1 || this.isTable) return columns; // their rows mean something
      const longest = this.name && this.longest(this.about.labels) * SMALLEST / 12;
      const worth = (across) => [whole(across, Math.ceil(count / across), width, height, size, this.name), Math.min(longest, width / across)];
      const better = ([factor, room], [other, rest]) => factor > other || (factor === other && room > rest);
      return [...Array(count).keys()].reduce((best, index) => (better(worth(index + 1), worth(best)) ? index + 1 : best), columns);
    }

    draw() {
      if (!this.bitmap) return;
      const { size, count } = this.about, stage = $(this.element, ".lp-stage");
      const cells = this.isGrid ? [...Array(count).keys()] : this.frame;
      this.unnamed = false;
      this.across = this.columns(stage.clientWidth, stage.clientHeight);
      if (this.name && this.isGrid && this.about.group === 1 && this.side(count, stage) < LEGIBLE) { // a name that cannot be read only takes room
        this.unnamed = true;
        this.across = this.columns(stage.clientWidth, stage.clientHeight);
      }
      const down = Math.ceil(cells.length / this.across);
      this.cell = this.paint(this.canvas, cells, this.across, down, stage.clientWidth, stage.clientHeight, size);
      if (!this.isGrid) {
        const { places } = this, rows = count / places;
        const fitting = $(this.element, ".lp-strip").clientWidth / (places * (size + 2));
        const factor = fitting >= 1 ? Math.min(3 - (rows > 1) - (rows > 3), Math.floor(fitting)) : fitting;
        this.stripCellWidth = this.paint(this.strip, [...Array(count).keys()], places, rows, places * (size * factor + 2), rows * (size * factor + 2), size);
      }
    }

    side(count, stage) { // of a picture, in pixels of the page
      return this.about.size * whole(this.across, Math.ceil(count / this.across), stage.clientWidth, stage.clientHeight, this.about.size, this.name) / (devicePixelRatio || 1);
    }

    paint(canvas, cells, across, down, width, height, size) {
      const named = canvas === this.canvas ? this.name : 0, ratio = devicePixelRatio || 1;
      const [left, top] = canvas === this.canvas ? (this.margins = this.titles(canvas)) : [0, 0];
      const factor = whole(across, down, width - left, height - top, size, named), cell = Math.max(1, Math.round(size * factor)), gap = cells.length > 1 ? Math.round(GAP * ratio) : 0, pitch = cell + gap + Math.round(named * ratio);
      const aside = named && !this.isTitled && !this.isTable ? this.aside(cell, Math.floor((width * ratio) / across), ratio) : 0, space = gap + 2 * aside;
      const own = across * (cell + space) - gap + left * ratio;
      canvas.width = named && this.isTitled ? clamp(this.longest(this.titled) * ratio, own, Math.max(own, (width - 24) * ratio)) : own;
      canvas.height = down * pitch - gap + top * ratio;
      canvas.style.width = `${canvas.width / ratio}px`;
      canvas.style.height = `${canvas.height / ratio}px`;
      const context = canvas.getContext("2d");
      context.imageSmoothingEnabled = factor < 1; // crisp when enlarged, smooth when reduced
      context.imageSmoothingQuality = "high";
      cells.forEach((index, place) => {
        const x = (place % across) * (cell + space) + left * ratio + aside, y = Math.floor(place / across) * pitch + top * ratio;
        context.drawImage(this.bitmap, (index % this.about.columns) * size, Math.floor(index / this.about.columns) * size, size, size, x, y, cell, cell);
        if (named) this.write(context, index, x, y + cell, cell, this.isTitled ? canvas.width : cell + 2 * aside - 4 * ratio, ratio);
        if (index % this.places === this.selected && cells.length > 1 && (canvas === this.strip || (this.touched && this.isGrid))) {
          context.strokeStyle = "#fff"; context.lineWidth = 4 * ratio; context.strokeRect(x + ratio, y + ratio, cell - 2 * ratio, cell - 2 * ratio);
          context.strokeStyle = getComputedStyle(this.element).getPropertyValue("--lp-accent"); context.lineWidth = 2 * ratio; context.strokeRect(x + ratio, y + ratio, cell - 2 * ratio, cell - 2 * ratio);
        }
      });
      if (canvas === this.canvas) { this.pitch = pitch / ratio; this.entitle(context, cell, cell + space, pitch, ratio); }
      return (cell + space) / ratio;
    }

    // A table: what its columns are stands above them, what its rows are beside them.
    get isTable() { return this.isGrid && this.about.heads.length + this.about.sides.length > 0; }
    titles(canvas) { // how much room they take on the left and above, in pixels of the page
      if (!this.isTable) return [0, 0];
      const context = canvas.getContext("2d"), { heads, sides } = this.about;
      context.font = TITLES;
      return [sides.length ? 10 + Math.ceil(Math.max(...sides.map((side) => context.measureText(side).width))) : 0, heads.length ? LINE + BELOW : 0];
    }
    entitle(context, cell, across, down, ratio) {
      if (!this.isTable) return;
      const [left, top] = this.margins.map((margin) => margin * ratio), { heads, sides } = this.about;
      Object.assign(context, { font: TITLES.replace("12", 12 * ratio), fillStyle: "#d4d4d8", textAlign: "center" });
      heads.forEach((head, column) => context.fillText(head, left + column * across + cell / 2, top - (BELOW + 2) * ratio, cell));
      context.textAlign = "right";
      sides.forEach((side, row) => context.fillText(side, left - 10 * ratio, top + row * down + cell / 2 + 4 * ratio));
    }

    get name() { return this.about.named && !this.unnamed ? BELOW + LINE * Math.max(...this.about.labels.map((label) => label.split("\n").length)) : 0; }
    get isTitled() { return this.isGrid && this.about.group > 1; } // rows of a kind: one name each
    get titled() { return this.about.labels.filter((_, index) => index % this.about.columns === 0); }
    longest(labels) { // line of a name, in pixels of the page
      const context = this.canvas.getContext("2d");
      context.font = TITLES;
      return Math.ceil(Math.max(...labels.flatMap((label) => label.split("\n")).map((line) => context.measureText(line).width)));
    }
    aside(cell, pitch, ratio) { // device pixels on either side of a picture, so that the longest name has room where there is any
      const wanted = Math.min((this.longest(this.about.labels) + 6) * ratio, pitch - Math.round(GAP * ratio));
      return Math.max(0, Math.floor((wanted - cell) / 2));
    }
    write(context, index, left, below, cell, room, ratio) { // a name below its picture, or a title below its row, cut to fit
      const { labels, columns } = this.about, titled = this.isTitled;
      if (titled && index % columns) return;
      context.textAlign = titled ? "left" : "center";
      context.fillStyle = "#d4d4d8";
      (labels[index] || "").split("\n").forEach((line, row) => {
        let shown = line;
        context.font = `${12 * ratio}px system-ui, sans-serif`; // smaller where that makes it fit, cut where not
        context.font = `${ratio * clamp(12 * room / context.measureText(line).width, SMALLEST, 12)}px system-ui, sans-serif`;
        while (shown.length > 2 && context.measureText(shown).width > room) shown = `${shown.slice(0, -2)}…`;
        context.fillText(shown, titled ? left : left + cell / 2, below + (LINE * (row + 1) - 2) * ratio);
      });
    }

    describe() {
      const { count, facts, ms, named, says } = this.about, labels = this.about.labels.map((label) => label.replaceAll("\n", " · "));
      const label = labels[this.selected] || "";
      const words = this.isGrid && !this.touched ? (named ? (this.unnamed ? ["tap a picture for its name"] : []) : [`${count} picture${count > 1 ? "s" : ""}`]) : [`${label}`];
      $(this.element, ".lp-answer").textContent = says;
      this.caption.classList.remove("lp-error");
      this.caption.textContent = [...words, ...facts, duration(ms)].join("  ·  ");
      const shown = named ? (this.isGrid ? labels : this.frame.map((index) => labels[index])).join(", ") : label;
      this.canvas.setAttribute("aria-label", `${this.props.title}: ${this.isGrid && !named ? `${count} pictures, ${label} selected` : shown}`);
      this.scrub.setAttribute("aria-valuetext", label);
    }

    select(index) {
      if (!this.about) return;
      this.selected = clamp(index, 0, this.places - 1);
      this.touched = true;
      this.scrub.value = this.selected;
      this.draw();
      this.describe();
    }

    cellAt(event) {
      if (!this.about || !this.isGrid) return -1;
      const box = this.canvas.getBoundingClientRect();
      const [left, top] = this.margins;
      const column = Math.floor((event.clientX - box.left - left) / this.cell), row = Math.floor((event.clientY - box.top - top) / this.pitch);
      return clamp(column, 0, this.across - 1) + Math.max(0, row) * this.across;
    }
    stripCell(event) { return Math.floor((event.clientX - this.strip.getBoundingClientRect().left) / this.stripCellWidth); }

    arrow(event) {
      const columns = this.across;
      const move = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[event.key];
      if (move === undefined || !this.about) return;
      event.preventDefault();
      this.select(this.selected + move);
    }

    play() { play(this, this.places); }

    // -- taking it away ---------------------------------------------------------------------------------------------
    save(what) {
      const kept = this.kept;
      if (!kept) return say("Nothing has been made yet.");
      const name = `${kept.card.replace(/[^\w.-]+/g, "-")}-${this.props.task}`;
      if (what === "png") return download(kept.png, `${name}.png`);
      if (what === "large") return fetched(`${PICTURE}?scale=8&${kept.query}`, `${name}-large.png`);
      if (what === "cell") return kept.cells[this.selected] ? fetched(`${PICTURE}?scale=1&${kept.cells[this.selected]}`, `${name}-${this.selected + 1}.png`) : say("This picture has no latent of its own; save the sheet.");
      if (what === "link") return copy(location.href.split("?")[0] + `?${kept.query}`, "Link copied.");
      if (what === "python") return copy(kept.python, "Python copied.");
      return fetched(`${ANIMATION}?format=${what}&${kept.query}`, `${name}.${what}`);
    }
  }

  const download = (url, name) => Object.assign(document.createElement("a"), { href: url, download: name }).click();
  const fetched = async (url, name) => { // made by the server first, which may take a moment or be refused
    say(`${name} is being made…`);
    try {
      const answer = await fetch(url);
      if (!answer.ok) return say(await answer.text());
      const made = URL.createObjectURL(await answer.blob());
      download(made, name);
      setTimeout(() => URL.revokeObjectURL(made), 60_000);
      say(`${name} is ready.`);
    } catch { say(`${name} could not be fetched. Check the connection and try again.`); }
  };
  const copy = async (text, done) => {
    try { await navigator.clipboard.writeText(text); say(done); }
    catch { say("The browser does not allow copying here; open Python below and copy by hand."); }
  };

  playground.mount = (element, props, trigger, watch) => new Panel(element, props, trigger, watch);
  playground.push = (panel, values) => playground.panels[panel]?.push(values);
  playground.shown = (panel) => setTimeout(() => { // once the tab is open
    playground.panels[panel]?.opened();
    for (const tab of document.querySelectorAll('#families [role="tab"].selected')) // on a phone their row slides
      tab.parentElement.scrollLeft = tab.offsetLeft - (tab.parentElement.clientWidth - tab.offsetWidth) / 2;
  }, 0);
  playground.sourceUrl = (card, latent) => `${SOURCE}?${new URLSearchParams({ card, latent })}`;
  playground.helpers = { standInLine, $, say, clamp, copy, fetched, address, play };
})();
