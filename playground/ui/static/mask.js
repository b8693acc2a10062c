// Painting a mask over the panel's picture. The value is a text as playground/masks.py reads it: left, box:…, or bits:….
(() => {
  const { $, clamp } = playground.helpers;
  const HOLD = 300; // device-independent pixels the canvas has at least, so that a cell is a finger's tip with a brush of 3
  const TINT = [230, 97, 0]; // vermillion, over a grey picture

  const pictures = {}; // what each panel's picker holds
  document.addEventListener("lp-picked", (event) => { pictures[event.detail.panel] = event.detail; });

  const presets = (size) => {
    const half = size >> 1, quarter = size >> 2;
    return {
      none: () => false,
      all: () => true,
      left: (x) => x < half,
      right: (x) => x >= half,
      top: (x, y) => y < half,
      bottom: (x, y) => y >= half,
      middle: (x, y) => x >= quarter && x < size - quarter && y >= quarter && y < size - quarter,
    };
  };

  const read = (text, size) => { // booleans row by row; all false for what was painted at another size
    const cells = new Uint8Array(size * size), box = /^box:(\d+),(\d+),(\d+),(\d+)$/.exec(text), inside = presets(size)[text];
    const fill = (test) => cells.forEach((_, index) => { cells[index] = test(index % size, Math.floor(index / size)); });
    if (inside) fill(inside);
    if (box) { const [left, top, width, height] = box.slice(1).map(Number); fill((x, y) => x >= left && x < left + width && y >= top && y < top + height); }
    if (!text.startsWith("bits:")) return cells;
    try {
      const bytes = atob(text.slice(5).replaceAll("-", "+").replaceAll("_", "/"));
      if (bytes.length !== Math.ceil(cells.length / 8)) return cells;
      cells.forEach((_, index) => { cells[index] = (bytes.charCodeAt(index >> 3) >> (7 - (index & 7))) & 1; });
    } catch { /* no such text: nothing is marked */ }
    return cells;
  };

  const write = (cells, size) => {
    for (const [name, inside] of Object.entries(presets(size))) // a shape that has a name goes by it
      if (cells.every((cell, index) => !!cell === inside(index % size, Math.floor(index / size)))) return name;
    const bytes = new Uint8Array(Math.ceil(cells.length / 8));
    cells.forEach((cell, index) => { if (cell) bytes[index >> 3] |= 128 >> (index & 7); });
    return `bits:${btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "")}`;
  };

  class Painter {
    constructor(element, props, changed, watch) {
      Object.assign(this, { element, props, changed, mark: 1, cursor: null, last: null });
      this.canvas = $(element, "canvas");
      this.cells = read(this.value, props.size);
      this.bind();
      watch("value", () => { if (this.value !== this.written) { this.cells = read(this.value, props.size); this.render(); } });
      document.addEventListener("lp-picked", (event) => { if (event.detail.panel === props.panel) this.look(); });
      new ResizeObserver(() => this.draw()).observe(this.canvas);
      this.render();
      this.look();
    }

    get value() { return typeof this.props.value === "string" ? this.props.value : "none"; }
    get brush() { return +$(this.element, ".lp-brush").value; }

    bind() {
      const { canvas } = this;
      for (const button of this.element.querySelectorAll("[data-preset]")) button.addEventListener("click", () => this.put(read(button.dataset.preset, this.props.size)));
      for (const button of this.element.querySelectorAll("[data-mark]")) button.addEventListener("click", () => { this.mark = +button.dataset.mark; this.tools(); });
      $(this.element, ".lp-invert").addEventListener("click", () => this.put(this.cells.map((cell) => 1 - cell)));
      $(this.element, ".lp-reset").addEventListener("click", () => this.put(read(this.props.initial, this.props.size)));
      canvas.addEventListener("pointerdown", (event) => { canvas.setPointerCapture(event.pointerId); this.last = null; this.stroke(event); });
      canvas.addEventListener("pointermove", (event) => { if (event.buttons) this.stroke(event); else this.hover(event); });
      canvas.addEventListener("pointerup", () => { this.last = null; this.commit(); });
      canvas.addEventListener("pointerleave", (event) => { if (!event.buttons) { this.cursor = null; this.draw(); } });
      canvas.addEventListener("blur", () => { this.cursor = null; this.draw(); });
      canvas.addEventListener("keydown", (event) => this.key(event));
    }

    // -- painting ---------------------------------------------------------------------------------------------------
    at(event) {
      const box = this.canvas.getBoundingClientRect(), { size } = this.props;
      return [(event.clientX - box.left) / box.width * size, (event.clientY - box.top) / box.height * size];
    }

    hover(event) { this.cursor = this.at(event).map((place) => clamp(Math.floor(place), 0, this.props.size - 1)); this.draw(); }

    stroke(event) { // a disc of the brush's width at every half pixel of the way
      const [x, y] = this.at(event), [fromX, fromY] = this.last || [x, y], steps = 1 + Math.ceil(2 * Math.hypot(x - fromX, y - fromY));
      for (let step = 1; step <= steps; step++) this.disc(fromX + (x - fromX) * step / steps, fromY + (y - fromY) * step / steps);
      this.last = [x, y];
      this.hover(event);
      const panel = playground.panels[this.props.panel]; // a model that answers at once follows the finger; a slow one waits until it lifts
      if (panel && !panel.slow.has(panel.card) && !this.waiting) this.waiting = requestAnimationFrame(() => { this.waiting = 0; this.commit(); });
    }

    disc(x, y) {
      const { size } = this.props, reach = this.brush / 2;
      if (this.brush === 1) { const [column, row] = [Math.floor(x), Math.floor(y)]; if (column >= 0 && row >= 0 && column < size && row < size) this.cells[row * size + column] = this.mark; return; }
      for (let row = Math.max(0, Math.floor(y - reach)); row < Math.min(size, y + reach); row++)
        for (let column = Math.max(0, Math.floor(x - reach)); column < Math.min(size, x + reach); column++)
          if (Math.hypot(column + 0.5 - x, row + 0.5 - y) <= reach) this.cells[row * size + column] = this.mark;
    }

    key(event) {
      const { size } = this.props, move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (!move && event.key !== " ") return;
      event.preventDefault();
      this.cursor ||= [size >> 1, size >> 1];
      if (move) this.cursor = this.cursor.map((place, axis) => clamp(place + move[axis], 0, size - 1));
      else { this.disc(this.cursor[0] + 0.5, this.cursor[1] + 0.5); this.commit(); }
      this.draw();
      const [column, row] = this.cursor;
      this.canvas.setAttribute("aria-valuetext", `column ${column + 1}, row ${row + 1}, ${this.cells[row * size + column] ? "marked" : "not marked"}`);
    }

    put(cells) { this.cells = cells; this.commit(); }

    commit() {
      const text = write(this.cells, this.props.size);
      if (text !== this.value) { this.written = text; this.props.value = text; this.changed(); }
      this.render();
    }

    // -- drawing ----------------------------------------------------------------------------------------------------
    async look() { // the picture under the mask, when the panel has one
      const panel = playground.panels[this.props.panel], picked = pictures[this.props.panel];
      const latent = panel?.picker?.value?.[0] ?? picked?.latent;
      if (!latent) return;
      const url = playground.sourceUrl(panel?.card || this.props.card, latent);
      if (url === this.url) return;
      this.url = url;
      const picture = new Image();
      picture.onload = () => { if (this.url === url) { this.picture = picture; this.draw(); } };
      picture.src = url;
    }

    render() {
      const share = this.cells.reduce((sum, cell) => sum + cell, 0) / this.cells.length;
      for (const button of this.element.querySelectorAll("[data-preset]")) button.setAttribute("aria-pressed", this.value === button.dataset.preset);
      $(this.element, ".lp-share").textContent = `${Math.round(100 * share)} % of the picture is marked`;
      this.tools();
      this.draw();
    }

    tools() { for (const button of this.element.querySelectorAll("[data-mark]")) button.setAttribute("aria-pressed", this.mark === +button.dataset.mark); }

    draw() {
      const { canvas, cells } = this, { size } = this.props, ratio = devicePixelRatio || 1;
      const cell = Math.max(1, Math.floor(Math.max(HOLD / 2, canvas.clientWidth) * ratio / size)), context = canvas.getContext("2d");
      if (canvas.width !== cell * size) canvas.width = canvas.height = cell * size;
      context.imageSmoothingEnabled = false;
      context.fillStyle = "#101114";
      context.fillRect(0, 0, canvas.width, canvas.height);
      if (this.picture) context.drawImage(this.picture, 0, 0, canvas.width, canvas.height);
      const marked = (x, y) => x >= 0 && y >= 0 && x < size && y < size && cells[y * size + x];
      const edge = Math.max(1, Math.round(1.5 * ratio));
      for (let y = 0; y < size; y++) for (let x = 0; x < size; x++) {
        if (!marked(x, y)) continue;
        context.fillStyle = `rgba(${TINT},0.55)`;
        context.fillRect(x * cell, y * cell, cell, cell);
        context.fillStyle = `rgb(${TINT.map((part) => Math.min(255, part + 90))})`;
        if (!marked(x - 1, y)) context.fillRect(x * cell, y * cell, edge, cell);
        if (!marked(x + 1, y)) context.fillRect((x + 1) * cell - edge, y * cell, edge, cell);
        if (!marked(x, y - 1)) context.fillRect(x * cell, y * cell, cell, edge);
        if (!marked(x, y + 1)) context.fillRect(x * cell, (y + 1) * cell - edge, cell, edge);
      }
      if (!this.cursor) return;
      const reach = Math.max(1, this.brush) * cell / 2, [x, y] = this.cursor.map((place) => (place + 0.5) * cell);
      for (const [width, colour] of [[3, "#000"], [1.5, "#fff"]]) {
        Object.assign(context, { lineWidth: width * ratio, strokeStyle: colour });
        context.beginPath();
        context.arc(x, y, reach, 0, 2 * Math.PI);
        context.stroke();
      }
    }
  }

  playground.mountMask = (element, props, changed, watch) => new Painter(element, props, changed, watch);
})();
