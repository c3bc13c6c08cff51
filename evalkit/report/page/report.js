"use strict";
// Everything that comes from a model or from data becomes a text node: nothing here writes HTML.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const tr = (template, values = {}) =>
    (data.messages[template] ?? template).replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
  const byId = (id) => document.getElementById(id);
  const integer = new Intl.NumberFormat(document.documentElement.lang);

  /** Make an element; properties are attributes, `on...` listeners, children are elements or text. */
  function el(tag, properties = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(properties)) {
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (value === true) element.setAttribute(name, "");
      else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
    }
    element.append(...children.filter((child) => child !== null && child !== undefined));
    return element;
  }

  // Characters that cannot be seen or that turn the direction of what follows are shown by their code.
  const UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]/g;
  // A megabyte without a space takes a browser minutes to break into lines: long texts are cut, and shown in pieces.
  const LONG = 20000, START = 4000, END = 8000, PIECE = 4000;
  function shown(text) {
    if (text.length <= LONG) return visible(text);
    const parts = el("span", { class: "long" }, visible(text.slice(0, START)));
    const all = () => parts.replaceChildren(...pieces(text).map((piece) => el("span", { class: "piece" }, visible(piece))));
    parts.append(el("button", { type: "button", class: "quiet cut", onclick: all },
      tr("show all {count} characters", { count: text.length.toLocaleString("en") })), visible(text.slice(-END)));
    return parts;
  }
  /** Cut a text into pieces that are laid out one by one, at line ends or spaces where there are any. */
  function pieces(text) {
    const found = [];
    for (let start = 0; start < text.length;) {
      let stop = Math.min(start + PIECE, text.length);
      if (stop < text.length) {
        const part = text.slice(start, stop);
        const at = Math.max(part.lastIndexOf("\n"), part.lastIndexOf(" "));
        if (at > PIECE / 2) stop = start + at + 1;
      }
      found.push(text.slice(start, stop));
      start = stop;
    }
    return found;
  }
  function visible(text) {
    const parts = document.createDocumentFragment();
    let last = 0;
    for (const match of text.matchAll(UNSEEN)) {
      parts.append(text.slice(last, match.index));
      const code = match[0].codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
      parts.append(el("span", { class: "ctl" }, `U+${code}`));
      last = match.index + match[0].length;
    }
    parts.append(text.slice(last));
    return parts;
  }

  // ---- Light and dark -------------------------------------------------------------------------------------------

  const root = document.documentElement;
  const stored = (() => { try { return localStorage.getItem("evalkit-theme"); } catch { return null; } })();
  if (stored === "light" || stored === "dark") root.dataset.theme = stored;
  byId("theme").hidden = false;
  byId("theme").addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    try { localStorage.setItem("evalkit-theme", root.dataset.theme); } catch { /* a file may have no storage */ }
  });

  // ---- The table of tasks ---------------------------------------------------------------------------------------

  const table = byId("task-table");
  const rows = [...table.tBodies[0].rows];
  const filterTasks = () => {
    const text = byId("task-text").value.trim().toLowerCase();
    const suite = byId("task-suite").value;
    const headline = byId("task-headline").checked;
    let count = 0;
    for (const row of rows) {
      const fits = (!text || row.textContent.toLowerCase().includes(text))
        && (!suite || row.dataset.suite === suite) && (!headline || "headline" in row.dataset);
      row.hidden = !fits;
      count += fits;
    }
    byId("task-count").textContent = tr("{count} of {all} rows", { count, all: rows.length });
  };
  byId("task-filter").hidden = false;
  byId("task-filter").addEventListener("input", filterTasks);
  byId("task-filter").addEventListener("submit", (event) => event.preventDefault());
  filterTasks();

  [...table.tHead.rows[0].cells].forEach((heading, column) => {
    if (!heading.dataset.sort) return;
    const button = el("button", { type: "button" }, ...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const numeric = heading.dataset.sort === "number";
      const before = heading.getAttribute("aria-sort");
      const first = numeric ? "descending" : "ascending";
      const order = before === first ? (numeric ? "ascending" : "descending") : first;
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", order);
      const sign = order === "ascending" ? 1 : -1;
      const key = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent;
      rows.sort((a, b) => {
        const [x, y] = [key(a), key(b)];
        if (!numeric) return sign * x.localeCompare(y, "en");
        if (x === "" || y === "") return (x === "") - (y === "");  // without a number: last, in either order
        return sign * (Number(x) - Number(y));
      });
      table.tBodies[0].append(...rows);
    });
  });
  for (const cell of table.querySelectorAll("th[data-task]")) {
    const name = cell.dataset.task;
    if (!data.tasks.some((task) => task.name === name)) continue;
    const button = el("button", { type: "button", title: tr("Show its samples") }, ...cell.childNodes);
    button.addEventListener("click", () => { change({ task: name }); byId("samples").scrollIntoView(); byId("x-task").focus({ preventScroll: true }); });
    cell.append(button);
  }

  if (!data.docs.length) return; // results without documents: nothing to explore

  // ---- Samples: what a document's numbers say -------------------------------------------------------------------

  const SHOWN = 100;
  const docs = data.docs;
  const several = data.runs.length > 1;
  const taskOf = (doc) => data.tasks[doc.t];
  const value = (doc, run) => doc.r[run]?.m[0] ?? null;
  const passes = (doc, run) => { const found = value(doc, run); return found === null ? null : found >= 0.5; };
  const verdict = (doc, run) => {
    if (!doc.r[run]) return "absent";
    const found = value(doc, run);
    return found === null ? "failed" : found >= 1 ? "right" : found <= 0 ? "wrong" : "partly";
  };
  const ICONS = { right: "✓", wrong: "✗", partly: "◐", failed: "!", absent: "·" };
  const WORDS = { right: tr("right"), wrong: tr("wrong"), partly: tr("partly right"), failed: tr("failed"), absent: tr("not run") };

  const goldProbability = (doc, run) => doc.r[run]?.h ?? null;
  const margin = (doc, run) => {
    if (!doc.r[run]) return null;
    const found = doc.r[run].q.slice(0, doc.s ?? undefined).filter((p) => p !== null).sort((a, b) => b - a);
    return found.length > 1 ? found[0] - found[1] : null;
  };
  function preview(doc) {
    const text = doc.c[0] ?? "";
    const after = (mark) => { const found = text.lastIndexOf(mark); return found < 0 ? 0 : found + mark.length; };
    const at = Math.max(text.startsWith("Q: ") ? 3 : 0, ...["\nQ: ", ".Q: ", "Question: "].map(after));
    const found = at ? text.slice(at, at + 2000) : text.slice(-400);
    // What was cut off begins at a word, unless it has none.
    const tail = at || text.length <= 400 ? found : found.replace(/^\S{0,80}\s+(?=\S)/, "");
    return tail.replace(/\s+/g, " ").replace(/ (Answer|A):.{0,60}$/, "").trim().slice(0, 220) || tr("(empty)");
  }
  const haystacks = new Map();
  function haystack(doc) {
    if (!haystacks.has(doc)) {
      const texts = [...doc.c, ...doc.o, ...doc.r.flatMap((result) => result?.w ?? [])];
      haystacks.set(doc, texts.join("\n").toLowerCase());
    }
    return haystacks.get(doc);
  }

  // ---- Samples: state, filter, order ----------------------------------------------------------------------------

  const state = { task: "", outcome: "", query: "", order: "document", before: 0, after: data.runs.length - 1, page: 0, current: null };
  let found = [];
  const OUTCOMES = {
    "": () => true,
    right: (doc) => verdict(doc, state.after) === "right",
    wrong: (doc) => verdict(doc, state.after) === "wrong",
    partly: (doc) => verdict(doc, state.after) === "partly",
    failed: (doc) => verdict(doc, state.after) === "failed",
    flipped: (doc) => flip(doc) !== "" ,
    lost: (doc) => flip(doc) === "lost",
    gained: (doc) => flip(doc) === "gained",
    bothright: (doc) => pair(doc) && flip(doc) === "" && passes(doc, state.after),
    bothwrong: (doc) => pair(doc) && flip(doc) === "" && !passes(doc, state.after),
  };
  const pair = (doc) => value(doc, state.before) !== null && value(doc, state.after) !== null;
  /** A graded score flips if it moves by at least a half, as in `evalkit compare`. */
  function flip(doc) {
    const [before, after] = [value(doc, state.before), value(doc, state.after)];
    if (before === null || after === null || Math.abs(after - before) < 0.5) return "";
    return after > before ? "gained" : "lost";
  }
  const KEYS = {
    gold: (doc) => goldProbability(doc, state.after),
    margin: (doc) => margin(doc, state.after),
    change: (doc) => {
      const [a, b] = [goldProbability(doc, state.before), goldProbability(doc, state.after)];
      return a === null || b === null ? null : -Math.abs(b - a);
    },
  };
  function select() {
    const query = state.query.trim().toLowerCase();
    const fits = OUTCOMES[state.outcome];
    const within = docs.filter((doc) => !state.task || taskOf(doc).name === state.task);
    found = within.filter((doc) => fits(doc) && (!query || haystack(doc).includes(query)));
    if (state.order !== "document") {
      const keys = new Map(found.map((doc) => [doc, KEYS[state.order](doc)]));
      found.sort((a, b) => (keys.get(a) ?? Infinity) - (keys.get(b) ?? Infinity) || 0);
    }
    return within;
  }
  function change(changes, keep = false) {
    Object.assign(state, changes);
    if (!keep) state.page = 0;
    for (const name of ["task", "outcome", "order", "before", "after"]) {
      const control = byId(`x-${name}`);
      if (control) control.value = String(state[name]);
    }
    const within = select();
    if (!keep && !found.includes(state.current)) state.current = found[0] ?? null;
    drawFlips(within);
    drawList();
    drawDetail();
  }

  // ---- Samples: controls, list ----------------------------------------------------------------------------------

  const explorer = byId("explorer");
  const option = (text, chosen) => el("option", { value: chosen }, text);
  const labelled = (text, control) => el("label", {}, text, control);
  const bySuite = new Map();
  for (const task of data.tasks) bySuite.set(task.suite, [...(bySuite.get(task.suite) ?? []), task]);
  const taskSelect = el("select", { id: "x-task", onchange: (event) => change({ task: event.target.value }) }, option(tr("all tasks"), ""),
    ...[...bySuite].map(([suite, tasks]) => el("optgroup", { label: suite }, ...tasks.map((task) => option(task.name, task.name)))));
  const outcomes = [["", tr("all")], ["right", tr("right")], ["wrong", tr("wrong")], ["partly", tr("partly right")], ["failed", tr("failed")]];
  if (several) outcomes.push(["flipped", tr("flipped")], ["gained", tr("gained")], ["lost", tr("lost")], ["bothright", tr("both right")], ["bothwrong", tr("both wrong")]);
  const orders = [["document", tr("as in the data")], ["gold", tr("right answer least probable first")], ["margin", tr("closest calls first")]];
  if (several) orders.push(["change", tr("largest change first")]);
  const choose = (id, pairs) => el("select", { id: `x-${id}`, onchange: (event) => change({ [id]: event.target.value }) }, ...pairs.map(([key, text]) => option(text, key)));
  const runSelect = (id) => el("select", { id: `x-${id}`, onchange: (event) => change({ [id]: Number(event.target.value) }) },
    ...data.runs.map((run, i) => option(run.label, i)));
  let waiting = 0;
  const search = el("input", { type: "search", id: "x-query", autocomplete: "off", oninput: (event) => {
    clearTimeout(waiting);
    waiting = setTimeout(() => change({ query: event.target.value }), 120);
  } });
  const flips = el("fieldset", { class: "flips", hidden: !several });
  const count = el("output", { id: "x-count" });
  const list = el("ul", { class: "options", role: "listbox", "aria-label": tr("Documents") });
  const pager = el("div", { class: "pager" });
  const detail = el("article", { class: "detail" });
  explorer.append(
    el("form", { class: "controls", onsubmit: (event) => event.preventDefault() },
      labelled(tr("Task"), taskSelect), labelled(tr("Outcome"), choose("outcome", outcomes)), labelled(tr("Order"), choose("order", orders)),
      several && data.runs.length > 2 ? labelled(tr("From"), runSelect("before")) : null,
      several && data.runs.length > 2 ? labelled(tr("To"), runSelect("after")) : null,
      labelled(tr("Find in prompts and answers"), search), count),
    flips,
    el("div", { class: "split" }, el("div", { class: "list" }, list, pager), detail));
  explorer.hidden = false;

  function drawFlips(within) {
    if (!several) return;
    const counts = { bothright: 0, lost: 0, gained: 0, bothwrong: 0 };
    for (const doc of within) for (const name of Object.keys(counts)) counts[name] += OUTCOMES[name](doc);
    const names = { from: data.runs[state.before].letter, to: data.runs[state.after].letter };
    const texts = {
      bothright: tr("both right"), lost: tr("right in {from}, wrong in {to}", names),
      gained: tr("wrong in {from}, right in {to}", names), bothwrong: tr("both wrong"),
    };
    flips.replaceChildren(el("legend", {}, tr("The same documents in {from} and {to}", names)), ...Object.entries(counts).map(([name, n]) =>
      el("button", { type: "button", class: "quiet", "data-outcome": name, "aria-pressed": String(state.outcome === name),
        onclick: () => { change({ outcome: state.outcome === name ? "" : name }); flips.querySelector(`[data-outcome="${name}"]`).focus(); } },
        el("b", {}, integer.format(n)), ` ${texts[name]}`)));
  }

  function drawList() {
    const pages = Math.max(1, Math.ceil(found.length / SHOWN));
    state.page = Math.min(Math.max(0, state.page), pages - 1);
    const visible = found.slice(state.page * SHOWN, (state.page + 1) * SHOWN);
    const tabbed = visible.includes(state.current) ? state.current : visible[0];
    list.replaceChildren(...visible.map((doc) => {
      const mark = verdict(doc, state.after);
      const turned = several ? flip(doc) : "";
      const icon = turned === "gained" ? "✗→✓" : turned === "lost" ? "✓→✗" : ICONS[mark];
      const words = turned ? tr(turned) : WORDS[mark];
      const item = el("li", { role: "option", tabindex: doc === tabbed ? "0" : "-1", "aria-selected": String(doc === state.current) },
        el("span", { class: `icon ${mark === "partly" ? (passes(doc, state.after) ? "right" : "wrong") : mark}`, "aria-hidden": "true" }, turned ? icon.at(-1) : icon),
        el("span", {},
          el("span", { class: "where" }, el("span", { class: "hidden" }, `${words}. `), `${taskOf(doc).name} · ${doc.d}${turned ? ` · ${icon}` : ""}`),
          el("span", { class: "preview", dir: "auto" }, shown(preview(doc)))));
      item.addEventListener("click", () => open(doc, true));
      item.doc = doc;
      return item;
    }));
    if (!visible.length) list.append(el("li", { class: "empty", role: "option", "aria-disabled": "true", "aria-selected": "false" }, tr("No document fits.")));
    count.textContent = tr("{count} of {all} documents", { count: integer.format(found.length), all: integer.format(docs.length) });
    const move = (by) => () => { state.page += by; state.current = found[state.page * SHOWN] ?? null; drawList(); drawDetail(); list.scrollTop = 0; };
    const jump = el("input", { type: "number", min: "1", max: String(pages), value: String(state.page + 1), "aria-label": tr("Page") });
    jump.addEventListener("change", () => { const page = Math.min(pages, Math.max(1, Math.round(Number(jump.value)) || 1)) - 1; move(page - state.page)(); });
    pager.replaceChildren(
      el("button", { type: "button", class: "quiet", disabled: state.page === 0, onclick: move(-1), "aria-label": tr("Previous page") }, "‹"),
      el("span", {}, jump, ` ${tr("of {pages} pages", { pages: integer.format(pages) })}`),
      el("button", { type: "button", class: "quiet", disabled: state.page >= pages - 1, onclick: move(1), "aria-label": tr("Next page") }, "›"));
    pager.hidden = pages === 1;
  }

  /** Show a document; the list follows, also to another page. */
  function open(doc, byHand) {
    const at = found.indexOf(doc);
    state.current = doc;
    const page = Math.floor(at / SHOWN);
    if (at >= 0 && page !== state.page) { state.page = page; drawList(); }
    for (const item of list.children) {
      const chosen = item.doc === doc;
      item.setAttribute("aria-selected", String(chosen));
      item.tabIndex = chosen ? 0 : -1;
      if (chosen) item.scrollIntoView({ block: "nearest", behavior: "instant" });
    }
    drawDetail();
    try { history.replaceState(null, "", `#sample/${encodeURIComponent(taskOf(doc).name)}/${doc.d}`); } catch { /* not allowed for some files */ }
    if (byHand && matchMedia("(max-width: 52rem)").matches) detail.scrollIntoView({ block: "start" });
  }
  list.addEventListener("keydown", (event) => {
    const at = found.indexOf(event.target.doc);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -Infinity, End: Infinity };
    if (at < 0 || !(event.key in steps || event.key === "Enter" || event.key === " ")) return;
    event.preventDefault();
    const next = found[Math.min(found.length - 1, Math.max(0, at + (steps[event.key] ?? 0)))];
    open(next, !(event.key in steps));
    [...list.children].find((item) => item.doc === next)?.focus({ preventScroll: true });
  });

  // ---- Samples: one document ------------------------------------------------------------------------------------

  const number = (x, places) => (x === null || x === undefined ? "–" : x.toFixed(places));
  const block = (text, label) => el("pre", { dir: "auto", tabindex: "0", role: "region", "aria-label": label }, shown(text));

  function drawDetail() {
    const doc = state.current;
    if (!doc) { detail.replaceChildren(el("p", { class: "empty" }, tr("No document fits."))); return; }
    const task = taskOf(doc);
    const at = found.indexOf(doc);
    const step = (by, text) => el("button", { type: "button", class: "quiet", disabled: at < 0 || !found[at + by], "data-step": by,
      onclick: () => { open(found[at + by], false); detail.querySelector(`[data-step="${by}"]:not(:disabled)`)?.focus(); } }, text);
    const badges = el("ul", { class: "badges" }, ...doc.r.flatMap((result, run) => {
      const mark = verdict(doc, run);
      const who = several ? `${data.runs[run].letter}: ` : "";
      const scores = (result?.m ?? []).map((score, i) => `${task.metrics[i]} ${number(score, score === 0 || score === 1 ? 0 : 3)}`);
      return [el("li", { class: `badge ${mark}` }, `${who}${ICONS[mark]} ${WORDS[mark]}`, el("span", { class: "small" }, scores.length ? ` ${scores.join(" · ")}` : ""))];
    }));
    const parts = [
      el("header", {}, el("h3", {}, `${task.name} · ${tr("document {number}", { number: doc.d })}`),
        el("span", {}, step(-1, "‹ " + tr("previous")), " ", step(1, tr("next") + " ›"), " ",
          el("button", { type: "button", class: "quiet back", onclick: () => explorer.scrollIntoView() }, tr("to the list")))),
      badges];
    const asked = doc.r.map((result, run) => [run, result?.c ?? doc.c, result]).filter(([, , result]) => result);
    const same = asked.every(([, texts]) => texts.join("\0") === asked[0][1].join("\0"));
    for (const [run, texts] of same ? asked.slice(0, 1) : asked) {
      texts.forEach((text, i) => {
        const label = `${tr("Prompt")}${texts.length > 1 ? ` ${i + 1}` : ""}${same ? "" : ` (${data.runs[run].letter})`}`;
        parts.push(el("h4", {}, label), block(text, label));
      });
    }
    if (doc.o.length) parts.push(choices(doc, task));
    else if (doc.x !== null) { parts.push(el("h4", {}, tr("Target")), block(typeof doc.x === "string" ? doc.x : JSON.stringify(doc.x), tr("Target"))); }
    doc.r.forEach((result, run) => {
      const who = several ? ` (${data.runs[run].letter})` : "";
      (result?.w ?? []).forEach((text, i) => {
        const label = `${tr("Generated text")}${result.w.length > 1 ? ` ${i + 1}` : ""}${who}`;
        parts.push(el("h4", {}, label), block(text, label));
      });
      if (result?.e) { parts.push(el("h4", {}, `${tr("What was recorded")}${who}`), block(JSON.stringify(result.e, null, 2), tr("What was recorded"))); }
    });
    detail.replaceChildren(...parts);
    // The question stands at the end of a prompt, after examples or a passage.
    for (const text of detail.querySelectorAll("pre")) if (text === detail.querySelector("pre")) text.scrollTop = text.scrollHeight;
  }

  function choices(doc, task) {
    const perChar = task.perChar;
    const columns = 3 + perChar;
    const head = el("tr", {}, el("th", { scope: "col" }, tr("probability among the choices")), el("th", { scope: "col" }, "%"),
      el("th", { scope: "col" }, tr("log-prob., nats")), perChar ? el("th", { scope: "col" }, tr("per character")) : null);
    const table = el("table", { class: "choices" }, el("caption", { class: "hidden" }, tr("Choices")), el("thead", {}, head));
    const results = doc.r.map((result, run) => [run, result]).filter(([, result]) => result);
    const best = (numbers) => numbers.reduce((top, x, i) => (x !== null && (top < 0 || x > numbers[top]) ? i : top), -1);
    const perCharacter = (result, length, i) => (result.l[i] === null || !length ? null : result.l[i] / length);
    doc.o.forEach((text, i) => {
      const gold = doc.g?.includes(i) ?? false;
      const group = doc.s ? task.groups[i < doc.s ? 0 : 1] : "";
      const body = el("tbody", { class: gold ? "gold" : "" }, el("tr", {}, el("th", { class: "text", scope: "rowgroup", colspan: columns, dir: "auto" },
        group ? el("span", { class: "who" }, group) : null,
        doc.c.length > 1 ? el("span", { class: "who" }, tr("prompt {number}", { number: i + 1 })) : null,
        gold ? el("span", { class: "tag gold" }, `✓ ${tr("right answer")}`) : null,
        ...results.filter(([, result]) => result.p === i).map(([run]) =>
          el("span", { class: "tag pick" }, several ? tr("picked by {run}", { run: data.runs[run].letter }) : tr("picked"))),
        shown(text.replace(/^ /, "")))));
      for (const [run, result] of results) {
        const share = result.q[i];
        const fill = el("i");
        fill.style.width = `${(100 * (share ?? 0)).toFixed(2)}%`;
        const own = (result.o ? result.n : doc.n) ?? [];
        const scores = perChar ? own.map((length, j) => perCharacter(result, length, j)) : [];
        body.append(el("tr", {},
          el("td", {}, several ? el("span", { class: "who" }, data.runs[run].letter) : null, el("span", { class: run ? "meter b" : "meter", "aria-hidden": "true" }, fill),
            result.y.includes(i) ? el("span", { class: "small", title: tr("what the model would write by itself") }, ` ${tr("greedy")}`) : null),
          el("td", {}, share === null ? "–" : share > 0 && share < 0.0005 ? "<0.1" : number(100 * share, 1)),
          el("td", { class: !doc.s && best(result.l) === i ? "best" : "" }, number(result.l[i], 2)),
          perChar ? el("td", { class: best(scores) === i ? "best" : "" }, number(scores[i] ?? null, 3)) : null));
      }
      table.append(body);
    });
    return el("div", {}, el("h4", {}, tr("Choices")), table);
  }

  // ---- Links to one sample --------------------------------------------------------------------------------------

  function fromAddress() {
    const match = /^#sample\/([^/]+)\/(\d+)$/.exec(location.hash);
    if (!match) return;
    let name = "";
    try { name = decodeURIComponent(match[1]); } catch { return; }
    const doc = docs.find((other) => taskOf(other).name === name && other.d === Number(match[2]));
    if (!doc) return;
    change({ task: name, outcome: "", query: "", order: "document" });
    search.value = "";
    open(doc, false);
    byId("samples").scrollIntoView({ behavior: "instant" });
  }
  change({});
  addEventListener("hashchange", fromAddress);
  fromAddress();
})();
