// What is handed to the page: a picture, by button or dropped anywhere; and the wish to see the list of its endpoints.
(() => {
  const playground = window.playground;
  const { $, say } = playground.helpers;

  // A picture with a recipe restores the page, any other goes where the eye is.
  const send = async (file, panel, alwaysPicture) => {
    const about = playground.limits;
    if (file.size > about.bytes) return { error: `${file.name} has ${(file.size / 2 ** 20).toFixed(1)} MiB. Hand in a picture of at most ${about.bytes / 2 ** 20} MiB.` };
    try {
      const card = playground.panels[panel]?.kept?.card || about.card;
      const answer = await fetch(`playground/open?card=${encodeURIComponent(card)}${alwaysPicture ? "&as=picture" : ""}`, { method: "POST", body: file });
      return await answer.json();
    } catch { return { error: "The file could not be sent. Check the connection and try again." }; }
  };
  playground.send = send;

  playground.open = async (file) => {
    const shown = Object.values(playground.panels).find((panel) => panel.visible);
    const answer = await send(file, shown?.props.panel);
    if (answer.query) { location.search = `?${answer.query}`; return; }
    if (answer.latent && shown?.picker) { shown.picker.put(answer.latent); say("The picture is in."); return; }
    say(answer.error || "That picture holds no recipe of this page. Open it in Reconstruct, Traverse or Interpolate to use it as a picture.");
  };
  addEventListener("dragover", (event) => { if (event.dataTransfer?.types.includes("Files")) { event.preventDefault(); document.body.classList.add("lp-drop"); } });
  addEventListener("dragleave", (event) => { if (!event.relatedTarget) document.body.classList.remove("lp-drop"); });
  addEventListener("drop", (event) => {
    document.body.classList.remove("lp-drop");
    if (!event.dataTransfer?.files.length) return;
    event.preventDefault();
    playground.open(event.dataTransfer.files[0]);
  });
  playground.mountOpen = (element, props) => {
    playground.limits = props.value;
    const input = $(element, "input");
    $(element, "button").addEventListener("click", () => input.click());
    input.addEventListener("change", () => { if (input.files[0]) playground.open(input.files[0]); input.value = ""; });
  };

  addEventListener("click", (event) => { // the document of a visitor leaves out the endpoints; the list of them needs the whole one
    if (!window.gradio_config?.is_slim || !event.target.closest?.("footer .show-api")) return;
    event.stopImmediatePropagation();
    location.search = `?${[location.search.slice(1), "view=api"].filter(Boolean).join("&")}`;
  }, true);
  const list = () => { // Gradio takes `view=api` for an open list without having loaded it: closed and opened again, it is there
    const button = document.querySelector("footer .show-api");
    if (!button) return setTimeout(list, 50);
    button.click();
    setTimeout(() => button.click(), 0);
  };
  if (location.search.includes("view=api")) list();
})();
