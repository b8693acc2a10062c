// A board: up to six panes on one stage, looked at together. What is chosen, zoomed or moved in one is so in all.
(() => {
  const { standInLine, $, say, clamp, copy, fetched, address, play } = playground.helpers;
  const SETTLE_MS = 250; // knobs that rest this long are asked anew
  const OPEN_MS = 60; // and those of a new board, which all come at once
  const GAP = 1; // between pictures, in their own pixels
  const MOST = 12; // times the fitting size
  const TEXT = 12, MARGIN = 20; // pixels of the page: names of columns and rows
  const ROUTES = { zip: "playground/compare.zip", sheet: "playground/compare.png", animation: "playground/compare-animation", picture: "playground/picture.png" };
  const element = (tag, name, text = "") => Object.assign(document.createElement(tag), { className: name, textContent: text });

  class Board {
    constructor(root, props, settle, stir, watch) {
      Object.assign(this, { element: root, props, stir, inFlight: 0, dirty: false, turn: 0, selected: 0, pane: 0, duo: [0, 1], look: "side", flipped: false });
      Object.assign(this, { wipe: 0.5, zoom: 1, middle: [0.5, 0.5], smooth: false, bitmaps: [], views: [], fingers: new Map() });
      this.settle = () => { this.running = false; this.asked = true; settle(); };
      this.stage = $(root, ".lp-panes");
      this.scrub = $(root, ".lp-scrub");
      this.bind();
      if (innerWidth <= 760) $(root, ".lp-measured").open = false;
      watch("value", () => this.keep());
      new ResizeObserver(() => this.draw()).observe(this.stage);
      playground.panels[props.panel] = this;
      this.rest();
    }

    get rows() { return this.props.rows; }
    get visible() { return this.element.offsetParent !== null; }
    get panes() { return this.value?.panes ?? []; }
    get card() { return this.panes[0]?.card ?? this.props.card; } // whose pictures the picker shows
    get count() { return Math.max(1, ...this.panes.map((pane) => pane.count ?? 0)); }

    // -- asking -----------------------------------------------------------------------------------------------------
    push(values) {
      const now = JSON.stringify(values);
      if (now === this.last) return;
      this.last = now;
      if (this.asked) this.dirty = true; // else these are the values that it opens with
      if (this.running) this.stir(); // what is being made is no longer wanted
      this.running = false;
      this.rest();
    }

    rest() {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => { this.dirty = false; this.settle(); }, this.asked ? SETTLE_MS : OPEN_MS);
    }

    async keep() {
      const value = this.props.value;
      if (value?.waiting && !this.dirty) return standInLine(this, value.waiting, this.value);
      if (!value?.panes || this.dirty) return;
      clearTimeout(this.waiting);
      this.running = value.progress < 1;
      const turn = ++this.turn, before = this.panes;
      const bitmaps = await Promise.all(value.panes.map((pane, index) => pane.png && (pane.png === before[index]?.png ? this.bitmaps[index] : playground.bitmap(pane.png))));
      if (this.dirty || turn !== this.turn) return; // the knobs moved on, or a later answer was quicker
      const done = value.progress >= 1;
      Object.assign(this, { value, bitmaps, kept: { ...value, about: { progress: value.progress } } });
      $(this.element, ".lp-bar i").style.width = done ? "0" : `${100 * value.progress}%`;
      this.selected = clamp(this.selected || (this.rows ? this.count >> 1 : 0), 0, this.count - 1);
      this.scrub.max = this.count - 1;
      this.scrub.value = this.selected;
      this.arrange();
      if (!done) return;
      $(this.element, ".lp-python").textContent = value.python;
      playground.panes = new URLSearchParams(value.query).getAll("pane");
      if (this.visible) this.address();
    }

    opened() { this.address(); this.draw(); }
    address() { if (this.kept?.progress >= 1) address(this.kept.query); }

    // -- what stands where ------------------------------------------------------------------------------------------
    arrange() {
      const names = this.panes.map((pane) => pane.card).join();
      if (names !== this.names) {
        this.names = names;
        this.views = this.panes.map((pane, index) => this.view(pane, index));
        this.duoView = this.view(null, -1);
        this.stage.replaceChildren(...this.views.map((view) => view.root), this.duoView.root);
        this.duo = [0, Math.min(1, this.panes.length - 1)];
        for (const [side, select] of ["a", "b"].map((name) => $(this.element, `.lp-${name}`)).entries()) {
          select.replaceChildren(...this.panes.map((pane, index) => new Option(`${index + 1} · ${pane.title}`, index)));
          select.value = this.duo[side];
        }
      }
      this.pane = clamp(this.pane, 0, this.panes.length - 1);
      this.table();
      this.draw();
      this.describe();
    }

    view(pane, index) {
      const root = element("section", "lp-pane"), head = element("header", "lp-pane-head"), canvas = document.createElement("canvas");
      const title = element("span", "lp-pane-title"), cost = element("span", "lp-pane-cost"), foot = element("p", "lp-pane-foot");
      canvas.setAttribute("role", "img");
      head.append(title, cost);
      root.append(head, canvas, foot);
      if (pane) {
        root.style.setProperty("--lp-family", pane.colour);
        title.append(Object.assign(element("b", "", String(index + 1))), ` ${pane.glyph} ${pane.title}`);
      }
      this.handle(canvas, index);
      return { root, canvas, title, cost, foot, index };
    }

    draw() {
      if (!this.value || !this.stage.clientWidth) return;
      const count = this.panes.length, narrow = this.stage.clientWidth < 560, side = this.look === "side";
      const across = this.rows || count === 1 ? 1 : narrow ? 2 : count === 4 ? 2 : Math.min(3, count);
      this.stage.style.gridTemplateColumns = side ? `repeat(${across}, minmax(0, 1fr))` : "minmax(0, 1fr)";
      this.stage.style.gridTemplateRows = side ? `repeat(${Math.ceil(count / across)}, minmax(0, 1fr))` : "minmax(0, 1fr)";
      for (const view of this.views) view.root.hidden = !side;
      this.duoView.root.hidden = side;
      for (const view of side ? this.views : [this.duoView]) {
        this.tell(view);
        this.paint(view);
      }
    }

    tell(view) { // words of a pane
      const pane = this.panes[view.index];
      if (!pane) {
        const [a, b] = this.duo.map((index) => `${index + 1} ${this.panes[index].glyph} ${this.panes[index].title}`);
        const words = { wipe: `${a}  |  ${b}`, flip: this.flipped ? b : a, difference: `${b} minus ${a}: orange is brighter, blue darker` };
        view.title.textContent = words[this.look] ?? "";
        view.canvas.setAttribute("aria-label", view.title.textContent);
        return;
      }
      const { "Time a picture": each, Time: whole, Passes: passes } = pane.measured, time = each ?? whole, errors = Object.values(pane.errors);
      view.root.classList.toggle("lp-chosen", view.index === this.pane);
      view.cost.textContent = [time, passes && `${passes} pass${passes === "1" ? "" : "es"}`].filter(Boolean).join(" · ");
      const label = pane.labels?.[this.selected] ?? "", failed = errors.length > 0 && !pane.png;
      view.cost.textContent = [this.rows ? pane.tells : "", view.cost.textContent].filter(Boolean).join(" · ");
      view.foot.textContent = failed ? errors[0] : [this.rows ? "" : pane.tells, pane.legend, this.touched ? label : ""].filter(Boolean).join(" · ");
      view.foot.classList.toggle("lp-error", failed || Boolean(this.touched && pane.errors[this.selected]));
      view.canvas.setAttribute("aria-label", `${pane.title}: ${pane.png ? `${pane.count} pictures, ${label || "none"} chosen` : errors[0] ?? "not made yet"}`);
    }

    // -- painting ---------------------------------------------------------------------------------------------------
    paint(view) {
      const { canvas } = view, ratio = devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
      canvas.width = Math.max(1, width * ratio);
      canvas.height = Math.max(1, height * ratio);
      const context = canvas.getContext("2d");
      context.imageSmoothingEnabled = this.smooth;
      context.imageSmoothingQuality = "high";
      const whole = { x: 0, y: 0, width: canvas.width, height: canvas.height };
      if (view.index < 0) return this.paintDuo(context, view, whole, ratio);
      const pane = this.panes[view.index], bitmap = this.bitmaps[view.index];
      if (bitmap) view.places = this.rows ? this.paintRow(context, bitmap, pane, whole, ratio) : this.paintSheet(context, bitmap, pane, whole, ratio);
    }

    // As many columns as make the pictures largest, unless columns mean something; the same in every pane of one size.
    columns(pane, width, height) {
      const { size, count, columns, heads, sides, free } = pane, fit = (across) => Math.min(width / (across * (size + GAP)), height / (Math.ceil(count / across) * (size + GAP)));
      if (!free || heads.length || sides.length) return columns;
      return [...Array(count).keys()].reduce((best, index) => (fit(index + 1) > fit(best) * 1.001 ? index + 1 : best), columns);
    }

    paintSheet(context, bitmap, pane, box, ratio) {
      const { size, count, heads, sides } = pane, pitch = size + GAP;
      context.font = `${TEXT * ratio}px system-ui, sans-serif`;
      const left = sides.length ? Math.max(...sides.map((side) => context.measureText(side).width)) + 8 * ratio : 0, top = heads.length ? MARGIN * ratio : 0;
      const inner = { x: box.x + left, y: box.y + top, width: box.width - left, height: box.height - top };
      const columns = this.columns(pane, inner.width, inner.height), across = columns * pitch - GAP, down = Math.ceil(count / columns) * pitch - GAP;
      const fit = Math.min(inner.width / across, inner.height / down), scale = (fit >= 2 ? Math.floor(fit) : fit) * this.zoom;
      const start = (room, length, middle) => length <= room ? (room - length) / 2 : clamp(room / 2 - middle * length, room - length, 0);
      const x = inner.x + start(inner.width, across * scale, this.middle[0]), y = inner.y + start(inner.height, down * scale, this.middle[1]);
      const cell = (index) => [Math.round(x + (index % columns) * pitch * scale), Math.round(y + Math.floor(index / columns) * pitch * scale)];
      context.save();
      context.beginPath();
      context.rect(inner.x, inner.y, inner.width, inner.height);
      context.clip();
      for (let index = 0; index < count; index++) {
        context.drawImage(bitmap, (index % pane.columns) * size, Math.floor(index / pane.columns) * size, size, size, ...cell(index), Math.round(size * scale), Math.round(size * scale));
        if (pane.errors[index]) this.cross(context, ...cell(index), size * scale, ratio);
      }
      if (this.touched && count > 1 && this.selected < count) this.outline(context, ...cell(this.selected), size * scale, ratio);
      context.restore();
      Object.assign(context, { fillStyle: "#d4d4d8", textAlign: "center", textBaseline: "middle" });
      const every = this.every(context, heads, pitch * scale), room = (every * pitch - GAP) * scale;
      heads.forEach((head, column) => {
        const at = x + (column * pitch + size / 2) * scale;
        if (column % every === 0 && at > inner.x && at < inner.x + inner.width) context.fillText(head, at, y > inner.y ? y - MARGIN / 2 * ratio : box.y + MARGIN / 2 * ratio, room);
      });
      context.textAlign = "right";
      sides.forEach((side, row) => {
        const at = y + (row * pitch + size / 2) * scale;
        if (at > inner.y && at < inner.y + inner.height) context.fillText(side, Math.max(x, inner.x) - 6 * ratio, at);
      });
      return { x, y, pitch: pitch * scale, columns, count, across: across * scale, down: down * scale, room: inner };
    }

    every(context, heads, pitch) { // of numbers that have no room side by side, only so manyth are written, the first and the last always
      const widest = Math.max(...heads.map((head) => context.measureText(`${head} `).width)), last = heads.length - 1;
      if (heads.some((head) => Number.isNaN(+head))) return 1;
      return [...heads.keys()].find((step) => step && last % step === 0 && (step === last || widest <= step * pitch)) ?? 1;
    }

    paintRow(context, bitmap, pane, box, ratio) { // the chosen frame large, then the whole strip
      const { size, count } = pane, pitch = size + GAP;
      const room = Math.min(box.height, box.width / 6), large = room >= size ? Math.floor(room / size) * size : room;
      const begin = large + 12 * ratio, fit = Math.min((box.width - begin) / (count * pitch - GAP), large / size), scale = fit >= 2 ? Math.floor(fit) : fit;
      const y = (box.height - size * scale) / 2;
      const frame = (index, ...to) => context.drawImage(bitmap, (index % pane.columns) * size, Math.floor(index / pane.columns) * size, size, size, ...to.map(Math.round));
      frame(Math.min(this.selected, count - 1), 0, (box.height - large) / 2, large, large);
      for (let index = 0; index < count; index++) frame(index, begin + index * pitch * scale, y, size * scale, size * scale);
      if (this.selected < count) this.outline(context, begin + this.selected * pitch * scale, y, size * scale, ratio);
      return { x: begin, y: 0, pitch: pitch * scale, columns: count, count };
    }

    outline(context, x, y, side, ratio) {
      for (const [colour, width] of [["#fff", 4], [getComputedStyle(this.element).getPropertyValue("--lp-accent"), 2]]) {
        Object.assign(context, { strokeStyle: colour, lineWidth: width * ratio });
        context.strokeRect(x + ratio, y + ratio, side - 2 * ratio, side - 2 * ratio);
      }
    }

    cross(context, x, y, side, ratio) { // a cell that failed
      Object.assign(context, { strokeStyle: "#ff8a80", lineWidth: 2 * ratio });
      context.beginPath();
      for (const [from, to] of [[0.35, 0.65], [0.65, 0.35]]) { context.moveTo(x + from * side, y + 0.35 * side); context.lineTo(x + to * side, y + 0.65 * side); }
      context.stroke();
    }

    // -- two of them on one place -----------------------------------------------------------------------------------
    paintDuo(context, view, box, ratio) {
      const [a, b] = this.duo, draw = (index) => this.bitmaps[index] && this.paintSheet(context, this.bitmaps[index], this.panes[index], box, ratio);
      if (this.look === "difference") {
        if (this.bitmaps[a] && this.bitmaps[b]) view.places = this.paintSheet(context, playground.difference(this.bitmaps, this.panes, a, b), { ...this.panes[a], errors: {} }, box, ratio);
        return;
      }
      if (this.look === "flip") { view.places = draw(this.flipped ? b : a); return; }
      const cut = Math.round(this.wipe * box.width);
      for (const [index, x, width] of [[a, 0, cut], [b, cut, box.width - cut]]) {
        context.save();
        context.beginPath();
        context.rect(x, 0, width, box.height);
        context.clip();
        view.places = draw(index) || view.places;
        context.restore();
      }
      Object.assign(context, { fillStyle: "#fff", strokeStyle: "#101114", lineWidth: ratio });
      context.fillRect(cut - ratio, 0, 2 * ratio, box.height);
      context.beginPath();
      context.arc(cut, box.height / 2, 9 * ratio, 0, 7);
      context.fill();
      context.stroke();
    }

    // -- finger, mouse, keys ----------------------------------------------------------------------------------------
    bind() {
      const on = (name, act) => { for (const button of this.element.querySelectorAll(`[data-${name}]`)) button.addEventListener("click", () => act(button.dataset[name])); };
      on("look", (look) => this.lookAs(look));
      on("zoom", (way) => this.zoomTo(way === "fit" ? 1 : this.zoom * (way === "in" ? 1.5 : 1 / 1.5)));
      on("smooth", () => { this.smooth = !this.smooth; this.pressed("[data-smooth]", () => this.smooth); this.draw(); });
      on("take", (what) => this.take(what));
      for (const [side, name] of ["a", "b"].entries())
        $(this.element, `.lp-${name}`).addEventListener("change", (event) => { this.duo[side] = +event.target.value; this.draw(); });
      this.scrub.addEventListener("input", () => this.select(+this.scrub.value));
      $(this.element, ".lp-play").addEventListener("click", () => this.play());
      this.stage.addEventListener("keydown", (event) => this.key(event));
      this.pressed("[data-look]", (button) => button.dataset.look === this.look);
    }

    pressed(selector, is) { for (const button of this.element.querySelectorAll(selector)) button.setAttribute("aria-pressed", is(button)); }

    lookAs(look) {
      if (this.panes.length < 2) return say("Two panes are needed for that. Add one.");
      this.look = look;
      this.pressed("[data-look]", (button) => button.dataset.look === look);
      $(this.element, ".lp-duo-choice").hidden = look === "side";
      this.draw();
    }

    zoomTo(zoom, middle = this.middle) {
      this.zoom = clamp(zoom, 1, MOST);
      this.middle = this.zoom === 1 ? [0.5, 0.5] : middle.map((at) => clamp(at, 0, 1));
      this.stage.classList.toggle("lp-zoomed", this.zoom > 1);
      this.draw();
    }

    handle(canvas, index) {
      const at = (event) => { const box = canvas.getBoundingClientRect(), ratio = canvas.width / box.width; return [(event.clientX - box.left) * ratio, (event.clientY - box.top) * ratio]; };
      const view = () => index < 0 ? this.duoView : this.views[index];
      canvas.addEventListener("pointerdown", (event) => {
        canvas.setPointerCapture(event.pointerId);
        this.fingers.set(event.pointerId, [event.clientX, event.clientY]);
        Object.assign(this, { moved: 0, spread: this.apart() });
        if (index < 0 && this.look === "wipe") this.wipeTo(at(event)[0] / canvas.width);
      });
      canvas.addEventListener("pointermove", (event) => {
        const last = this.fingers.get(event.pointerId);
        if (!last) return;
        const [x, y] = [event.clientX - last[0], event.clientY - last[1]], places = view().places;
        this.fingers.set(event.pointerId, [event.clientX, event.clientY]);
        this.moved += Math.abs(x) + Math.abs(y);
        if (this.fingers.size === 2) { const apart = this.apart(); this.zoomTo(this.zoom * apart / this.spread); this.spread = apart; return; }
        if (index < 0 && this.look === "wipe" && this.zoom === 1) return this.wipeTo(at(event)[0] / canvas.width);
        if (this.rows) return this.choose(index, places, at(event));
        const ratio = canvas.width / canvas.clientWidth;
        if (this.zoom > 1 && places) this.zoomTo(this.zoom, [this.middle[0] - x * ratio / places.across, this.middle[1] - y * ratio / places.down]);
      });
      const end = (event) => {
        if (!this.fingers.delete(event.pointerId) || event.type === "pointercancel" || this.moved > 6) return;
        if (index < 0 && this.look === "flip") { this.flipped = !this.flipped; return this.draw(); }
        if (index >= 0) this.choose(index, view().places, at(event));
      };
      canvas.addEventListener("pointerup", end);
      canvas.addEventListener("pointercancel", end);
      canvas.addEventListener("dblclick", () => { if (!this.rows) this.zoomTo(this.zoom > 1 ? 1 : 3); });
      canvas.addEventListener("wheel", (event) => {
        if (this.rows || !(event.ctrlKey || event.metaKey || this.zoom > 1)) return; // else the page scrolls, as anywhere
        event.preventDefault();
        this.zoomTo(this.zoom * Math.exp(-event.deltaY / 300));
      }, { passive: false });
    }

    apart() { const [a, b] = [...this.fingers.values()]; return b ? Math.hypot(a[0] - b[0], a[1] - b[1]) || 1 : 1; }
    wipeTo(share) { this.wipe = clamp(share, 0, 1); this.draw(); }

    choose(index, places, [x, y]) {
      this.pane = Math.max(0, index);
      if (!places) return this.draw();
      const column = clamp(Math.floor((x - places.x) / places.pitch), 0, places.columns - 1), row = this.rows ? 0 : Math.max(0, Math.floor((y - places.y) / places.pitch));
      this.select(clamp(column + row * places.columns, 0, places.count - 1));
    }

    select(index) {
      this.selected = clamp(index, 0, this.count - 1);
      this.touched = true;
      this.scrub.value = this.selected;
      this.draw();
      this.describe();
    }

    key(event) {
      const columns = this.rows ? this.count : this.views[this.pane]?.places?.columns ?? 1, digit = /^Digit([1-6])$/.exec(event.code);
      const move = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[event.key];
      if (this.look === "wipe" && event.shiftKey && Math.abs(move) === 1) this.wipeTo(this.wipe + move / 20);
      else if (move !== undefined) this.select(this.selected + move);
      else if (digit && +digit[1] <= this.panes.length) this.number(+digit[1] - 1, event.shiftKey);
      else if (event.key === " ") this.space();
      else if ("+=-0".includes(event.key) && !this.rows) this.zoomTo(event.key === "0" ? 1 : this.zoom * (event.key === "-" ? 1 / 1.5 : 1.5));
      else return;
      event.preventDefault();
    }

    number(index, second) { // chooses a pane, or one of the two that are laid over each other
      this.pane = index;
      this.duo[+second] = index;
      $(this.element, second ? ".lp-b" : ".lp-a").value = index;
      this.draw();
      this.describe();
    }

    space() {
      if (this.rows) return this.play();
      if (this.look !== "flip") return this.lookAs("flip");
      this.flipped = !this.flipped;
      this.draw();
    }

    play() { play(this, this.count); }

    // -- words and figures ------------------------------------------------------------------------------------------
    describe() {
      $(this.element, ".lp-answer").textContent = this.value.says;
      const done = this.panes.filter((pane) => pane.progress >= 1).length, pane = this.panes[this.pane], label = pane?.labels?.[this.selected] ?? "";
      const where = this.touched || this.rows ? `${pane.title}: ${pane.errors[this.selected] ?? label}` : "";
      $(this.element, ".lp-caption").textContent = [this.value.progress < 1 ? `${done} of ${this.panes.length} panes are done` : "", where].filter(Boolean).join("  ·  ");
      this.scrub.setAttribute("aria-valuetext", label);
    }

    table() {
      const names = [...new Set(this.panes.flatMap((pane) => Object.keys(pane.measured)))], table = document.createElement("table");
      const cell = (text, tag, scope) => { const made = element(tag, "", text); if (scope) made.scope = scope; return made; };
      const row = (first, rest, tag, scope) => { const line = document.createElement("tr"); line.append(cell(first, "th", scope), ...rest.map((text) => cell(text, tag, tag === "th" && scope))); return line; };
      table.append(row("Pane", names, "th", "col"));
      for (const [index, pane] of this.panes.entries()) table.append(row(`${index + 1} ${pane.glyph} ${pane.title}`, names.map((name) => pane.measured[name] ?? "–"), "td", "row"));
      $(this.element, ".lp-table").replaceChildren(table);
    }

    take(what) {
      const kept = this.kept;
      if (!kept || kept.progress < 1) return say("It is not finished yet.");
      const name = `compare-${kept.question}`, cell = this.panes[this.pane].cells?.[this.selected];
      if (what === "link") return copy(location.href.split("?")[0] + `?${kept.query}`, "Link copied.");
      if (what === "python") return copy(kept.python, "Python copied.");
      if (what === "cell") return cell ? fetched(`${ROUTES.picture}?scale=1&${cell}`, `${this.panes[this.pane].card}-${this.selected + 1}.png`) : say("This picture has no recipe of its own; save the sheet.");
      if (what === "zip" || what === "sheet") return fetched(`${ROUTES[what]}?${kept.query}`, `${name}.${what === "zip" ? "zip" : "png"}`);
      return fetched(`${ROUTES.animation}?format=${what}&${kept.query}`, `${name}.${what}`);
    }
  }

  playground.mountBoard = (...given) => new Board(...given);
})();
