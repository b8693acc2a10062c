// The blind quiz: four pictures, who made them? The server makes a round of a seed; scores stay in this browser.
(() => {
  const { $, say } = playground.helpers;
  const QUESTION = "playground/quiz.json", ANSWER = "playground/quiz-answer.json";
  const KEY = "lp-quiz"; // in localStorage
  const GAP = 8, PATIENCE = 60_000;
  const TYPING = "input, textarea, select, [contenteditable], dialog";
  const PRESSED = `${TYPING}, a, button, summary, [role=tab], [role=slider], [role=application]`; // has a use of its own for Enter and arrows
  const make = (tag, words = "", more = {}) => Object.assign(document.createElement(tag), { textContent: words, ...more });
  const spoken = (words) => make("span", words, { className: "lp-spoken" });
  const hidden = (tag, words) => { const part = make(tag, words); part.ariaHidden = "true"; return part; };

  const SILENT = "The page's server does not answer. Check the connection and try again.";
  const ask = async (url) => { // what was answered; else an error whose message is a sentence
    let answer;
    try { answer = await fetch(url, { signal: AbortSignal.timeout(PATIENCE) }); } catch { throw new Error(SILENT); }
    if (answer.ok) return answer.json();
    throw new Error(answer.headers.get("content-type")?.startsWith("text/plain") ? await answer.text() : SILENT); // a proxy's page is no sentence
  };

  // ---- scores: how often each maker was taken for each, and how many would be right by chance --------------------------
  const NONE = { table: {}, chance: 0, streak: 0 };
  class Scores {
    read() {
      if (this.unkept) return this.unkept;
      try {
        const { table, chance, streak } = JSON.parse(localStorage.getItem(KEY));
        const counts = Object.values(table).flatMap((row) => Object.values(row));
        if ([chance, streak, ...counts].every((number) => Number.isFinite(number) && number >= 0)) return { table, chance, streak };
      } catch { /* blocked, empty, or not what was written here */ }
      return structuredClone(NONE);
    }

    write(scores) {
      try { localStorage.setItem(KEY, JSON.stringify(scores)); this.unkept = null; }
      catch { this.unkept = scores; } // it lasts as long as the page
    }

    clear() { this.write(structuredClone(NONE)); }

    add(maker, guess, choices) {
      const { table, chance, streak } = this.read(), row = (table[maker] ||= {});
      row[guess] = (row[guess] || 0) + 1;
      this.write({ table, chance: chance + 1 / choices, streak: maker === guess ? streak + 1 : 0 });
    }

    words(choices) {
      const { table, chance, streak } = this.read(), rows = Object.entries(table);
      const total = rows.flatMap(([, row]) => Object.values(row)).reduce((sum, number) => sum + number, 0);
      const right = rows.reduce((sum, [maker, row]) => sum + (row[maker] || 0), 0);
      return total ? `${right} of ${total} right · chance would be ${chance.toFixed(1)} · streak ${streak}` : `Nothing answered yet · chance is 1 in ${choices}`;
    }
  }

  // ---- the quiz: waiting to be seen, loading (or failed), asking, checking, told, and on to the next --------------------
  class Quiz {
    constructor(element, props) {
      Object.assign(this, { element, choices: props.choices, scores: new Scores(), seen: false });
      this.section = element.firstElementChild;
      this.canvas = $(element, "canvas");
      this.bind();
      this.list();
      this.score();
      this.turn("waiting");
    }

    bind() {
      const on = (selector, what) => $(this.element, selector).addEventListener("click", what);
      on(".lp-quiz-next", () => this.next());
      on(".lp-quiz-again", () => this.load(this.prepare(this.seed)));
      on(".lp-quiz-clear", () => { this.scores.clear(); this.score(); say("Scores cleared."); });
      document.addEventListener("keydown", (event) => this.key(event));
      new ResizeObserver(() => this.draw()).observe($(this.element, ".lp-quiz-stage"));
      new IntersectionObserver((changes) => {
        this.seen = changes.at(-1).isIntersecting;
        if (this.seen && this.state === "waiting") this.load(this.prepare());
      }).observe(this.section);
    }

    key(event) {
      const { target, key } = event, choice = this.choices[+key - 1];
      if (!this.seen || this.section.offsetParent === null || event.repeat || event.ctrlKey || event.altKey || event.metaKey || target.closest?.(TYPING)) return;
      const onward = key.toLowerCase() === "n" || (["Enter", "ArrowRight"].includes(key) && !target.closest?.(PRESSED));
      if (choice && this.state === "asking") this.guess(choice.name);
      else if (onward && this.state === "told") this.next();
      else return;
      event.preventDefault();
    }

    turn(state) {
      this.state = this.section.dataset.state = state;
      for (const button of $(this.element, ".lp-quiz-choices").children) button.ariaDisabled = String(state !== "asking");
      $(this.element, ".lp-quiz-next").disabled = state !== "told";
    }

    // -- a round: fetched while the one before is looked at, so that waiting does not tell which maker is slow ------------
    prepare(seed = Math.floor(Math.random() * 2 ** 31)) {
      const round = ask(`${QUESTION}?seed=${seed}`).then(async (made) => ({ ...made, bitmap: await playground.bitmap(made.picture) }));
      round.catch(() => { if (this.coming?.round === round) this.coming = null; }); // tried again when it is wanted
      return { seed, round };
    }

    next() {
      if (this.state !== "told") return;
      if (this.section.contains(document.activeElement)) this.canvas.focus({ preventScroll: true }); // its button goes away
      $(this.element, ".lp-quiz-stage").scrollIntoView({ block: "nearest" });
      this.load(this.coming || this.prepare());
    }

    async load({ seed, round }) {
      this.seed = seed;
      this.clear();
      this.turn("loading");
      this.wait("The pictures are on their way…");
      try { this.round = await round; }
      catch (error) { this.turn("failed"); this.wait(error.message); return; }
      if (JSON.stringify(this.choices) !== JSON.stringify(this.round.choices)) { this.choices = this.round.choices; this.list(); this.score(); }
      this.canvas.ariaLabel = "Four pictures, all by one maker";
      this.turn("asking");
      this.draw();
      this.coming = this.prepare();
    }

    clear() {
      this.round = null;
      this.canvas.ariaLabel = "The pictures are on their way";
      this.tell("", "");
      for (const button of $(this.element, ".lp-quiz-choices").children) { delete button.dataset.mark; button.lastChild.textContent = ""; }
    }

    async guess(name) {
      if (this.state !== "asking") return;
      this.turn("checking");
      try { this.told(name, await ask(`${ANSWER}?${new URLSearchParams({ seed: this.seed, guess: name })}`)); }
      catch (error) { this.turn("asking"); this.tell(error.message, ""); }
    }

    told(guess, { maker, title, right, tell, query }) {
      this.scores.add(maker, guess, this.choices.length);
      this.score();
      if (!right) this.mark(guess, "wrong", "(your guess, wrong)");
      this.mark(maker, "right", right ? "(your guess, right)" : "(the right answer)");
      this.tell(right ? `✓ Right: ${title}` : `✗ ${title}, not ${this.choices.find((choice) => choice.name === guess).title}`, tell);
      this.canvas.ariaLabel = `Four pictures, all by: ${title}`;
      const link = $(this.element, ".lp-quiz-made");
      link.hidden = !query;
      link.href = `?${query}`;
      this.turn("told");
      if (this.section.contains(document.activeElement)) $(this.element, ".lp-quiz-next").focus({ preventScroll: true });
      $(this.element, ".lp-quiz-end").scrollIntoView({ block: "nearest" });
    }

    // -- what is seen -------------------------------------------------------------------------------------------------
    list() {
      const row = $(this.element, ".lp-quiz-choices");
      row.style.setProperty("--lp-count", this.choices.length);
      row.replaceChildren(...this.choices.map(({ name, title, glyph, colour }, index) => {
        const button = make("button", "", { type: "button", className: "lp-button lp-quiz-choice" });
        button.append(hidden("kbd", index + 1), hidden("i", glyph), make("span", title), hidden("b", ""), spoken(""));
        button.dataset.name = name;
        button.style.setProperty("--lp-family", colour);
        button.setAttribute("aria-keyshortcuts", index + 1);
        button.addEventListener("click", () => this.guess(name));
        return button;
      }));
    }

    mark(name, mark, words) {
      const button = $(this.element, `[data-name="${name}"]`);
      if (!button) return;
      button.dataset.mark = mark;
      button.lastChild.textContent = words;
    }

    wait(words) { $(this.element, ".lp-quiz-wait p").textContent = words; }

    tell(verdict, words) {
      $(this.element, ".lp-quiz-end").classList.toggle("lp-said", verdict !== ""); // then the hint makes room
      $(this.element, ".lp-quiz-verdict").textContent = verdict;
      $(this.element, ".lp-quiz-tell").textContent = words;
    }

    score() {
      const { table } = this.scores.read();
      $(this.element, ".lp-quiz-score").textContent = this.scores.words(this.choices.length);
      const head = make("tr"), body = make("tbody");
      head.append(make("th", "It was ↓  you said →", { scope: "col" }), ...this.choices.map((choice) => this.heading(choice, "col")));
      body.append(...this.choices.map((maker) => {
        const row = make("tr"), said = table[maker.name] || {}, total = Object.values(said).reduce((sum, number) => sum + number, 0);
        row.append(this.heading(maker, "row"), ...this.choices.map((choice) => this.cell(said[choice.name] || 0, total, choice === maker)));
        return row;
      }));
      const all = make("table");
      all.append(make("thead"), body);
      all.firstChild.append(head);
      $(this.element, ".lp-quiz-table").replaceChildren(all);
    }

    heading({ glyph, title }, scope) {
      const heading = make("th", "", { scope });
      heading.append(hidden("i", glyph), make("span", title));
      return heading;
    }

    cell(number, total, right) {
      const cell = make("td", number || "·", { className: right ? "lp-quiz-right" : "" });
      cell.style.setProperty("--lp-share", `${Math.round(40 * number / (total || 1))}%`);
      return cell;
    }

    // Four in a row or two by two, whichever makes them larger; by a whole factor in device pixels, so that they stay crisp.
    draw() {
      if (!this.round) return;
      const { bitmap, size, columns } = this.round, stage = $(this.element, ".lp-quiz-stage"), ratio = devicePixelRatio || 1;
      const gap = Math.round(GAP * ratio), total = columns * bitmap.height / size;
      const factor = (across) => {
        const down = Math.ceil(total / across), room = (length, cells) => ((length - 2 * GAP) * ratio - gap * (cells - 1)) / cells / size;
        return Math.max(1, Math.floor(Math.min(room(stage.clientWidth, across), room(stage.clientHeight, down))));
      };
      const across = factor(total) >= factor(columns) ? total : columns, cell = size * factor(across);
      this.canvas.width = across * (cell + gap) - gap;
      this.canvas.height = Math.ceil(total / across) * (cell + gap) - gap;
      this.canvas.style.width = `${this.canvas.width / ratio}px`;
      this.canvas.style.height = `${this.canvas.height / ratio}px`;
      const context = this.canvas.getContext("2d");
      context.imageSmoothingEnabled = false;
      for (let index = 0; index < total; index++) {
        const x = (index % across) * (cell + gap), y = Math.floor(index / across) * (cell + gap);
        context.drawImage(bitmap, (index % columns) * size, Math.floor(index / columns) * size, size, size, x, y, cell, cell);
      }
    }
  }

  playground.mountQuiz = (element, props) => (playground.quiz = new Quiz(element, props));
})();
