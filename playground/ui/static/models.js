// The tab Models: a row a card, and a box that adds one. The server says what there is and does what is asked; here it is shown.
(() => {
  const { $ } = playground.helpers;
  const SILENT = "The page's server does not answer. Check the connection and try again.";
  const PULSE_MS = 10_000; // how often the server is asked whether it is still there, while an answer is due
  const QUIET_MS = 30_000; // a download tells of itself ten times a second
  const STOPPING_MS = 700; // until the server has surely heard of Stop
  const PLACES = { bundled: "bundled", folder: "folder", cached: "cached", hub: "on the Hub", nowhere: "not trained yet" };
  const DOING = { load: "Loading…", unload: "Unloading…", forget: "Forgetting…", take: "Opening…", look: "Looking…" };
  const DONE = { load: "is in memory", unload: "is no longer in memory", forget: "is forgotten" };

  const make = (tag, name = "", words = "", more = {}) => Object.assign(document.createElement(tag), { className: name, textContent: words, ...more });
  const button = (name, words) => make("button", `lp-button ${name}`, words, { type: "button" });
  const link = ({ words, href }) => make("a", "", words, { href, target: "_blank", rel: "noreferrer" });
  const wait = (button, is) => { button.ariaDisabled = String(is); }; // not disabled: it would lose the focus
  const press = (button, what) => button.addEventListener("click", () => { if (button.ariaDisabled !== "true") what(); });
  const only = (element, shown) => { element.hidden = !shown; };

  const UNITS = [[1e9, "GB"], [1e6, "MB"], [1e3, "kB"]];
  const size = (bytes, like = bytes) => { // 12.3 MB; in the unit of another size when it is part of that
    const [unit, name] = UNITS.find(([unit]) => like >= unit) ?? UNITS[2], value = bytes / unit;
    return `${value.toLocaleString("en", { maximumFractionDigits: like / unit < 100 ? 1 : 0, minimumFractionDigits: like / unit < 100 ? 1 : 0 })} ${name}`;
  };
  const many = (count) => count >= 1e6 ? `${(count / 1e6).toFixed(1)} M parameters` : `${Math.round(count / 1e3)} k parameters`;

  // ---- what was found of a model, and its download: in the box, or in the row of a card ------------------------------
  // Its states: empty, looking, refused, found, fetching, stopping, adding, added.
  class Find {
    constructor(models, root, row = null) {
      Object.assign(this, { models, root, row });
      this.words = make("p", "lp-find-words");
      this.title = make("p", "lp-find-title");
      this.facts = make("p", "lp-find-facts");
      this.need = make("p", "lp-find-need");
      this.note = make("p", "lp-find-note");
      this.bar = make("div", "lp-bar", "", { role: "progressbar", ariaLabel: "Download", ariaValueMin: "0", ariaValueMax: "100" });
      this.bar.append(make("i"));
      this.go = button("lp-find-go", "");
      this.away = button("lp-find-away", "Cancel");
      this.amount = make("span", "lp-find-amount");
      const buttons = make("div", "lp-find-do");
      buttons.append(this.go, this.away, this.amount);
      this.parts = [this.title, this.facts, this.need, this.note, buttons, this.bar];
      root.append(this.words, ...this.parts);
      press(this.go, () => this.state === "added" ? models.open(this.finding.card, this.finding.family, true) : models.fetch(this));
      press(this.away, () => this.state === "fetching" ? models.stop() : this.empty());
      this.empty(false);
    }

    turn(state, words = "") {
      this.state = this.root.dataset.state = state;
      const shown = !["empty", "looking", "refused"].includes(state), busy = ["fetching", "stopping", "adding"].includes(state);
      this.words.textContent = words;
      only(this.words, !shown);
      for (const part of this.parts) only(part, shown);
      only(this.note, shown && this.note.textContent !== "");
      if (!shown) return;
      const { missing, fits } = this.finding;
      this.go.textContent = busy ? (missing ? "Fetching…" : "Adding…") : state === "added" ? "Open" : missing ? "Fetch and add" : "Add";
      this.away.textContent = state === "fetching" ? "Stop" : "Cancel";
      only(this.away, state !== "added");
      wait(this.away, state === "stopping" || state === "adding");
      wait(this.go, busy || (!fits && state !== "added"));
      if (!busy) { this.tell(words); this.progress(0, 0); }
    }

    tell(words, isError = false) {
      this.amount.textContent = words;
      this.amount.classList.toggle("lp-error", isError);
      if (words) this.models.say(words);
    }

    empty(back = true) {
      if (back && this.row) this.row.main.focus();
      if (back && !this.row) $(this.models.element, "input").focus();
      this.note.textContent = "";
      this.turn("empty", this.row ? "" : "What it is, how large, and what must be fetched is said here first.");
    }

    look(text) {
      if (this.models.fetching === this) return;
      this.turn("looking", DOING.look);
      this.models.look(this, text);
    }

    found(finding) {
      this.finding = { ...finding };
      const { glyph, title, kind, parameters, bytes, missing, free, fits, licence, note, source, colour } = finding;
      this.root.style.setProperty("--lp-family", colour);
      this.title.replaceChildren(make("i", "", glyph, { ariaHidden: "true" }), ` ${title}`);
      const facts = [kind, parameters && many(parameters), size(bytes), licence && `licence ${licence}`].filter(Boolean).join(" · ");
      this.facts.replaceChildren(facts, ...(source ? [" · ", link(source)] : []));
      const room = fits ? "are free on the disk" : "are free on the disk: that is too little";
      this.need.textContent = missing ? `${size(missing)} must be fetched · ${size(free)} ${room}` : "Nothing must be fetched.";
      this.need.classList.toggle("lp-error", !fits);
      this.note.textContent = note;
      this.models.say(`Found: ${title}. ${this.need.textContent} ${note}`);
      if (finding.offered && !missing) return this.added(finding.card);
      this.turn("found");
      if (this.row) this.go.focus();
    }

    added(card) {
      Object.assign(this.finding, { card, missing: 0 });
      this.need.textContent = "Nothing must be fetched.";
      this.turn("added", "It is in the list.");
    }

    refused(words) { this.turn("refused", words); this.models.say(words); }

    progress(done, total) {
      const share = total ? done / total : 0;
      this.bar.firstChild.style.width = `${100 * share}%`;
      this.bar.ariaValueNow = String(Math.round(100 * share));
      this.bar.ariaValueText = total ? `${size(done, total)} of ${size(total)}` : "not started";
      if (total) this.amount.textContent = this.bar.ariaValueText;
      const quarter = Math.floor(4 * share);
      if (quarter > (this.quarter ?? 0) && quarter < 4) this.models.say(`${25 * quarter} % fetched`); // not every tick is spoken
      this.quarter = quarter;
    }
  }

  // ---- a row: its parts stay, so that the focus does --------------------------------------------------------------
  class Row {
    constructor(models, key) {
      Object.assign(this, { models, key });
      this.root = make("li", "lp-model");
      this.glyph = make("i", "lp-model-glyph", "", { ariaHidden: "true" });
      this.title = make("h3", "lp-model-title");
      this.about = make("p", "lp-model-about");
      this.small = make("p", "lp-model-small");
      this.size = make("span", "lp-model-size");
      this.figures = make("span", "lp-model-figures");
      this.place = make("span", "lp-model-place");
      this.memory = make("span", "lp-model-memory", "in memory");
      this.main = button("lp-model-main", "Open");
      this.load = button("lp-model-load", "Load");
      this.forget = button("lp-model-forget", "Forget");
      this.said = make("p", "lp-model-said lp-error");
      const name = make("div", "lp-model-name"), data = make("div", "lp-model-data"), where = make("span", "lp-model-where"), buttons = make("div", "lp-model-do");
      name.append(this.title, this.about, this.small);
      where.append(this.place, this.memory);
      data.append(this.size, this.figures, where);
      buttons.append(this.load, this.main, this.forget);
      this.below = make("div", "lp-find");
      this.root.append(this.glyph, name, data, buttons, this.said, this.below);
      this.find = new Find(models, this.below, this);
      this.bind();
    }

    bind() {
      press(this.main, () => this.told.can.includes("fetch") ? this.find.look(this.key) : this.models.open(this.told.card, this.told.group, this.told.offered, this));
      press(this.load, () => this.models.act(this.told.loaded ? "unload" : "load", this.told.card, this));
      press(this.forget, () => { if (this.armed) { this.arm(false); this.models.act("forget", this.told.card, this); } else this.arm(true); });
      this.forget.addEventListener("blur", () => this.arm(false));
      this.forget.addEventListener("keydown", (event) => { if (event.key === "Escape") this.arm(false); });
    }

    arm(armed) { // Forget asks once
      this.armed = armed;
      this.forget.classList.toggle("lp-armed", armed);
      this.label();
    }

    update(row, group) {
      this.told = row;
      this.root.style.setProperty("--lp-family", group.colour);
      this.glyph.textContent = group.glyph;
      this.title.textContent = row.title;
      this.about.textContent = row.about;
      only(this.about, row.about);
      const parts = [row.licence && `licence ${row.licence}`, row.paper && link(row.paper), row.source && link(row.source)].filter(Boolean);
      this.small.replaceChildren(...parts.flatMap((part, index) => index ? [" · ", part] : [part]));
      this.size.textContent = row.bytes === null ? "" : size(row.bytes);
      this.figures.replaceChildren(...row.figures.map((words) => make("span", "", words)));
      this.place.textContent = PLACES[row.place];
      this.place.dataset.place = row.place;
      only(this.memory, row.loaded);
      only(this.main, row.can.includes("open") || row.can.includes("fetch"));
      only(this.load, row.can.includes("load") || row.can.includes("unload"));
      only(this.forget, row.can.includes("forget"));
      if (!row.can.includes("fetch") && this.find.state !== "empty") this.find.empty(this.below.contains(document.activeElement));
      this.label();
    }

    label() {
      const { told: row, doing } = this;
      const words = {
        main: doing === "take" ? DOING.take : row.can.includes("fetch") ? "Fetch…" : "Open",
        load: ["load", "unload"].includes(doing) ? DOING[doing] : row.loaded ? "Unload" : "Load",
        forget: doing === "forget" ? DOING.forget : this.armed ? `Really forget? ${size(row.bytes)}` : "Forget",
      };
      for (const [name, text] of Object.entries(words)) {
        this[name].textContent = text;
        this[name].ariaLabel = `${text}: ${row.title}`;
        wait(this[name], Boolean(doing));
      }
    }

    start(doing) { this.doing = doing; this.said.textContent = ""; this.label(); }
    end(error) { this.doing = null; this.said.textContent = error ?? ""; this.label(); }
  }

  class Models {
    constructor(element, props, fire, watch) {
      Object.assign(this, { element, props, fire, rows: new Map(), lists: new Map(), wishes: [], tickets: 0, due: {} });
      this.live = $(element, "[role=status]");
      this.list = $(element, ".lp-models-list");
      this.box = new Find(this, $(element, ".lp-models-add > .lp-find"));
      this.ask();
      for (const group of props.groups) this.group(group);
      watch("value", () => this.show(props.value));
      watch(["finding", "progress", "said"], () => this.heard()); // of one answer the list comes first
    }

    say(words) { this.live.textContent = words; }

    ask() {
      const { policy, asks, fits } = this.props, input = $(this.element, "input");
      $(this.element, ".lp-models-policy").textContent = policy;
      $(this.element, "#lp-models-asks").textContent = asks;
      $(this.element, ".lp-models-fits ul").replaceChildren(...fits.map((words) => make("li", "", words)));
      only($(this.element, ".lp-models-add"), asks);
      $(this.element, "form").addEventListener("submit", (event) => {
        event.preventDefault();
        this.box.look(input.value);
      });
    }

    group(group) {
      const root = make("section", "lp-models-group"), head = make("h2", "lp-models-head"), list = make("ul");
      if (group.glyph) head.append(make("i", "", group.glyph, { ariaHidden: "true" }));
      head.append(group.title);
      root.style.setProperty("--lp-family", group.colour);
      root.append(head, list);
      this.lists.set(group.name, { root, list, group });
      this.list.append(root);
    }

    // -- asking: every question has a ticket, and what is answered without the one that is due comes too late ------------
    question(kind, name, about) {
      this.due[kind] = { ticket: ++this.tickets, since: performance.now() };
      this.fire(name, { ticket: this.tickets, ...about });
      this.beat ||= setInterval(() => this.pulse(), PULSE_MS);
    }

    answer(kind, answer, last = true) { // the answer that is due, with what had been asked
      if (!answer || answer.ticket !== this.due[kind]?.ticket) return false;
      if (last) this.settle(kind); else this.due[kind].since = performance.now();
      return true;
    }

    settle(kind) {
      delete this.due[kind];
      if (!Object.keys(this.due).length) { clearInterval(this.beat); this.beat = null; }
    }

    async pulse() {
      const quiet = this.due.progress && performance.now() - this.due.progress.since > QUIET_MS && this.begun;
      try { if (!quiet) return void await fetch(location.pathname, { method: "HEAD" }); } catch { /* said below */ }
      const due = Object.keys(this.due);
      for (const kind of due) this.settle(kind);
      if (due.includes("finding")) this.looking.refused(SILENT);
      if (due.includes("progress")) this.failed(SILENT);
      if (due.includes("said")) this.acted(SILENT);
    }

    heard() {
      const { finding, progress, said } = this.props, over = Boolean(progress?.error || progress?.card);
      if (this.answer("finding", finding)) finding.error ? this.looking.refused(finding.error) : this.looking.found(finding);
      if (this.answer("progress", progress, over)) this.fetched(progress);
      else if (progress?.ticket && progress.ticket === this.unwanted) { this.unwanted = null; if (!over) this.fire("stop"); }
      if (this.answer("said", said)) this.acted(said.error);
    }

    // -- the list -----------------------------------------------------------------------------------------------------
    show({ rows, memory, free }) {
      const kept = new Set(rows.map((row) => row.key));
      for (const [key, row] of this.rows) if (!kept.has(key)) this.drop(key, row);
      for (const [name, { root, list, group }] of this.lists) {
        const own = rows.filter((row) => row.group === name).map((row) => this.row(row, group));
        own.forEach(({ root }, index) => { if (list.children[index] !== root) list.insertBefore(root, list.children[index] ?? null); });
        only(root, own.length);
      }
      const models = memory.count ? `${memory.count} model${memory.count === 1 ? "" : "s"}, ${size(memory.bytes)} of ${size(memory.most)}` : "nothing yet";
      $(this.element, ".lp-models-room").textContent = `In memory: ${models}. Free on the disk: ${size(free)}.`;
    }

    row(told, group) {
      const row = this.rows.get(told.key) ?? new Row(this, told.key);
      this.rows.set(told.key, row);
      row.update(told, group);
      return row;
    }

    drop(key, row) {
      if (row.root.contains(document.activeElement)) this.list.focus({ preventScroll: true });
      row.root.remove();
      this.rows.delete(key);
    }

    // -- looking and fetching -----------------------------------------------------------------------------------------
    look(find, text) {
      if (this.looking?.state === "looking" && this.looking !== find) this.looking.empty(false);
      this.looking = find;
      this.question("finding", "look", { text });
    }

    fetch(find) {
      if (this.fetching) return find.tell("One download at a time: stop the other, or wait for it.");
      Object.assign(this, { fetching: find, begun: false });
      find.turn(find.finding.missing ? "fetching" : "adding");
      find.tell("Starting…");
      this.question("progress", "fetch", { card: find.finding.card });
    }

    fetched({ error, card, done, total }) {
      const find = this.fetching;
      this.begun = true;
      if (error) return this.failed(error);
      find.progress(done, total);
      if (!card) return;
      find.turn("adding");
      this.act("take", card, null, (error) => {
        this.fetching = null;
        if (error) return this.failed(error, find);
        if (find.row) this.say(`${find.finding.title} is here.`); // and its row says so
        else find.added(card);
      });
    }

    failed(error, find = this.fetching) {
      this.fetching = null;
      find.turn("found");
      find.tell(error, true);
    }

    stop() {
      const find = this.fetching, { ticket } = this.due.progress;
      this.settle("progress");
      if (this.begun) this.fire("stop");
      else this.unwanted = ticket; // what has not begun cannot be cancelled yet
      find.turn("stopping");
      find.tell("Stopping…");
      setTimeout(() => { this.fetching = null; find.turn("found", "Stopped. Whole files are kept."); }, STOPPING_MS);
    }

    // -- what the buttons of rows do, one after the other ---------------------------------------------------------------
    act(what, card, row, then = null) {
      row?.start(what);
      this.wishes.push({ what, card, row, then });
      if (this.wishes.length === 1) this.wish();
    }

    wish() {
      const { what, card } = this.wishes[0];
      this.question("said", "act", { what, card });
    }

    acted(error) {
      const { what, row, then } = this.wishes.shift();
      row?.end(error);
      if (row && error) this.say(error);
      else if (row && DONE[what]) this.say(`${row.told.title} ${DONE[what]}.`);
      then?.(error);
      if (this.wishes.length) this.wish();
    }

    open(card, family, offered, row) { // a card that no tab offers yet is added to this visit first
      if (!offered) return this.act("take", card, row, (error) => { if (!error) this.open(card, family, true); });
      document.getElementById(`tab-${family}-button`)?.click();
      setTimeout(() => playground.shown(""), 100); // once it is chosen, the row of tabs slides to it
      this.fire("open", card);
    }
  }

  playground.mountModels = (element, props, fire, watch) => (playground.models = new Models(element, props, fire, watch));
})();
