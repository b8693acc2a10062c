// The latent map: a canvas of encoded test pictures that follows finger, mouse and arrow keys.
(() => {
  const { $, clamp } = playground.helpers;
  const COLOURS = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#B8A800", "#7F5FC8", "#8C6D46", "#808080"];
  const EDGE = 1.2; // the map reaches a little beyond the outermost picture
  const CELL = 28, SHEET_COLUMNS = 50;

  class LatentMap {
    constructor(element, props, released) {
      Object.assign(this, { element, props, released, x: 0, y: 0, points: {}, key: null });
      this.canvas = $(element, "canvas");
      this.tip = $(element, ".lp-tip");
      this.shelf = `playground/shelf.png?card=${encodeURIComponent(props.card)}`;
      new Image().src = this.shelf; // there before the first hover
      this.bind();
      new ResizeObserver(() => this.draw()).observe(element);
      const join = () => { const panel = playground.panels[props.panel]; if (panel) { panel.map = this; if (panel.values) this.moveTo(panel.values, panel.props.names); } else setTimeout(join, 100); };
      join();
      this.use(props.projection);
    }

    async use(projection, card = this.props.card) {
      const key = `${card} ${projection}`;
      if (this.key === key) return;
      this.key = key;
      this.points[key] ||= await (await fetch(`playground/map.json?${new URLSearchParams({ card, projection })}`)).json();
      if (this.key === key) this.draw();
    }

    moveTo(values, names) { // the knobs moved
      [this.x, this.y] = [values[names.indexOf("x")], values[names.indexOf("y")]];
      this.use(values[names.indexOf("projection")], values[0]);
      if (!this.down) this.draw();
    }

    bind() {
      const canvas = this.canvas;
      canvas.addEventListener("pointerdown", (event) => { this.down = true; canvas.setPointerCapture(event.pointerId); this.follow(event); });
      canvas.addEventListener("pointermove", (event) => (this.down ? this.follow(event) : this.hover(event)));
      canvas.addEventListener("pointerup", () => { this.down = false; this.release(); });
      canvas.addEventListener("pointerleave", () => { this.tip.hidden = true; });
      canvas.addEventListener("keydown", (event) => {
        const step = event.shiftKey ? 0.1 : 0.02, move = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] }[event.key];
        if (!move) return;
        event.preventDefault();
        this.go(this.x + move[0], this.y + move[1]);
        clearTimeout(this.timer);
        this.timer = setTimeout(() => this.release(), 200);
      });
    }

    release() { // its knobs follow by way of the server: they are news to the panel even where it has drawn the place already
      const panel = playground.panels[this.props.panel];
      if (panel) panel.lastQuery = null;
      this.released({ x: this.x, y: this.y });
    }

    follow(event) {
      const box = this.canvas.getBoundingClientRect();
      this.tip.hidden = true;
      this.go(((event.clientX - box.left) / box.width * 2 - 1) * EDGE, (1 - (event.clientY - box.top) / box.height * 2) * EDGE);
    }

    go(x, y) {
      [this.x, this.y] = [x, y].map((value) => +clamp(value, -EDGE, EDGE).toFixed(2));
      this.draw();
      const panel = playground.panels[this.props.panel];
      if (!panel?.values) return;
      const values = [...panel.values];
      values[panel.props.names.indexOf("x")] = this.x;
      values[panel.props.names.indexOf("y")] = this.y;
      panel.push(values);
    }

    hover(event) {
      const now = this.points[this.key], box = this.canvas.getBoundingClientRect();
      if (!now) return;
      const [px, py] = [event.clientX - box.left, event.clientY - box.top];
      let best = -1, nearest = 100;
      now.x.forEach((x, index) => {
        const distance = (this.screen(x, 1) - px) ** 2 + (this.screen(now.y[index], -1) - py) ** 2;
        if (distance < nearest) [best, nearest] = [index, distance];
      });
      this.tip.hidden = best < 0;
      if (best < 0) return;
      const scale = 3, picture = $(this.tip, "i");
      picture.style.backgroundImage = `url(${this.shelf})`;
      picture.style.backgroundPosition = `-${(best % SHEET_COLUMNS) * CELL * scale}px -${Math.floor(best / SHEET_COLUMNS) * CELL * scale}px`;
      picture.style.backgroundSize = `${SHEET_COLUMNS * CELL * scale}px auto`;
      $(this.tip, "span").textContent = this.props.classes[now.label[best]];
      this.tip.style.left = `${clamp(px + 12, 0, box.width - 96)}px`;
      this.tip.style.top = `${clamp(py + 12, 0, box.height - 112)}px`;
    }

    screen(value, sign) { return (sign * value / EDGE + 1) / 2 * this.canvas.clientWidth; }

    draw() {
      const canvas = this.canvas, now = this.points[this.key], ratio = devicePixelRatio || 1, side = canvas.clientWidth;
      if (!side) return;
      if (!this.layer || this.layer.key !== `${this.key} ${side} ${!!now}`) this.layer = this.dots(now, side, ratio);
      canvas.width = canvas.height = side * ratio;
      const context = canvas.getContext("2d");
      context.drawImage(this.layer.canvas, 0, 0);
      const [x, y] = [this.screen(this.x, 1) * ratio, this.screen(this.y, -1) * ratio];
      for (const [width, colour] of [[5, "#fff"], [2.5, "#111"]]) {
        Object.assign(context, { lineWidth: width * ratio, strokeStyle: colour });
        context.beginPath(); context.arc(x, y, 9 * ratio, 0, 7); context.stroke();
      }
      canvas.setAttribute("aria-label", `Map of the latent space at ${this.x.toFixed(2)} across, ${this.y.toFixed(2)} up. Arrow keys move, Shift for larger steps.`);
    }

    dots(now, side, ratio) { // drawn once; a drag only copies it
      const canvas = Object.assign(document.createElement("canvas"), { width: side * ratio, height: side * ratio });
      const context = canvas.getContext("2d");
      context.globalAlpha = 0.85;
      now?.x.forEach((x, index) => {
        context.fillStyle = COLOURS[now.label[index] % 10];
        context.beginPath();
        context.arc(this.screen(x, 1) * ratio, this.screen(now.y[index], -1) * ratio, Math.max(1.6, side / 220) * ratio, 0, 7);
        context.fill();
      });
      return { canvas, key: `${this.key} ${side} ${!!now}` };
    }
  }

  playground.mountMap = (element, props, released) => {
    $(element, ".lp-legend").replaceChildren(...props.classes.map((name, index) => {
      const item = document.createElement("span");
      item.append(Object.assign(document.createElement("i"), { style: `background:${COLOURS[index % 10]}` }), name);
      return item;
    }));
    return new LatentMap(element, props, released);
  };
})();
