// How two panes of a comparison differ.
(() => {
  const playground = window.playground;
  const GAIN = 2; // as on error maps

  // Pane b minus pane a, picture by picture, laid out as a is; b is scaled to a's size for looking.
  playground.difference = (bitmaps, panes, a, b) => {
    const { size, count, columns } = panes[a], other = panes[b], width = bitmaps[a].width, height = bitmaps[a].height;
    const pixels = (paint) => { const canvas = Object.assign(document.createElement("canvas"), { width, height }), context = canvas.getContext("2d", { willReadFrequently: true }); paint(context); return [canvas, context, context.getImageData(0, 0, width, height)]; };
    const [, , from] = pixels((context) => context.drawImage(bitmaps[a], 0, 0));
    const [canvas, context, to] = pixels((context) => {
      for (let index = 0; index < Math.min(count, other.count); index++)
        context.drawImage(bitmaps[b], (index % other.columns) * other.size, Math.floor(index / other.columns) * other.size, other.size, other.size, (index % columns) * size, Math.floor(index / columns) * size, size, size);
    });
    for (let at = 0; at < to.data.length; at += 4) {
      const grey = (data) => (data[at] + data[at + 1] + data[at + 2]) / 3, change = grey(to.data) - grey(from.data), strength = Math.min(1, GAIN * Math.abs(change) / 255);
      const colour = change > 0 ? [230, 159, 0] : [86, 180, 233];
      for (const part of [0, 1, 2]) to.data[at + part] = strength * colour[part];
      to.data[at + 3] = 255;
    }
    context.putImageData(to, 0, 0);
    return canvas;
  };
})();
