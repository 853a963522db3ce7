"use strict";
(() => {
  const find = (selector, inside = document) => [...inside.querySelectorAll(selector)];
  const one = (id) => document.getElementById(id);
  const data = JSON.parse(one("data").textContent);
  const grid = document.querySelector(".grid");
  const cards = find(".sample");
  const place = new Map(data.columns.map((column, at) => [column.name, at]));
  const titles = { noise_free: "before noise, in its own stretch", convergence: "convergence of the substructure, four decades" };

  // What is chosen. Classes by their position, ranges as [low, high] by column, null for an open end.
  const fresh = () => ({ classes: new Set(), splits: new Set(), ranges: new Map(), sort: "", down: false, open: null });
  let state = fresh();

  // ---- the view as a fragment, so that it can be shared
  function written() {
    const said = new URLSearchParams();
    for (const at of [...state.classes].sort()) said.append("without", data.classes[at]);
    for (const split of data.splits) if (state.splits.has(split)) said.append("without_split", split);
    for (const [name, [low, high]] of state.ranges) said.append("range", `${low ?? ""}..${high ?? ""} ${name}`);
    if (state.sort) said.set("sort", state.sort);
    if (state.down) said.set("order", "down");
    if (state.open !== null) said.set("sample", data.samples[state.open].id);
    return said.toString();
  }

  function read(text) {
    const said = new URLSearchParams(text);
    const found = fresh();
    for (const name of said.getAll("without")) if (data.classes.includes(name)) found.classes.add(data.classes.indexOf(name));
    for (const split of said.getAll("without_split")) if (data.splits.includes(split)) found.splits.add(split);
    for (const range of said.getAll("range")) {
      const [, low, high, name] = range.match(/^(.*?)\.\.(\S*) (.*)$/s) ?? [];
      if (place.has(name)) found.ranges.set(name, [number(low), number(high)]);
    }
    if (place.has(said.get("sort"))) found.sort = said.get("sort");
    found.down = said.get("order") === "down";
    const open = said.has("sample") ? data.samples.findIndex((sample) => String(sample.id) === said.get("sample")) : -1;
    found.open = open < 0 ? null : open;
    return found;
  }

  const number = (text) => (text === "" || !Number.isFinite(Number(text)) ? null : Number(text));

  function remember() {
    const text = written();
    if (location.hash.slice(1) !== text) history.replaceState(null, "", text ? `#${text}` : location.pathname + location.search);
  }

  // ---- which samples are shown, and in which order
  function inside(sample) {
    for (const [name, [low, high]] of state.ranges) {
      if (low === null && high === null) continue;
      const value = sample.values[place.get(name)];
      if (value === null || (low !== null && value < low) || (high !== null && value > high)) return false;
    }
    return !state.classes.has(sample.class) && !state.splits.has(sample.split);
  }

  function ordered() {
    const at = place.get(state.sort);
    const sign = state.down ? -1 : 1;
    const value = (k) => (at === undefined ? k : data.samples[k].values[at]);
    return data.samples.map((_, k) => k).sort((a, b) => {
      const [x, y] = [value(a), value(b)];
      if (x === null || y === null) return (x === null) - (y === null) || a - b;
      return sign * (x - y) || a - b;
    });
  }

  const visible = () => ordered().filter((k) => inside(data.samples[k]));

  function apply() {
    const shown = visible();
    const kept = new Set(shown);
    for (const k of ordered()) grid.append(cards[k]);
    cards.forEach((card, k) => { card.hidden = !kept.has(k); });
    one("shown").textContent = `${shown.length} of ${cards.length} shown`;
    one("empty").hidden = shown.length > 0;
    for (const input of find("[data-class]")) input.checked = !state.classes.has(Number(input.dataset.class));
    for (const input of find("[data-split]")) input.checked = !state.splits.has(input.dataset.split);
    for (const path of find("[data-of]")) path.classList.toggle("off", state.classes.has(Number(path.dataset.of)));
    one("sort").value = state.sort;
    one("down").checked = state.down;
    remember();
  }

  // ---- ranges
  function element(name, attributes = {}, text = "") {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.textContent = text;
    return made;
  }

  function drawRanges() {
    one("ranges").replaceChildren(...[...state.ranges.keys()].map(rangeLine));
  }

  function rangeLine(name) {
    const { unit } = data.columns[place.get(name)];
    const values = data.samples.map((sample) => sample.values[place.get(name)]).filter((value) => value !== null);
    const line = element("div", { "data-range": name });
    const ends = ["from", "to"].map((end, which) => {
      const input = element("input", { type: "number", step: "any", "aria-label": `${name} ${end}` });
      if (values.length) input.placeholder = spell(which ? Math.max(...values) : Math.min(...values));
      input.value = state.ranges.get(name)[which] ?? "";
      input.addEventListener("input", () => { state.ranges.get(name)[which] = number(input.value); apply(); });
      return input;
    });
    const away = element("button", { type: "button", "aria-label": `Remove the range of ${name}` }, "×");
    away.addEventListener("click", () => { state.ranges.delete(name); drawRanges(); apply(); });
    line.append(element("b", {}, name), ends[0], element("span", {}, "to"), ends[1], element("span", {}, unit), away);
    return line;
  }

  function addRange(name) {
    if (!state.ranges.has(name)) state.ranges.set(name, [null, null]);
    drawRanges();
    apply();
    find("[data-range]").find((line) => line.dataset.range === name).querySelector("input").focus({ preventScroll: true });
  }

  // ---- one sample
  function spell(value) {
    const size = Math.abs(value);
    if (value === 0 || (size >= 1e-3 && size < 1e5)) return value.toLocaleString("en", { maximumSignificantDigits: 4 }).replace("-", "−");
    const [mantissa, exponent] = value.toExponential(3).split("e");
    const raised = [...String(Number(exponent))].map((sign) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(sign)]).join("");
    return `${Number(mantissa)}×10${raised}`.replace("-", "−");
  }

  function picture(source, text) {
    const figure = element("figure");
    figure.append(element("img", { src: source, alt: text }), element("figcaption", {}, text));
    return figure;
  }

  function drawDetail() {
    const dialog = one("detail");
    if (state.open === null) return dialog.open && dialog.close();
    const sample = data.samples[state.open];
    one("detail-title").textContent = `Sample ${sample.id} · ${data.classes[sample.class]}`;
    const image = cards[state.open].querySelector("img").src;
    const products = Object.keys(titles).filter((name) => name in sample.products).map((name) => picture(sample.products[name], titles[name]));
    one("detail-pictures").replaceChildren(picture(image, "image"), ...products);
    one("detail-note").textContent = `Row ${sample.row.toLocaleString("en")} of ${sample.split}. `;
    if (data.command) one("detail-note").append(element("code", {}, `${data.command} ${sample.id}`));
    one("detail-values").replaceChildren(...data.columns.flatMap((column, at) => {
      if (sample.values[at] === null) return [];
      const line = element("tr");
      line.append(element("th", { scope: "row" }, column.name), element("td", {}, `${spell(sample.values[at])} ${column.unit}`), element("td", {}, column.text));
      return [line];
    }));
    if (!dialog.open) dialog.showModal();
  }

  function open(k) {
    state.open = k;
    drawDetail();
    remember();
  }

  function step(by) {
    const shown = visible();
    if (shown.length) open(shown[(shown.indexOf(state.open) + by + shown.length) % shown.length]);
  }

  // ---- what people do
  function toggle(set, key, on) {
    if (on) set.delete(key); else set.add(key);
    apply();
  }

  document.addEventListener("change", ({ target }) => {
    if (target.dataset.class !== undefined) toggle(state.classes, Number(target.dataset.class), target.checked);
    if (target.dataset.split !== undefined) toggle(state.splits, target.dataset.split, target.checked);
    if (target.id === "sort") { state.sort = target.value; apply(); }
    if (target.id === "down") { state.down = target.checked; apply(); }
    if (target.id === "add" && target.value) { addRange(target.value); target.value = ""; }
  });
  document.addEventListener("click", (event) => {
    const { target } = event;
    const opener = target.closest("[data-open]");
    if (opener) open(Number(opener.dataset.open));
    const link = target.closest("a[href^='#']");
    // an ordinary jump would take the place of the view in the fragment
    if (link) { event.preventDefault(); one(link.hash.slice(1)).scrollIntoView(); }
    const filter = target.closest("[data-filter]");
    if (filter) { addRange(filter.dataset.filter); one("gallery").scrollIntoView(); }
  });
  one("reset").addEventListener("click", () => { state = fresh(); drawRanges(); apply(); });
  one("close").addEventListener("click", () => one("detail").close());
  one("detail").addEventListener("close", () => { state.open = null; remember(); });
  one("detail").addEventListener("click", (event) => { if (event.target === one("detail")) one("detail").close(); });
  one("detail").addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") step(-1);
    if (event.key === "ArrowRight") step(1);
  });
  one("before").addEventListener("click", () => step(-1));
  one("after").addEventListener("click", () => step(1));
  one("copy").addEventListener("click", async ({ target }) => {
    const said = (text) => { target.textContent = text; setTimeout(() => { target.textContent = "copy"; }, 1500); };
    try {
      await navigator.clipboard.writeText(target.dataset.text);
      said("copied");
    } catch {
      one("digest").textContent = target.dataset.text;
      getSelection().selectAllChildren(one("digest"));
      said("selected");
    }
  });
  window.addEventListener("hashchange", () => show());

  function show() {
    state = read(location.hash.slice(1));
    drawRanges();
    apply();
    drawDetail();
  }

  document.documentElement.classList.remove("without-script");
  show();
})();
