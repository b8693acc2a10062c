// A family's tab: when its tasks are to be built, and which panels follow the choice of its model.
(() => {
  const playground = window.playground;
  const LINKED = /[?&](card|task|compare)=/.test(location.search); // then the server says which family begins, and with what
  const families = {};
  const named = (name) => (families[name] ??= { asked: new Set(), isBuilt: false, waits: false, ask: null, task: "", card: "" });
  const panels = (name) => Object.values(playground.panels).filter(({ props }) => props.panel.startsWith(`${name}-`));

  const open = (name, query = "") => { // its tasks, turned to the one that was looked at; whatever was there is replaced
    const family = named(name);
    for (const panel of panels(name)) panel.leave();
    Object.assign(family, { isBuilt: true, asked: new Set() });
    family.ask("open", { query, task: family.task });
  };

  playground.mountFamily = (name, isBuilt, props, trigger, watch) => { // the tab is seen for the first time
    const family = named(name), { link } = props.value;
    family.ask = trigger;
    if (isBuilt && !LINKED) family.isBuilt = true;
    else if (!LINKED || link !== undefined) open(name, link);
    watch("value", () => (props.value.link ? open(name, props.value.link) : (family.waits = true)));
  };
  playground.visit = (name) => { // its tab is turned to
    const family = named(name);
    if (family.waits && !family.isBuilt) open(name);
    playground.shown(`${name}-${family.task}`);
  };
  playground.turn = (name, task, isThere) => { // the tab of one of its tasks is
    const family = named(name);
    family.task = task;
    playground.shown(`${name}-${task}`);
    if (isThere || family.asked.has(task)) return;
    family.asked.add(task);
    family.ask(`open_${task}`);
  };

  const suits = (name, panel) => !panel.isLeft(named(name).card || panel.props.card);
  playground.chosen = (name, card) => {
    named(name).card = card;
    const built = panels(name);
    if (built.every((panel) => suits(name, panel))) built.forEach((panel) => panel.trigger("follow"));
    else open(name);
  };
  playground.tuned = (name) => panels(name).forEach((panel) => panel.trigger("tune"));

  const { mount } = playground;
  playground.mount = (...parts) => { // another model may have been chosen while it was on its way
    const panel = mount(...parts), name = panel.props.panel.split("-")[0];
    if (!suits(name, panel)) open(name);
  };
})();
