// Choosing latents: a seed, a test picture, a file, or a drawing. The value is a list of recipes.
(() => {
  const { $, say, clamp } = playground.helpers;

  class Picker {
    constructor(element, props, changed, watch) {
      Object.assign(this, { element, props, changed, slot: 0 });
      this.slots = $(element, ".lp-slots");
      this.gallery = $(element, ".lp-gallery img");
      this.seed = $(element, ".lp-seed");
      this.bind();
      watch("value", () => this.render());
      const panel = playground.panels[props.panel];
      if (panel) panel.picker = this;
      else setTimeout(() => { if (playground.panels[props.panel]) playground.panels[props.panel].picker = this; }, 500);
      this.render();
    }

    get value() { return this.props.value || []; }
    set(value) { this.props.value = value; this.changed(); this.render(); }
    put(latent) { const value = [...this.value]; value[this.slot] = latent; this.set(value); }

    bind() {
      const on = (selector, what) => $(this.element, selector)?.addEventListener("click", what);
      on(".lp-reset", () => { this.slot = 0; this.set([...this.props.initial]); });
      on(".lp-dice", () => this.put(`seed:${Math.floor(Math.random() * 2 ** 31)}`));
      on(".lp-add", () => { if (this.value.length < this.props.most) { this.slot = this.value.length; this.set([...this.value, `seed:${Math.floor(Math.random() * 2 ** 31)}`]); } });
      on(".lp-remove", () => { if (this.value.length > this.props.least) { const value = this.value.filter((_, index) => index !== this.slot); this.slot = clamp(this.slot, 0, value.length - 1); this.set(value); } });
      this.seed.addEventListener("change", () => { if (/^\d+$/.test(this.seed.value) && +this.seed.value < 2 ** 31) this.put(`seed:${+this.seed.value}`); else say("A seed is a whole number from 0 to 2147483647."); });
      const input = $(this.element, "input[type=file]");
      on(".lp-upload", () => input.click());
      input.addEventListener("change", async () => {
        if (!input.files[0]) return;
        const answer = await playground.send(input.files[0], this.props.panel, true);
        input.value = "";
        if (answer.latent) this.put(answer.latent); else say(answer.error);
      });
      this.gallery.addEventListener("click", (event) => this.choose(event));
      this.gallery.parentElement.addEventListener("keydown", (event) => this.walk(event));
      on(".lp-draw", () => this.draw());
    }

    // The gallery: one sheet, a row a class. A click or the arrow keys choose a picture.
    choose(event) {
      const box = this.gallery.getBoundingClientRect(), { columns, indices } = this.props.shelf;
      const rows = indices.length / columns;
      const column = clamp(Math.floor((event.clientX - box.left) / box.width * columns), 0, columns - 1);
      const row = clamp(Math.floor((event.clientY - box.top) / box.height * rows), 0, rows - 1);
      this.put(`test:${indices[row * columns + column]}`);
    }
    walk(event) {
      const { columns, indices } = this.props.shelf, move = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[event.key];
      if (move === undefined) return;
      event.preventDefault();
      const now = indices.indexOf(+(/^test:(\d+)$/.exec(this.value[this.slot] || "") || [])[1]);
      this.put(`test:${indices[clamp(now < 0 ? 0 : now + move, 0, indices.length - 1)]}`);
    }

    render() {
      if (this.slot >= this.value.length) this.slot = 0;
      this.slots.replaceChildren(...this.value.map((latent, index) => {
        const button = document.createElement("button"), name = "ABCD"[index], words = describe(latent, this.props.shelf);
        button.type = "button";
        button.className = "lp-slot";
        button.setAttribute("aria-pressed", index === this.slot);
        button.setAttribute("aria-label", `${this.value.length > 1 ? `End ${name}: ` : ""}${words}`);
        const picture = Object.assign(document.createElement("img"), { src: playground.sourceUrl(playground.panels[this.props.panel]?.card || this.props.card, latent), alt: "", width: 56, height: 56 });
        const text = Object.assign(document.createElement("span"), { textContent: this.value.length > 1 ? `${name} · ${words}` : words });
        button.append(picture, text);
        button.addEventListener("click", () => { this.slot = index; this.render(); });
        return button;
      }));
      const seed = /^seed:(\d+)$/.exec(this.value[this.slot] || "");
      this.seed.value = seed ? seed[1] : "";
      $(this.element, ".lp-add").disabled = this.value.length >= this.props.most;
      $(this.element, ".lp-remove").disabled = this.value.length <= this.props.least;
      $(this.element, ".lp-several").hidden = this.props.most < 2 || this.props.least === this.props.most;
      const { columns, indices } = this.props.shelf, chosen = indices.indexOf(+(/^test:(\d+)$/.exec(this.value[this.slot] || "") || [])[1]);
      const mark = $(this.element, ".lp-mark");
      mark.hidden = chosen < 0;
      mark.style.cssText = `left:${100 * (chosen % columns) / columns}%;top:${100 * Math.floor(chosen / columns) / (indices.length / columns)}%;width:${100 / columns}%;height:${100 * columns / indices.length}%`;
      const detail = { panel: this.props.panel, latent: this.value[0] };
      document.dispatchEvent(new CustomEvent("lp-picked", { detail })); // a mask is painted over it
    }

    // A drawing pad of 28×28 cells, light on black as the data set is.
    draw() {
      const dialog = $(this.element, "dialog"), pad = $(dialog, "canvas"), context = pad.getContext("2d");
      const clear = () => { context.fillStyle = "#000"; context.fillRect(0, 0, pad.width, pad.height); };
      if (!this.drawn) {
        this.drawn = true;
        clear();
        let last = null;
        const at = (event) => { const box = pad.getBoundingClientRect(); return [(event.clientX - box.left) / box.width * pad.width, (event.clientY - box.top) / box.height * pad.height]; };
        const line = (event) => {
          const [x, y] = at(event), [fromX, fromY] = last || [x, y];
          Object.assign(context, { strokeStyle: $(dialog, ".lp-shade").value, lineWidth: +$(dialog, ".lp-brush").value, lineCap: "round" });
          context.beginPath(); context.moveTo(fromX, fromY); context.lineTo(x + 0.01, y); context.stroke();
          last = [x, y];
        };
        pad.addEventListener("pointerdown", (event) => { pad.setPointerCapture(event.pointerId); line(event); });
        pad.addEventListener("pointermove", (event) => { if (event.buttons) line(event); });
        pad.addEventListener("pointerup", () => { last = null; });
        $(dialog, ".lp-clear").addEventListener("click", clear);
        $(dialog, ".lp-cancel").addEventListener("click", () => dialog.close());
        $(dialog, ".lp-use").addEventListener("click", () => { dialog.close(); this.put(`png:${packed(pad, Math.min(this.props.size, DRAWN))}`); });
      }
      dialog.showModal();
    }
  }

  const DRAWN = 96; // pixels a side that a drawing is kept at: it must fit into a link
  const packed = (pad, size) => {
    const small = Object.assign(document.createElement("canvas"), { width: size, height: size }), context = small.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.drawImage(pad, 0, 0, size, size);
    return small.toDataURL("image/png").split(",")[1].replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  };

  const describe = (latent, shelf) => {
    const [, kind, value] = /^([a-z]+):?(.*)$/s.exec(latent) || [null, "", ""];
    if (kind === "seed" && /^\d+$/.test(value)) return `seed ${value}`;
    if (kind === "test" && /^\d+$/.test(value)) return shelf.names[value] || `test ${value}`;
    return kind === "png" && !/[ *]/.test(value) ? "your picture" : "a recipe";
  };

  playground.mountPicker = (element, props, changed, watch) => new Picker(element, props, changed, watch);
})();
