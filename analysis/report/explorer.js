"use strict";
(function () {
  const byId = (id) => document.getElementById(id);

  // Data and Plotly are kept compressed (gzip, base64) and unpacked when the explorer is opened.
  async function unpacked(id) {
    const bytes = Uint8Array.from(atob(byId(id).textContent), (one) => one.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).text();
  }

  const open = byId("explorer-open");
  open.hidden = false;
  open.addEventListener("click", async () => {
    open.disabled = true;
    open.textContent = "Opening ...";
    try {
      const script = document.createElement("script");
      script.textContent = await unpacked("explorer-plotly");
      document.head.append(script);
      explore(JSON.parse(await unpacked("explorer-data")));
      open.parentElement.remove();
    } catch (error) {
      open.textContent = "This browser cannot open the explorer: " + error.message;
    }
  });

  function explore(data) {
    const plot = byId("explorer-plot");
    const group = byId("explorer-group");
    const view = byId("explorer-view");
    const quantity = byId("explorer-quantity");
    const step = byId("explorer-step");
    const layer = byId("explorer-layer");
    const log = byId("explorer-log");
    const members = byId("explorer-members");
    const MAP_MEMBERS = 2;

    // Plotly reads a few tags in texts: names are shown as they are.
    const plain = (text) =>
      String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

    function option(select, value, text) {
      const one = document.createElement("option");
      one.value = value;
      one.textContent = text;
      select.append(one);
    }

    function checkbox(index, text, checked) {
      const label = document.createElement("label");
      const box = document.createElement("input");
      box.type = "checkbox";
      box.value = index;
      box.checked = checked;
      label.append(box, " " + text);
      members.append(label);
    }

    // The twins of the deepest network that has both, first seed.
    function deepestTwins(indices) {
      const of = (family, depth) =>
        indices.find((i) => data.members[i].family === family && data.members[i].depth === depth);
      const depths = indices.map((i) => data.members[i].depth).sort((a, b) => b - a);
      const depth = depths.find((d) => of("plain", d) !== undefined && of("residual", d) !== undefined);
      return depth === undefined ? indices.slice(0, 1) : [of("plain", depth), of("residual", depth)];
    }

    function fillMembers() {
      members.querySelectorAll("label").forEach((one) => one.remove());
      const indices = data.members.map((_, i) => i).filter((i) => data.members[i].group === +group.value);
      const first = deepestTwins(indices);
      indices.forEach((i) => checkbox(i, data.members[i].label, first.includes(i)));
    }

    const chosen = () =>
      [...members.querySelectorAll("input:checked")]
        .map((box) => data.members[+box.value])
        .filter((one) => one.values[quantity.value]);

    const union = (lists) => [...new Set(lists.flat())].sort((a, b) => a - b);
    const steps = () => union(chosen().map((one) => one.values[quantity.value].steps));
    const layers = () => union(chosen().map((one) => one.values[quantity.value].layers));

    const about = () => data.quantities.find((one) => one.id === quantity.value);
    // A quantity of the whole network has one value a step: a curve is all that there is to see.
    const shownAs = () => (about().whole ? "history" : view.value);

    function setRange(input, list) {
      input.max = Math.max(0, list.length - 1);
      if (+input.value > +input.max) input.value = input.max;
      input.disabled = list.length < 2;
    }

    // Zero and negative values have no place on a logarithmic axis.
    const onAxis = (value) => (log.checked && !(value > 0) ? null : value);

    function line(one, x, y, text) {
      return {
        type: "scatter", mode: "lines+markers", name: plain(one.label), x: x, y: y,
        text: text, hovertemplate: "%{text}<br>%{y:.4g}<extra>%{fullData.name}</extra>",
        line: { color: one.colour, dash: one.dash, width: 1.8 },
        marker: { color: one.colour, symbol: one.marker, size: 4 },
      };
    }

    function profiles(at) {
      return chosen().flatMap((one) => {
        const table = one.values[quantity.value];
        const row = table.rows[table.steps.indexOf(at)];
        if (!row) return [];
        const names = table.names.map((name, i) => "layer " + table.layers[i] + ": " + plain(name));
        return [line(one, table.layers, row.map(onAxis), names)];
      });
    }

    function histories(at) {
      return chosen().flatMap((one) => {
        const table = one.values[quantity.value];
        const column = table.layers.indexOf(at);
        if (column < 0) return [];
        const name = plain(table.names[column]);
        const texts = table.steps.map((each) => "step " + each + (name && ": " + name));
        const places = table.steps.map((each) => Math.log1p(each));
        return [line(one, places, table.rows.map((row) => onAxis(row[column])), texts)];
      });
    }

    const scaled = (value) => (value === null ? null : log.checked ? (value > 0 ? Math.log10(value) : null) : value);

    // The lowest and the highest value of the quantity in these members, at any step.
    function extent(shown) {
      const all = shown.flatMap((one) => one.values[quantity.value].rows.flat()).map(scaled);
      const known = all.filter((value) => value !== null);
      return [known.reduce((a, b) => Math.min(a, b), Infinity), known.reduce((a, b) => Math.max(a, b), -Infinity)];
    }

    function maps() {
      const shown = chosen().slice(0, MAP_MEMBERS);
      const [low, high] = extent(shown);
      return shown.map((one, k) => {
        const table = one.values[quantity.value];
        const axis = k ? String(k + 1) : "";
        return {
          type: "heatmap", name: plain(one.label), x: table.steps.map((_, i) => i), y: table.layers,
          z: table.layers.map((_, j) => table.rows.map((row) => scaled(row[j]))),
          text: table.layers.map((_, j) =>
            table.rows.map((row, i) => "step " + table.steps[i] + ", layer " + table.layers[j] +
              ": " + plain(table.names[j]) + "<br>" + row[j])),
          hovertemplate: "%{text}<extra></extra>", colorscale: "Viridis", zmin: low, zmax: high,
          showscale: k === shown.length - 1, colorbar: { thickness: 10, title: { text: log.checked ? "log10" : "" } },
          xaxis: "x" + axis, yaxis: "y" + axis,
        };
      });
    }

    const base = () => ({
      height: 440, margin: { l: 62, r: 12, t: 34, b: 50 }, showlegend: true,
      legend: { orientation: "h", y: -0.2 }, paper_bgcolor: "white", plot_bgcolor: "white",
      font: { family: "system-ui, sans-serif", size: 12 }, title: { text: "", font: { size: 13 } },
    });

    // One axis for all steps, so that what changes while they are stepped through is seen.
    function limits() {
      const [low, high] = extent(chosen());
      const margin = 0.04 * (high - low) || 0.5;
      return low <= high ? [low - margin, high + margin] : undefined;
    }

    function lineLayout(title, x, range) {
      const y = { title: { text: plain(about().label) }, type: log.checked ? "log" : "linear",
        exponentformat: "power", gridcolor: "#e6e8ec", zeroline: false, ...(range ? { range: range } : {}) };
      return { ...base(), title: { text: title, font: { size: 13 } },
        xaxis: { gridcolor: "#e6e8ec", zeroline: false, ...x }, yaxis: y };
    }

    function logSteps(list) {
      const last = list[list.length - 1] || 1;
      const ticks = [0, 1, 10, 100, 1000, 10000, 100000, 1000000].filter((each) => each <= last);
      return { title: { text: "step, log(1 + step) axis" }, tickvals: ticks.map((each) => Math.log1p(each)),
        ticktext: ticks.map(String) };
    }

    function mapLayout() {
      const layout = { ...base(), showlegend: false, annotations: [] };
      const shown = chosen().slice(0, MAP_MEMBERS);
      shown.forEach((one, k) => {
        const from = k / shown.length + (k ? 0.06 : 0);
        const axis = k ? String(k + 1) : "";
        const list = one.values[quantity.value].steps;
        const every = Math.ceil(list.length / 6);
        const ticks = list.map((_, i) => i).filter((i) => i % every === 0);
        layout["xaxis" + axis] = { domain: [from, (k + 1) / shown.length - 0.02], anchor: "y" + axis,
          title: { text: "step" }, tickvals: ticks, ticktext: ticks.map((i) => String(list[i])) };
        layout["yaxis" + axis] = { autorange: "reversed", anchor: "x" + axis, showticklabels: !k,
          title: { text: k ? "" : "layer" }, ...(k ? { matches: "y" } : {}) };
        layout.annotations.push({ text: plain(one.label), showarrow: false, xref: "paper", yref: "paper",
          x: from, xanchor: "left", y: 1.01, yanchor: "bottom" });
      });
      return layout;
    }

    function say() {
      const allSteps = steps();
      const allLayers = layers();
      setRange(step, allSteps);
      setRange(layer, allLayers);
      byId("explorer-view-row").hidden = about().whole;
      byId("explorer-step-row").hidden = shownAs() !== "profile";
      byId("explorer-layer-row").hidden = about().whole || shownAs() !== "history";
      const at = allSteps[+step.value];
      const where = allLayers[+layer.value];
      byId("explorer-step-text").textContent = at === undefined ? "none" : String(at);
      byId("explorer-layer-text").textContent = where === undefined ? "none" : String(where);
      step.setAttribute("aria-valuetext", "step " + at);
      layer.setAttribute("aria-valuetext", "layer " + where);
      return { at: at, where: where, allSteps: allSteps };
    }

    function draw() {
      const { at, where, allSteps } = say();
      const many = chosen().length > MAP_MEMBERS;
      byId("explorer-empty").textContent = chosen().length === 0
        ? "No chosen network has this quantity: choose another network or quantity."
        : shownAs() === "map" && many ? "The map shows the first two of the chosen networks." : "";
      const drawn = {
        profile: () => [profiles(at), lineLayout("every layer at step " + at, { title: { text: "layer (1 = stem)" } }, limits())],
        history: () => [histories(where), lineLayout((about().whole ? "the network" : "layer " + where) + " at every step", logSteps(allSteps))],
        map: () => [maps(), mapLayout()],
      }[shownAs()]();
      return Plotly.react(plot, drawn[0], drawn[1], {
        responsive: true, displaylogo: false,
        modeBarButtons: [["zoom2d", "pan2d", "autoScale2d", "toImage"]],  // none that sends data away
      });
    }

    const play = byId("explorer-play");
    let playing;
    function pause() {
      clearInterval(playing);
      playing = undefined;
      play.textContent = "Play";
    }
    play.addEventListener("click", () => {
      if (playing !== undefined) return pause();
      if (+step.value >= +step.max) step.value = 0;
      play.textContent = "Pause";
      playing = setInterval(() => {
        if (shownAs() !== "profile" || +step.value >= +step.max) return pause();
        step.value = +step.value + 1;
        draw();
      }, 250);
    });

    data.groups.forEach((text, i) => option(group, i, text));
    data.quantities.forEach((one) => option(quantity, one.id, one.label));
    byId("explorer-group-row").hidden = data.groups.length < 2;
    group.addEventListener("change", () => { fillMembers(); draw(); });
    members.addEventListener("change", draw);
    let before = about();
    quantity.addEventListener("change", () => {
      if (about().log !== before.log) log.checked = about().log;
      before = about();
      draw();
    });
    [view, log].forEach((one) => one.addEventListener("change", draw));
    [step, layer].forEach((one) => one.addEventListener("input", draw));
    log.checked = before.log;
    fillMembers();
    byId("explorer-controls").hidden = false;
    draw();
  }
})();
