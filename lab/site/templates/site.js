// SPDX-License-Identifier: GPL-2.0-or-later
// The matrix of a night, and the comparison of two kernels. Data comes from nights/*.js, which call
// faultlab.night(); words in it were written by guests, so they become text nodes and never markup.
"use strict";
const faultlab = (() => {
  const OUTCOMES = ["CRASH", "TIMEOUT", "FAIL", "ERROR", "PASS", "SKIP", "not run"];
  const BAD = new Set(["CRASH", "TIMEOUT", "FAIL"]);
  const NEW = 1, EXPECTED = 2, FLAKY = 4, UNCHANGED = 8, UNEXPECTED = 16; // as lab/site/payload.py has them
  const MARKS = [["new", NEW], ["expected", EXPECTED], ["flaky", FLAKY], ["unchanged", UNCHANGED],
    ["unexpected pass", UNEXPECTED]];
  const ROWS = 60, COLUMNS = 12, LINES = 100; // of one page of a table
  const nights = new Map(), waiting = new Map();
  const $ = (id) => document.getElementById(id);

  function make(tag, attributes, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
      if (value !== "" && value !== false && value !== undefined) element.setAttribute(name, value === true ? "" : value);
    }
    element.append(...children.filter((child) => child !== "" && child !== null));
    return element;
  }

  const thousands = (number) => number.toLocaleString("en-US");
  const words = (text) => text.toLowerCase().split(/\s+/).filter(Boolean);

  // ---- a night's data, unpacked ----
  function unpack(data) {
    data.kernels.forEach((kernel) => {
      kernel.label = kernel.kernel + (kernel.series ? " + " + kernel.series : "") + (kernel.kconfig ? ", " + kernel.kconfig : "");
    });
    data.rows = data.rows.map(([name, machine, clock, trend]) => ({
      name, machine, clock, trend, topic: name.split("/")[0], short: name.split("/").slice(1).join("/") || name,
    }));
    data.boxes = data.boxes.map(([row, column, outcome, marks, page, reason, rate, seconds, run, digest, conditions, boots, numbers]) => ({
      row: data.rows[row], at: row, column, kernel: data.kernels[column], outcome: OUTCOMES[outcome], marks, page,
      reason: data.reasons[reason], rate, seconds, run: data.runs[run], digest: data.digests[digest],
      conditions: data.conditions[conditions], boots, numbers,
    }));
    return data;
  }

  function night(packed) {
    const data = unpack(packed);
    nights.set(data.run, data);
    if (waiting.has(data.run)) waiting.get(data.run)(data);
    else if ($("outcomes")) showNight(data);
  }

  // ---- what the address bar keeps, so that a view can be linked to ----
  function fromHash(form) {
    const kept = new URLSearchParams(location.hash.slice(1));
    for (const element of form.elements) {
      if (element.name && kept.has(element.name)) element.value = kept.get(element.name);
      if (element.tagName === "SELECT" && element.selectedIndex < 0) element.selectedIndex = 0;
    }
    return kept;
  }

  function toHash(values) {
    const kept = new URLSearchParams(Object.entries(values).filter(([, value]) => value));
    const text = kept.toString();
    history.replaceState(null, "", text ? "#" + text : location.pathname);
  }

  const valuesOf = (form) => Object.fromEntries([...form.elements].filter((e) => e.name).map((e) => [e.name, e.value]));

  function options(select, names) {
    for (const name of names) select.append(make("option", { value: name }, name));
  }

  function pager(place, what, from, size, total, go) {
    if (total <= size) return;
    const last = Math.min(from + size, total);
    const step = (text, to, able) => {
      const button = make("button", { type: "button", "aria-label": `${text} ${what}`, disabled: !able }, text);
      button.addEventListener("click", () => go(to));
      return button;
    };
    place.append(
      step("previous", from - size, from > 0), step("next", from + size, last < total),
      make("span", {}, `${what} ${thousands(from + 1)} to ${thousands(last)} of ${thousands(total)}`));
  }

  // ---- the page of a night ----
  function showNight(data) {
    const form = $("filters"), buttons = [...$("outcomes").querySelectorAll("button")];
    const by = new Map(data.boxes.map((box) => [box.at + " " + box.column, box]));
    const unique = (list) => [...new Set(list)].sort();
    options(form.topic, unique(data.rows.map((row) => row.topic)));
    options(form.machine, unique(data.rows.map((row) => row.machine)));
    options(form.kernel, data.kernels.map((kernel) => kernel.label));
    const marked = MARKS.filter(([, bit]) => data.boxes.some((box) => box.marks & bit)).map(([name]) => name);
    options(form.mark, marked);
    form.mark.parentElement.hidden = !marked.length;
    form.hidden = false;
    let rowFrom = 0, columnFrom = 0;
    const kept = fromHash(form);
    const wanted = new Set((kept.get("outcome") || "").split(",").filter(Boolean));
    buttons.forEach((button) => {
      button.setAttribute("aria-pressed", wanted.has(button.dataset.outcome));
      button.addEventListener("click", () => {
        const name = button.dataset.outcome;
        if (!wanted.delete(name)) wanted.add(name);
        button.setAttribute("aria-pressed", wanted.has(name));
        again();
      });
    });

    function haystack(box) {
      box.text = box.text || [box.row.name, box.row.machine, box.row.clock, box.kernel.label, box.kernel.name, box.outcome,
        box.reason].join(" ").toLowerCase();
      return box.text;
    }

    function matching() {
      const f = valuesOf(form), search = words(f.q), bit = (MARKS.find(([name]) => name === f.mark) || [0, 0])[1];
      toHash({ ...f, outcome: [...wanted].join(",") });
      return data.boxes.filter((box) =>
        (!wanted.size || wanted.has(box.outcome)) && (!f.topic || box.row.topic === f.topic)
        && (!f.machine || box.row.machine === f.machine) && (!f.kernel || box.kernel.label === f.kernel)
        && (!bit || box.marks & bit) && search.every((word) => haystack(box).includes(word)));
    }

    function show() {
      const hits = matching();
      $("told").textContent = hits.length === data.boxes.length ? `${thousands(hits.length)} cells`
        : `${thousands(hits.length)} of ${thousands(data.boxes.length)} cells`;
      const grid = $("grid"), place = $("pager");
      place.replaceChildren();
      if (!hits.length) grid.replaceChildren(make("p", {}, "No cell is like that."));
      else if (form.view.value === "list") list(hits, grid, place);
      else matrix(hits, grid, place);
    }

    function matrix(hits, grid, place) {
      const chosen = new Set(hits), rows = [...new Set(hits.map((box) => box.at))].sort((a, b) => a - b);
      const columns = [...new Set(hits.map((box) => box.column))].sort((a, b) => a - b);
      const shownColumns = columns.slice(columnFrom, columnFrom + COLUMNS), body = make("tbody");
      let topic = null, before = null;
      for (const at of rows.slice(rowFrom, rowFrom + ROWS)) {
        const row = data.rows[at];
        if (row.topic !== topic && row.topic !== row.name) {
          body.append(make("tr", { class: "topic" }, make("th", { colspan: shownColumns.length + 1, scope: "rowgroup" }, row.topic)));
        }
        topic = row.topic;
        const name = row.trend ? make("a", { href: "../".repeat(depth()) + row.trend }, row.short) : row.short;
        const where = row.machine + (row.clock === "virtual" ? "" : ", " + row.clock), repeated = row.name === before;
        before = row.name;
        body.append(make("tr", {}, make("th", { scope: "row", class: repeated ? "again" : "" }, name, " ", make("span", { class: "muted" }, where)),
          ...shownColumns.map((column) => cellOf(by.get(at + " " + column), chosen))));
      }
      grid.replaceChildren(make("table", { class: "matrix" },
        make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "case"), ...shownColumns.map((column) => {
          const kernel = data.kernels[column];
          return make("th", { scope: "col" }, kernel.kernel, kernel.series && make("span", {}, "+ " + kernel.series),
            kernel.kconfig && make("span", {}, kernel.kconfig));
        }))), body));
      const first = grid.querySelector("td a");
      if (first) first.tabIndex = 0;
      pager(place, "rows", rowFrom, ROWS, rows.length, (to) => { rowFrom = to; turned(); });
      pager(place, "kernels", columnFrom, COLUMNS, columns.length, (to) => { columnFrom = to; turned(); });
    }

    function list(hits, grid, place) {
      const order = (box) => [!(box.marks & NEW), !!(box.marks & EXPECTED), OUTCOMES.indexOf(box.outcome)].map(Number).join("");
      const sorted = hits.map((box) => [order(box), box]).sort((a, b) => (a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0));
      grid.replaceChildren(make("table", { class: "list" },
        make("thead", {}, make("tr", {}, ...["case", "machine", "kernel", "outcome", "reason"].map((name) => make("th", { scope: "col" }, name)))),
        make("tbody", {}, ...sorted.slice(rowFrom, rowFrom + LINES).map(([, box]) => make("tr", {},
          make("th", { scope: "row" }, box.row.name), make("td", {}, box.row.machine), make("td", {}, box.kernel.label),
          make("td", {}, link(box, end(box)), ...marksOf(box)), make("td", {}, box.reason))))));
      pager(place, "cells", rowFrom, LINES, sorted.length, (to) => { rowFrom = to; turned(); });
    }

    function again() { rowFrom = columnFrom = 0; show(); }
    function turned() { show(); $("grid").focus(); $("matrix").scrollIntoView(); }
    form.addEventListener("input", again);
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("reset", () => {
      wanted.clear();
      buttons.forEach((button) => button.setAttribute("aria-pressed", "false"));
      setTimeout(again);
    });
    $("grid").addEventListener("keydown", walk);
    show();
  }

  const depth = () => Number(document.body.dataset.depth || 0);
  const end = (box) => make("span", { class: "end " + box.outcome.toLowerCase().replace(" ", "-") + (box.marks & EXPECTED ? " expected" : "") }, box.outcome);
  const link = (box, child) => (box.page ? make("a", { href: "../".repeat(depth()) + box.page }, child) : child);

  function marksOf(box) {
    const mark = (name, text) => make("span", { class: "mark " + name }, text);
    const found = [];
    if (box.marks & NEW) found.push(mark("new", "new"));
    if (box.marks & EXPECTED) found.push(mark("expected", "expected"));
    if (box.marks & UNEXPECTED) found.push(mark("unexpected", "unexpected"));
    if (box.marks & FLAKY) found.push(mark("flaky", `flaky ${box.rate[0]}/${box.rate[1]}`));
    if (box.marks & UNCHANGED) found.push(mark("unchanged", "unchanged"));
    return found;
  }

  function cellOf(box, chosen) {
    if (!box) return make("td", { title: "not in the matrix" }, make("span", { class: "end" }, "-"));
    const kind = !chosen.has(box) ? "off" : BAD.has(box.outcome) && !(box.marks & EXPECTED) ? "bad" : box.outcome === "ERROR" ? "odd" : "";
    const inside = [end(box), ...marksOf(box)];
    const title = [`${box.row.name} on ${box.row.machine}, ${box.kernel.label}: ${box.outcome}`, box.reason].filter(Boolean).join("\n");
    const content = box.page ? [make("a", { href: "../".repeat(depth()) + box.page, tabindex: "-1" }, ...inside)] : inside;
    return make("td", { class: kind, title }, ...content);
  }

  // Arrow keys go from cell to cell; of all cells one is in the order of the tab key.
  function walk(event) {
    const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    const cell = document.activeElement.closest(".matrix td");
    if (!step || !cell) return;
    let row = cell.parentElement, at = cell.cellIndex;
    for (;;) {
      if (step[0]) row = step[0] > 0 ? row.nextElementSibling : row.previousElementSibling;
      at += step[1];
      const next = row && row.cells[at];
      if (!row || at < 1 || (!next && step[1])) return;
      const target = next && next.querySelector("a");
      if (!target || next.tagName === "TH") continue;
      event.preventDefault();
      document.activeElement.tabIndex = -1;
      target.tabIndex = 0;
      target.focus();
      return;
    }
  }

  // ---- judging two kernels: the rules of lab/compare, for numbers that are there already ----
  const MIN_PAIRS = 6, ALPHA = 0.05;

  function median(values) {
    const sorted = [...values].sort((a, b) => a - b), half = sorted.length >> 1;
    return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
  }

  const relative = (base, patched) => (base === 0 || !Number.isFinite(patched / base - 1) ? null : patched / base - 1);

  // lab/compare/ranges.py
  function compareRanges(base, patched, tolerance) {
    const [lowB, highB, lowP, highP] = [Math.min(...base), Math.max(...base), Math.min(...patched), Math.max(...patched)];
    let direction = null;
    if (lowP > highB * (1 + tolerance)) direction = 1;
    else if (highP < lowB * (1 - tolerance)) direction = -1;
    else if (highP <= lowB * (1 + tolerance) && lowP >= highB * (1 - tolerance)) direction = 0;
    const change = relative(median(base), median(patched));
    const exact = lowB === highB && lowP === highP;
    const spread = (low, high, n) => (low === high ? `${amount(low)} in ${n} boots` : `${amount(low)} to ${amount(high)} in ${n} boots`);
    const note = exact ? (direction === null ? "the values are too large to be told apart" : "")
      : `not the same in every boot: A ${spread(lowB, highB, base.length)}, B ${spread(lowP, highP, patched.length)}`
        + (direction === null ? "; the ranges do not settle it" : "");
    return { direction, change, note };
  }

  // lab/compare/boots.py: how many sorted Walsh averages lie outside the 95 % interval at either end
  function rankCut(pairs) {
    let ways = [1];
    for (let rank = 1; rank <= pairs; rank++) {
      const longer = [...ways, ...Array(rank).fill(0)];
      ways.forEach((number, total) => { longer[total + rank] += number; });
      ways = longer;
    }
    let below = 0, cut = 0;
    while (2 * (below + ways[cut]) <= ALPHA * 2 ** pairs) below += ways[cut++];
    return cut;
  }

  function compareBoots(base, patched, tolerance) {
    const pairs = base.length, change = relative(median(base), median(patched));
    if (pairs < MIN_PAIRS) {
      return { direction: null, change, note: `${pairs} ${pairs === 1 ? "pair" : "pairs"} of boots; ${MIN_PAIRS - pairs} more are needed before any difference can be significant` };
    }
    const logs = base.map((value, n) => Math.log(patched[n]) - Math.log(value)), walsh = [];
    logs.forEach((x, i) => { for (let j = i; j < pairs; j++) walsh.push((x + logs[j]) / 2); });
    walsh.sort((a, b) => a - b);
    const cut = rankCut(pairs), size = Math.expm1(median(walsh));
    const low = Math.expm1(walsh[cut - 1]), high = Math.expm1(walsh[walsh.length - cut]);
    const between = `95 % interval ${percent(low)} to ${percent(high)}`, none = low <= 0 && high >= 0;
    let direction = null;
    if (!none && Math.abs(size) >= tolerance) direction = size > 0 ? 1 : -1;
    else if (-tolerance <= low && high <= tolerance) direction = 0;
    return { direction, change: size, note: direction === null ? (none ? "cannot be told from noise: " : "a change is there, but its size is open: ") + between : between };
  }

  // One metric of one row on both sides: {decision, change, a, b, note}.
  function judge(a, b, name, metric, debug, sameRun) {
    const [, unitKind, better, tolerance] = metric, clockOfRow = a.box.row.clock;
    const unit = unitKind === "time" ? (clockOfRow === "virtual" ? "insn" : "ns") : unitKind;
    const sideA = numbersOf(a, name), sideB = numbersOf(b, name);
    const clock = (sideA || sideB || { clock: unitKind === "time" ? clockOfRow : "count" }).clock;
    const told = { unit, clock, a: middle(sideA), b: middle(sideB), change: null };
    const end_ = (decision, note, more) => ({ ...told, ...more, decision, note });
    if (!sideA && !sideB) return end_("not judged", "n/a: neither kernel gave this number");
    const undecided = (note) => end_("undecided", note);
    for (const [letter, side] of [["A", sideA], ["B", sideB]]) {
      if (!side || side.values.some((value) => value === undefined)) return undecided(`n/a on ${letter}: not every boot gave this number`);
      if (side.values.some((value) => value === null || value < 0)) return undecided(`${letter} reported a number that cannot be true`);
      if (side.unit !== unit) return undecided(`${letter} reported the unit ${side.unit} instead of ${unit}`);
    }
    if (sideA.clock !== sideB.clock) return undecided("measured by different clocks");
    told.change = relative(told.a, told.b);
    if (clock === "functional") return end_("not judged", "functional: wall time under emulation");
    if (debug.length && (unit === "insn" || unit === "ns")) return end_("not judged", `a debug kernel (${debug.join(", ")}): its times mean nothing`);
    let found;
    if (clock === "real") {
      if (!sameRun) return undecided("real: boots of two nights are no pairs");
      const shared = a.box.boots.filter((boot) => b.box.boots.includes(boot));
      const of = (side, box) => shared.map((boot) => side.values[box.boots.indexOf(boot)]);
      const base = of(sideA, a.box), patched = of(sideB, b.box);
      if (!shared.length) return undecided("no two boots of A and B ran as a pair");
      if ([...base, ...patched].some((value) => value <= 0)) return undecided("a time of 0 ns: the guest's clock is too coarse for this");
      found = compareBoots(base, patched, tolerance);
    } else found = compareRanges(sideA.values, sideB.values, tolerance);
    const decision = found.direction === null ? "undecided" : found.direction === 0 ? "same"
      : (found.direction > 0) === (better === "higher") ? "better" : "worse";
    return end_(decision, found.note, { change: found.change });
  }

  function numbersOf(side, name) {
    for (const [place, ...values] of side.box.numbers) {
      const [metric, unit, clock] = side.data.series[place];
      if (metric === name) return { unit, clock, values };
    }
    return null;
  }

  const middle = (side) => {
    const values = side ? side.values.filter((value) => typeof value === "number") : [];
    return values.length ? median(values) : null;
  };

  // lab/compare/words.py
  function amount(value) {
    if (value === null || !Number.isFinite(value)) return "n/a";
    if (Math.abs(value) >= 1e13) return value.toExponential(2);
    if (Number.isInteger(value)) return thousands(value);
    return Math.abs(value) >= 1000 ? value.toLocaleString("en-US", { minimumFractionDigits: 1, maximumFractionDigits: 1 }) : String(Number(value.toPrecision(3)));
  }

  const signed = (text) => (text.startsWith("-") ? text : "+" + text);

  function percent(fraction) {
    if (fraction === 0) return "0 %";
    if (Math.abs(fraction) < 1e-5) return (fraction > 0 ? "+" : "-") + "~0 %";
    return signed(Math.abs(fraction) < 0.0005 ? String(Number((100 * fraction).toPrecision(2))) : (100 * fraction).toFixed(1)) + " %";
  }

  function changeShort(change) {
    if (change === null) return "-";
    if (change < 1) return percent(change);
    const ratio = change + 1;
    return "x" + (ratio >= 1e6 ? ratio.toExponential(1) : ratio >= 100 ? thousands(Math.round(ratio)) : ratio.toFixed(1));
  }

  function different(a, b) {
    if (a.box.digest !== b.box.digest) return "the case was edited between the trials";
    const found = a.box.conditions.filter((condition, n) => condition !== b.box.conditions[n] || condition.includes(" | "));
    return found.length ? `not the same conditions: ${found.map((condition, n) => condition + " against " + (b.box.conditions[a.box.conditions.indexOf(condition)] || "n/a")).join("; ")}` : "";
  }

  // All lines of the comparison, in the order of the cases.
  function compare(a, b) {
    const places = new Map(), key = (row) => [row.name, row.machine, row.clock].join("\n");
    for (const [side, letter] of [[a, "a"], [b, "b"]]) {
      for (const box of side.data.boxes) {
        if (box.kernel.label !== side.kernel.label) continue;
        const at = key(box.row);
        if (!places.has(at)) places.set(at, { row: box.row });
        places.get(at)[letter] = { data: side.data, box };
      }
    }
    const debug = [...new Set([...a.kernel.debug, ...b.kernel.debug])].sort(), lines = [];
    for (const at of [...places.keys()].sort()) {
      const place = places.get(at), name = { row: place.row, pageA: place.a && place.a.box.page, pageB: place.b && place.b.box.page };
      const ends = [place.a, place.b].map((side) => (side ? side.box.outcome : "not in the matrix"));
      const expected = [place.a, place.b].map((side) => !!side && !!(side.box.marks & EXPECTED));
      if (ends[0] !== "PASS" || ends[1] !== "PASS") {
        lines.push({ ...name, title: "outcome", clock: "", a: ends[0], b: ends[1], change: "", ...outcomeDecision(ends, expected, place), gate: true });
        continue;
      }
      const obstacle = different(place.a, place.b), declared = { ...(place.a.data.cases[place.row.name] || {}).metrics, ...(place.b.data.cases[place.row.name] || {}).metrics };
      if (!Object.keys(declared).length) lines.push({ ...name, title: "outcome", clock: "", a: "PASS", b: "PASS", change: "", decision: "same", note: "", gate: true });
      for (const [metric, about] of Object.entries(declared)) {
        let found = judge(place.a, place.b, metric, about, debug, place.a.box.run === place.b.box.run);
        if (obstacle && found.clock !== "functional") found = { ...found, decision: "undecided", note: obstacle };
        lines.push({ ...name, title: about[0] + (found.unit === "count" ? "" : ", " + found.unit), clock: found.clock,
          a: amount(found.a), b: amount(found.b), change: changeShort(found.change), decision: found.decision, note: found.note, gate: !!about[4] });
      }
    }
    return lines;
  }

  function outcomeDecision(ends, expected, place) {
    const note = [place.b, place.a].map((side) => side && side.box.reason).find(Boolean) || "";
    if (ends[0] === "SKIP" && ends[1] === "SKIP") return { decision: "skipped", note };
    if (expected[0] && expected[1]) return { decision: "as expected", note };
    if (expected[0] && ends[1] === "PASS") return { decision: "better", note };
    if (ends[0] === "PASS" && BAD.has(ends[1])) return { decision: "worse", note };
    return { decision: "undecided", note };
  }

  // ---- the page of the comparison ----
  function showCompare() {
    const sides = $("sides"), form = $("filters");
    const kept = fromHash(sides);
    fromHash(form);
    let lines = [], from = 0, asked = 0;

    const load = (run) => new Promise((resolve, reject) => {
      if (nights.has(run)) { resolve(nights.get(run)); return; }
      const option = [...sides.anight.options].find((one) => one.value === run);
      const script = make("script", { src: option.dataset.src });
      waiting.set(run, resolve);
      script.addEventListener("error", () => reject(new Error(`${option.dataset.src} cannot be read`)));
      document.head.append(script);
    });

    async function side(letter, fallback) {
      const data = await load(sides[letter + "night"].value), select = sides[letter + "kernel"];
      const before = select.value || kept.get(letter + "kernel");
      select.replaceChildren();
      data.kernels.forEach((kernel) => select.append(make("option", { value: kernel.label }, kernel.label + (kernel.name ? ` (${kernel.name})` : ""))));
      select.value = before;
      if (select.selectedIndex < 0) select.selectedIndex = Math.min(fallback, data.kernels.length - 1);
      return { data, kernel: data.kernels[select.selectedIndex] };
    }

    async function changed() {
      const mine = ++asked;
      try {
        const a = await side("a", 0), b = await side("b", 1);
        if (mine !== asked) return; // another choice came in the meantime
        lines = a.kernel && b.kernel ? compare(a, b) : [];
        from = 0;
        show();
      } catch (error) {
        $("told").textContent = error.message;
      }
    }

    function show() {
      const f = valuesOf(form), search = words(f.q), counts = {};
      toHash({ ...valuesOf(sides), ...f });
      lines.forEach((line) => { counts[line.decision] = (counts[line.decision] || 0) + 1; });
      const hits = lines.filter((line) => (!f.clock || line.clock === f.clock)
        && (!f.decision || (f.decision === "differ" ? ["better", "worse", "undecided"].includes(line.decision) : line.decision === f.decision))
        && search.every((word) => `${line.row.name} ${line.row.machine} ${line.title}`.toLowerCase().includes(word)));
      $("told").textContent = `${thousands(hits.length)} of ${thousands(lines.length)} lines; in all: `
        + (Object.entries(counts).map(([name, count]) => `${thousands(count)} ${name}`).join(", ") || "nothing");
      const place = $("pager");
      place.replaceChildren();
      $("grid").replaceChildren(hits.length ? table(hits.slice(from, from + LINES)) : make("p", {}, "No line is like that."));
      pager(place, "lines", from, LINES, hits.length, (to) => { from = to; show(); $("grid").focus(); });
    }

    function table(shown) {
      const body = make("tbody");
      let before = null;
      for (const line of shown) {
        const again = before === line.row ? "again" : "";
        before = line.row;
        const where = line.row.machine + (line.row.clock === "virtual" ? "" : ", " + line.row.clock);
        const linked = (text, page) => (page && !again ? make("a", { href: page, title: `its trial on ${text}` }, text) : "");
        body.append(make("tr", {},
          make("th", { scope: "row", class: again }, again ? "" : line.row.name, again ? "" : make("span", { class: "muted" }, " " + where),
            ...[linked("A", line.pageA), linked("B", line.pageB)].filter(Boolean).flatMap((one) => [" ", one])),
          make("td", { class: again }, line.title), make("td", { class: `number ${again}` }, line.a),
          make("td", { class: `number ${again}` }, line.b), make("td", { class: `number ${again}` }, line.change),
          make("td", { class: again }, line.clock),
          make("td", { class: again }, make("span", { class: "decision " + line.decision.replace(/ /g, "-") }, line.decision + (line.gate || !["better", "worse"].includes(line.decision) ? "" : "*"))),
          make("td", { class: `muted ${again}` }, line.note)));
      }
      const head = (name, kind) => make("th", { scope: "col", class: kind || "" }, name);
      return make("table", { class: "compared" }, make("thead", {}, make("tr", {}, head("case"), head("metric"), head("A", "number"), head("B", "number"), head("change", "number"), head("clock"), head("decision"), head(""))), body);
    }

    sides.hidden = form.hidden = false;
    sides.addEventListener("change", changed);
    for (const one of [sides, form]) one.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("input", () => { from = 0; show(); });
    form.addEventListener("reset", () => setTimeout(() => { from = 0; show(); }));
    $("swap").addEventListener("click", async () => {
      const { anight, akernel, bnight, bkernel } = valuesOf(sides);
      sides.anight.value = bnight; sides.bnight.value = anight;
      await side("a", 0); await side("b", 0);
      sides.akernel.value = bkernel; sides.bkernel.value = akernel;
      changed();
    });
    changed();
  }

  if (document.getElementById("sides")) showCompare();
  return { night, compareRanges, compareBoots, judge };
})();
