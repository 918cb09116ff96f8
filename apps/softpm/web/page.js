/* page.js - the page of softpm web. What it shows comes from /api (web.h); all of it may be hostile, so it becomes text, never markup.
 *
 *   state          what is shown: a container, its versions, which of them is chosen and which it is compared with
 *   rows           the list of versions: as many elements as there is room for, whatever its length
 *   panels         one function each: what a tab shows of the chosen version, asked for when the tab is opened
 */
"use strict";

const ROW = 40, LANE = 14, LANES_MOST = 10, FIRST_VERSIONS = 300, REFRESH_MS = 2000;
const token = location.hash.slice(1).split("&")[0];
const isWritable = location.hash.endsWith("&write");
const state = { container: null, versions: [], lanes: [], limit: 0, isAll: false, chosen: null, compared: null, tab: "objects", newest: null };

const $ = (id) => document.getElementById(id);

/* make("div", {class: "x", onclick: f}, "text", element, ...) */
function make(name, attributes, ...children) {
	return fill(document.createElement(name), attributes, children);
}

function draw(name, attributes, ...children) {
	return fill(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

function fill(element, attributes, children) {
	for (const [key, value] of Object.entries(attributes || {}))
		if (key.startsWith("on"))
			element.addEventListener(key.slice(2), value);
		else if (value !== null && value !== undefined && value !== false)
			element.setAttribute(key, value === true ? "" : value);
	element.append(...children.filter((child) => child !== null && child !== undefined));
	return element;
}

/* ---- the server ---- */

/* Integers of 64 bits as they are, where the browser tells what was written. */
function exact(key, value, context) {
	const isCut = typeof value === "number" && Number.isInteger(value) && !Number.isSafeInteger(value);

	return isCut && context && /^-?[0-9]+$/.test(context.source) ? BigInt(context.source) : value;
}

async function call(name, operands, method) {
	const query = new URLSearchParams(Object.entries(operands || {}).filter(([, value]) => value !== null && value !== undefined));
	const answer = await fetch(`/api/${name}?${query}`, { method: method || "GET", headers: { "X-SoftPM-Token": token } });
	const text = await answer.text();
	const json = text ? JSON.parse(text, exact) : {};

	if (!answer.ok)
		throw new Error(json.error || answer.statusText);
	return json;
}

function complain(error) {
	$("error").hidden = !error;
	$("error").textContent = error ? error.message || String(error) : "";
}

/* Runs what may fail; what it says is told. */
async function attempt(work) {
	try {
		complain(null);
		return await work();
	} catch (error) {
		complain(error);
		return undefined;
	}
}

/* ---- words ---- */

function bytes(n) {
	const units = ["B", "KiB", "MiB", "GiB", "TiB"];
	let unit = 0;

	for (; n >= 1024 && unit < units.length - 1; unit++)
		n /= 1024;
	return `${unit && n < 100 ? n.toFixed(1) : Math.round(n)} ${units[unit]}`;
}

function span(ns) {
	return ns < 1e3 ? `${ns} ns` : ns < 1e6 ? `${(ns / 1e3).toFixed(1)} us` : ns < 1e9 ? `${(ns / 1e6).toFixed(1)} ms` : `${(ns / 1e9).toFixed(2)} s`;
}

function ago(time) {
	const s = (Date.now() - Date.parse(time)) / 1000;

	return s < 60 ? `${Math.max(0, Math.round(s))} s ago` : s < 3600 ? `${Math.round(s / 60)} min ago` : s < 86400 ? `${Math.round(s / 3600)} h ago` : time.slice(0, 10);
}

const keyOf = (version) => `${version.branch}:${version.version}`;

/* ---- versions: which lane each branch has, from which row to which ---- */

function lanesMake(versions) {
	const lanes = new Map(), rows = new Map();

	for (const [i, v] of versions.entries()) {
		if (!lanes.has(v.branch))
			lanes.set(v.branch, { branch: v.branch, lane: 0, first: i, last: i, joins: null });
		lanes.get(v.branch).last = i;
		rows.set(v.version, [...(rows.get(v.version) || []), i]);
	}
	[...lanes.keys()].sort((a, b) => (b === "main") - (a === "main")).forEach((branch, lane) => { lanes.get(branch).lane = lane; });
	for (const branch of lanes.values()) {
		const parent = (rows.get(versions[branch.last].parent) || []).find((i) => i > branch.last && versions[i].branch !== branch.branch);

		if (parent !== undefined)
			branch.joins = { row: parent, lane: lanes.get(versions[parent].branch).lane };
	}
	return [...lanes.values()];
}

function laneX(lane) {
	return 10 + Math.min(lane, LANES_MOST) * LANE;
}

const laneColour = (lane) => `hsl(${(210 + lane * 67) % 360} 62% 52%)`;

/* The lines that pass through a row, and its dot. */
function rowLines(index) {
	const lanes = state.lanes, width = laneX(Math.min(lanes.length, LANES_MOST + 1) - 1) + 10;
	const svg = draw("svg", { width, height: ROW, "aria-hidden": "true" });
	const line = (d, lane) => svg.append(draw("path", { d, fill: "none", stroke: laneColour(lane), "stroke-width": 2 }));

	for (const { lane, first, last, joins } of lanes) {
		const x = laneX(lane), end = joins ? joins.row : last;

		if (index < first || index > end)
			continue;
		if (joins && index === end)
			line(`M${x} 0 Q${x} ${ROW / 2} ${laneX(joins.lane)} ${ROW / 2}`, lane);
		else
			line(`M${x} ${index === first ? ROW / 2 : 0} V${index === end ? ROW / 2 : ROW}`, lane);
	}
	const own = lanes.find((lane) => lane.branch === state.versions[index].branch);

	svg.append(draw("circle", { cx: laneX(own.lane), cy: ROW / 2, r: 5, fill: laneColour(own.lane) }));
	return svg;
}

function rowMake(index) {
	const v = state.versions[index];
	const badges = [...v.branches.map((name) => make("span", { class: "badge" }, name)), ...v.tags.map((name) => make("span", { class: "badge tag" }, name))];

	return make("div", {
		class: `row${state.compared === keyOf(v) ? " compared" : ""}`, role: "option", id: `row-${index}`, style: null,
		"aria-selected": String(state.chosen === keyOf(v)), onclick: (event) => (event.shiftKey ? compare(v) : choose(v)),
	}, rowLines(index), make("div", { class: "words" },
		make("div", { class: "first" }, keyOf(v), ...badges, v.message ? ` ${v.message}` : ""),
		make("div", { class: "second" }, `${ago(v.time)}; ${bytes(v.stored_bytes)} stored of ${bytes(v.live_bytes)}, pause ${span(v.pause_ns)}`)));
}

function rowsShow() {
	const list = $("list"), first = Math.max(0, Math.floor(list.scrollTop / ROW) - 5);
	const last = Math.min(state.versions.length, first + Math.ceil(list.clientHeight / ROW) + 10);
	const rows = [];

	for (let i = first; i < last; i++) {
		const row = rowMake(i);

		row.style.top = `${i * ROW}px`;
		rows.push(row);
	}
	$("space").style.height = `${state.versions.length * ROW}px`;
	$("space").replaceChildren(...rows);
	$("count").textContent = `${state.versions.length}${state.isAll ? "" : " newest"}`;
	const at = state.versions.findIndex((v) => keyOf(v) === state.chosen);

	if (at >= first && at < last)
		list.setAttribute("aria-activedescendant", `row-${at}`);
	else
		list.removeAttribute("aria-activedescendant");
	if (!state.isAll && last === state.versions.length && !state.isLoading)
		attempt(() => versionsRead(state.limit * 2));
}

async function versionsRead(limit) {
	const container = state.container;

	state.isLoading = true;
	try {
		const versions = await call("log", { container, limit });

		if (container !== state.container)
			return;
		state.versions = versions;
		state.limit = limit;
		state.isAll = versions.length < limit;
		state.lanes = lanesMake(versions);
	} finally {
		state.isLoading = false;
	}
	if (!state.versions.some((v) => keyOf(v) === state.chosen) && state.versions.length)
		choose(state.versions[0]);
	rowsShow();
}

/* ---- choosing ---- */

function choose(version) {
	state.chosen = keyOf(version);
	rowsShow();
	aboutShow(version);
	panelShow();
}

function compare(version) {
	state.compared = state.compared === keyOf(version) ? null : keyOf(version);
	rowsShow();
	tabShow("diff");
}

function listKey(event) {
	const at = state.versions.findIndex((v) => keyOf(v) === state.chosen);
	const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -Infinity, End: Infinity };
	const list = $("list");

	if (event.key in steps && state.versions.length) {
		const to = Math.max(0, Math.min(state.versions.length - 1, at + steps[event.key]));

		list.scrollTop = Math.min(to * ROW, Math.max(list.scrollTop, (to + 1) * ROW - list.clientHeight));
		choose(state.versions[to]);
	} else if (event.key === "c" && at >= 0) {
		compare(state.versions[at]);
	} else if (event.key === "Enter") {
		$("tab-objects").focus();
		tabShow("objects");
	} else {
		return;
	}
	event.preventDefault();
}

function aboutShow(v) {
	const facts = [["Time", v.time.replace("T", " ").slice(0, 23)], ["Message", v.message], ["Parent", v.parent || "none"],
		["Live", `${bytes(v.live_bytes)} in ${v.pages} pages`], ["Stored for it", `${bytes(v.stored_bytes)} in ${v.stored_pages} pages`], ["Pause", span(v.pause_ns)]];

	$("about").replaceChildren(make("h2", {}, `Version ${keyOf(v)}`),
		make("dl", {}, ...facts.filter(([, value]) => value !== "").flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, String(value))])));
}

/* ---- tabs ---- */

const panels = { objects: objectsShow, diff: diffShow, lint: lintShow, heap: heapShow, charts: chartsShow };

function tabShow(name) {
	state.tab = name;
	for (const tab of Object.keys(panels)) {
		$(`tab-${tab}`).setAttribute("aria-selected", String(tab === name));
		$(`tab-${tab}`).tabIndex = tab === name ? 0 : -1;
		$(tab).hidden = tab !== name;
	}
	panelShow();
}

function tabKey(event) {
	const names = Object.keys(panels), step = { ArrowRight: 1, ArrowLeft: names.length - 1 }[event.key];

	if (!step)
		return;
	const next = names[(names.indexOf(state.tab) + step) % names.length];

	$(`tab-${next}`).focus();
	tabShow(next);
}

/* What was asked for before something else was chosen is not shown. */
let asked = 0;
async function panelShow() {
	const mine = ++asked, panel = $(state.tab);

	if (!state.chosen)
		return;
	panel.setAttribute("aria-busy", "true");
	const content = await attempt(() => panels[state.tab]());

	if (mine === asked && content)
		panel.replaceChildren(...content);
	panel.removeAttribute("aria-busy");
}

function table(heads, rows) {
	return make("div", { class: "scroll" }, make("table", {}, make("thead", {}, make("tr", {}, ...heads.map((head) => make("th", { scope: "col" }, head)))),
		make("tbody", {}, ...rows.map((row) => make("tr", {}, ...row.map((cell) => make("td", {}, String(cell))))))));
}

/* ---- objects: a tree; what lies in a place is asked for when it is opened ---- */

const ELEMENTS = 100;

function valueText(row) {
	const most = (text, n) => (text.length > n ? `${text.slice(0, n)}\u2026` : text);

	if (row.damage)
		return row.damage;
	if (row.kind === "pointer" && row.value === null)
		return "NULL";
	if (row.kind === "pointer" && row.to && row.value === undefined)
		return `\u2192 ${row.to}`;
	if (Array.isArray(row.value))
		return `{${most(row.value.join(", "), 300)}${row.left ? ", \u2026" : ""}}`;
	if (row.kind === "text")
		return most(JSON.stringify(row.value), 300) + (row.text_bytes ? `\u2026 of ${bytes(row.text_bytes)}` : "");
	if (row.kind === "words")
		return most(row.hex || "", 64);
	return row.value === undefined ? "" : String(row.value);
}

function rowWords(row) {
	const value = valueText(row), count = row.count !== undefined ? `${row.count} elements` : "";

	return [make("span", { class: "name" }, row.name || "\u00a0"), row.type ? make("span", { class: "type" }, ` ${row.type}`) : "",
		row.object_type ? make("span", { class: "type" }, ` (${row.object_type})`) : "",
		value ? ` = ${value}` : "", count && row.kind !== "struct" ? make("span", { class: "type" }, ` ${count}`) : "",
		row.seen ? make("span", { class: "type" }, ` (as ${row.seen})`) : ""];
}

function moreButton(row, list, path, limit) {
	const left = row.left ? `${row.left} more` : "more";
	const go = async () => {
		const at = [...list.children].findIndex((item) => item.contains(document.activeElement));

		await placeOpen(list, path, limit * 10);
		if (at >= 0)
			itemFocus(list.children[at]);
	};

	return make("li", { role: "treeitem", tabindex: "-1" },
		make("span", { class: "label" }, make("button", { type: "button", tabindex: "-1", onclick: () => attempt(go) }, `\u2026 ${left}`)));
}

function placeItem(row) {
	const isLeaf = row.more !== "depth", title = row.address ? `${row.address}, ${row.bytes} bytes` : null;
	const item = make("li", { class: isLeaf ? "leaf" : null, role: "treeitem", tabindex: "-1" });

	if (isLeaf) {
		item.append(make("span", { class: "label", title }, ...rowWords(row)));
		return item;
	}
	const inside = make("ul", { hidden: true, role: "group" });
	const fold = make("button", { type: "button", class: "fold", tabindex: "-1", "aria-hidden": "true", "data-path": row.path }, "\u25b8");

	item.setAttribute("aria-expanded", "false");
	fold.addEventListener("click", () => attempt(async () => {
		if (inside.hidden && !inside.childElementCount)
			await placeOpen(inside, row.path, ELEMENTS);
		inside.hidden = !inside.hidden;
		fold.textContent = inside.hidden ? "\u25b8" : "\u25be";
		item.setAttribute("aria-expanded", String(!inside.hidden));
	}));
	item.append(make("span", { class: "label", title }, fold, ...rowWords(row)), inside);
	return item;
}

async function placeOpen(list, path, limit) {
	const { rows } = await call("browse", { container: state.container, ref: list.dataset.ref || state.chosen, path, depth: 1, limit });
	const children = rows.filter((row) => row.depth === 1).map((row) => (row.kind === "more" ? moreButton(row, list, path, limit) : placeItem(row)));

	list.replaceChildren(...children);
	return rows[0];
}

/* By keyboard: one item of the tree is reached by Tab, the others from there on by arrows. */
function itemFocus(item) {
	if (!item || !item.isConnected)
		return;
	item.closest("[role=tree]").querySelectorAll("[role=treeitem][tabindex='0']").forEach((other) => other.setAttribute("tabindex", "-1"));
	item.setAttribute("tabindex", "0");
	item.focus();
}

function treeKey(event) {
	const item = event.target.closest("[role=treeitem]"), tree = event.currentTarget;

	if (!item || event.altKey || event.ctrlKey || event.metaKey)
		return;
	const seen = [...tree.querySelectorAll("[role=treeitem]")].filter((other) => !other.closest("ul[hidden]")), at = seen.indexOf(item);
	const expanded = item.getAttribute("aria-expanded"), button = item.querySelector(":scope > .label button");
	const keys = {
		ArrowDown: () => itemFocus(seen[at + 1]),
		ArrowUp: () => itemFocus(seen[at - 1]),
		Home: () => itemFocus(seen[0]),
		End: () => itemFocus(seen[seen.length - 1]),
		ArrowRight: () => (expanded === "false" ? button.click() : expanded === "true" && itemFocus(item.querySelector("[role=treeitem]"))),
		ArrowLeft: () => (expanded === "true" ? button.click() : itemFocus(item.parentElement.closest("[role=treeitem]"))),
		Enter: () => button && button.click(),
		" ": () => button && button.click(),
	};

	if (!keys[event.key])
		return;
	event.preventDefault();
	keys[event.key]();
}

/* What has a text or a number, by path. */
async function searchShow(pattern, to) {
	const { matches, is_whole: isWhole } = await call("grep", { container: state.container, ref: state.chosen, pattern, limit: 200 });

	to.replaceChildren(make("p", { class: "quiet" }, `${matches.length}${isWhole ? "" : " or more"} places have it`),
		make("ul", {}, ...matches.map((match) => make("li", {}, pathLink(match.path), ` = ${sideText(match.value)}`))));
}

async function objectsShow() {
	const path = state.path || "root", list = make("ul", { role: "tree", "aria-label": `What ${state.path || "root"} has` }), input = make("input", { "aria-label": "Path", value: path, size: 36 });
	const search = make("input", { "aria-label": "Text or number", placeholder: "text or number", size: 16, id: "search" }), found = make("div", { class: "tree", id: "found" });
	const root = await placeOpen(list, path, ELEMENTS);

	list.addEventListener("keydown", treeKey);
	list.addEventListener("click", (event) => itemFocus(event.target.closest("[role=treeitem]")));
	list.firstElementChild?.setAttribute("tabindex", "0");
	const form = (field, name, go) => make("form", { class: "line", onsubmit: (event) => { event.preventDefault(); go(); } }, field, " ", make("button", {}, name));

	return [form(input, "Go", () => { state.path = input.value; panelShow(); }), form(search, "Search", () => attempt(() => searchShow(search.value, found))), found,
		make("div", { class: "tree", id: "tree" }, make("p", {}, ...(root ? rowWords(root) : ["nothing"])), list)];
}

/* ---- differences ---- */

function sideText(value) {
	const text = value === undefined ? "" : typeof value === "bigint" ? String(value) : JSON.stringify(value);

	return text.length > 200 ? `${text.slice(0, 200)}\u2026` : text;
}

function pathLink(path) {
	return make("button", { type: "button", class: "path", onclick: () => { state.path = path; tabShow("objects"); } }, path);
}

function changesTable(changes) {
	const row = (change) => make("tr", {}, make("td", { class: "wide" }, change.path ? pathLink(change.path) : change.address || ""),
		make("td", {}, change.change), make("td", { class: "wide" }, sideText(change.old)), make("td", { class: "wide" }, sideText(change.new), change.is_guess ? make("span", { class: "type" }, " (type guessed)") : ""));

	return make("div", { class: "scroll" }, make("table", {}, make("thead", {}, make("tr", {}, ...["Place", "", "was", "is"].map((head) => make("th", { scope: "col" }, head)))),
		make("tbody", {}, ...changes.slice(0, 1000).map(row))));
}

async function diffShow() {
	const at = state.versions.findIndex((v) => keyOf(v) === state.chosen), chosen = state.versions[at];
	const before = state.versions.find((v, i) => i > at && v.version === chosen.parent);
	const first = state.compared || (before && keyOf(before));

	if (!first)
		return [make("p", { class: "quiet" }, "There is no version before it. Shift-click another one to compare with it.")];
	const diff = await call("diff", { container: state.container, first, second: state.chosen });
	const objects = diff.changes ? [] : diff.objects || [];

	return [make("p", {}, `From ${first} to ${state.chosen}: ${diff.objects_changed} objects changed, ${diff.objects_added} added, ${diff.objects_removed} removed; `,
		`${diff.pages_changed} pages changed, ${bytes(diff.bytes)} differ.`),
	...(diff.changes ? [changesTable(diff.changes), diff.is_whole ? null : make("p", { class: "quiet" }, "and more: softpm diff tells all")] : []),
	diff.changes ? null : table(["Object", "", "size", "bytes that differ"], objects.slice(0, 500).map((o) => [o.address, o.change, o.size, o.bytes])),
	objects.length > 500 ? make("p", { class: "quiet" }, `and ${objects.length - 500} more`) : null].filter(Boolean);
}

/* ---- lint ---- */

async function lintShow() {
	const lint = await call("lint", { container: state.container, ref: state.chosen, limit: 50 });
	const kinds = [...new Set(lint.findings.map((finding) => finding.finding))];
	const item = (finding) => make("li", {}, finding.bytes !== undefined ? `${bytes(finding.bytes)} ` : "", finding.path ? pathLink(finding.path) : "",
		finding.type ? make("span", { class: "type" }, ` ${finding.type}`) : "", finding.value !== undefined ? ` = ${sideText(finding.value)}` : "",
		finding.why ? ` \u2192 ${finding.address}: ${finding.why}` : "");
	const titles = { subtree: "Most bytes behind", lost: "NULL after a restore", untyped: "Pointers or numbers: nobody told", past_end: "Reached only past an end",
		ambiguous: "Numbers that are addresses", no_object: "Pointers to no object", outside_without_symbol: "Pointers out without symbol" };

	return [make("p", {}, `${lint.objects} objects, ${bytes(lint.bytes)}; not met from the root: ${lint.objects_not_met}. Pointers to no object: ${lint.no_object}; numbers that are `,
		`addresses: ${lint.ambiguous}; reached only past an end: ${lint.past_end}; NULL after a restore: ${lint.lost}; pointers out without symbol: ${lint.outside_without_symbol} of ${lint.outside}.`),
	...kinds.flatMap((kind) => [make("h3", {}, titles[kind] || kind), make("ul", { class: "tree" }, ...lint.findings.filter((f) => f.finding === kind).map(item))])];
}

/* ---- heap ---- */

const heapModes = {
	size: ["by size of objects", (c) => (c.object_bytes > 32768 ? "hsl(0 0% 55%)" : `hsl(${(Math.log2(c.object_bytes) - 4) * 30} 60% 52%)`),
		(c) => (c.object_bytes > 32768 ? "larger" : bytes(c.object_bytes))],
	age: ["by age of the last change", (c) => ageColour(c.age), (c) => ageName(c.age)],
	subtree: ["by what leads to it", (c) => (c.subtree === undefined ? "hsl(0 0% 55%)" : `hsl(${(c.subtree * 67) % 360} 60% ${45 + (c.subtree * 13) % 25}%)`),
		(c, map) => (c.subtree === undefined ? "nothing" : map.subtrees[c.subtree].path)],
	fill: ["by how full it is", (c) => `hsl(210 70% ${Math.round(88 - 55 * (c.bytes ? c.live_bytes / c.bytes : 0))}%)`, (c) => `${Math.ceil(4 * c.live_bytes / c.bytes) * 25}%`],
};
const ages = [[0, "this version"], [1, "the one before"], [9, "up to 9 before"], [99, "up to 99"], [999, "up to 999"], [Infinity, "older"]];

function ageIndex(age) {
	return ages.findIndex(([most]) => age <= most);
}

const ageColour = (age) => `hsl(${8 + ageIndex(age) * 42} 68% ${50 + ageIndex(age) * 3}%)`;
const ageName = (age) => ages[ageIndex(age)][1];

async function heapShow() {
	const operands = { container: state.container, ref: state.chosen, limit: 4096 };
	let map = await call("map", operands);
	const mode = make("select", { "aria-label": "Colour", onchange: () => attempt(async () => {
		if (mode.value === "subtree" && !map.subtrees)
			map = await call("subtrees", operands);
		heapDraw(map, mode.value, canvas, legend, told);
	}) },
		...Object.entries(heapModes).map(([name, [text]]) => make("option", { value: name }, text)));
	const canvas = make("canvas", { role: "img", "aria-label": "Map of the heap" }), legend = make("div", { class: "legend" }), told = make("p", { class: "quiet" }, "\u00a0");

	requestAnimationFrame(() => heapDraw(map, mode.value, canvas, legend, told));
	return [make("p", {}, `${map.objects} objects, ${bytes(map.live_bytes)} in pages of ${bytes(map.bytes)}; a square is ${bytes(map.cell_bytes)}. `, mode),
		canvas, told, legend, table(["Objects of", "count", "live", "in pages of", "filled"],
			map.sizes.map((s) => [s.object_bytes ? bytes(s.object_bytes) : "larger", s.objects, bytes(s.live_bytes), bytes(s.bytes), `${Math.round(100 * s.live_bytes / s.bytes)}%`]))];
}

function heapDraw(map, mode, canvas, legend, told) {
	const [, colour, name] = heapModes[mode], width = canvas.clientWidth || 600, side = 12, columns = Math.max(1, Math.floor(width / side));
	const rows = Math.max(1, Math.ceil(map.cells.length / columns)), scale = window.devicePixelRatio || 1, seen = new Map();

	canvas.width = width * scale;
	canvas.height = rows * side * scale;
	canvas.style.height = `${rows * side}px`;
	const to = canvas.getContext("2d");

	to.scale(scale, scale);
	map.cells.forEach((cell, i) => {
		to.fillStyle = colour(cell);
		to.fillRect((i % columns) * side, Math.floor(i / columns) * side, side - 1, side - 1);
		seen.set(name(cell, map), colour(cell));
	});
	canvas.onmousemove = (event) => {
		const cell = map.cells[Math.floor(event.offsetY / side) * columns + Math.floor(event.offsetX / side)];

		told.textContent = cell ? `${cell.address}: mostly objects of ${bytes(cell.object_bytes)}, ${Math.round(100 * cell.live_bytes / cell.bytes)}% full, ` +
			`written ${cell.age ? `${cell.age} versions before` : "for this version"}${cell.is_patched ? ", in part since then" : ""}` : "\u00a0";
	};
	legend.replaceChildren(...[...seen].slice(0, 24).map(([text, fillStyle]) => {
		const mark = make("i");

		mark.style.background = fillStyle;
		return make("span", {}, mark, text);
	}));
}

/* ---- charts ---- */

function chart(title, points, words) {
	const width = 600, height = 120, most = Math.max(...points.map(([, y]) => y), 1), from = points[0][0], to = points[points.length - 1][0] || 1;
	const at = ([x, y]) => `${(to === from ? 0 : (x - from) / (to - from)) * width},${height - (y / most) * (height - 14)}`;

	return [make("h3", {}, `${title}: now ${words(points[points.length - 1][1])}, most ${words(most)}`),
		draw("svg", { class: "chart", viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", role: "img", "aria-label": title, height },
			draw("line", { x1: 0, x2: width, y1: height - 0.5, y2: height - 0.5 }), draw("polyline", { points: points.map(at).join(" ") }))];
}

/* At most n of them, evenly. */
function thinned(all, n) {
	return all.length <= n ? all : Array.from({ length: n }, (_, i) => all[Math.floor(i * (all.length - 1) / (n - 1))]);
}

function rateOf(line) {
	return line.slice(1).map((v, i) => [i + 1, Math.min(1e6, 1000 / Math.max(0.001, Date.parse(v.time) - Date.parse(line[i].time)))]);
}

async function chartsShow() {
	const branch = state.chosen.slice(0, state.chosen.lastIndexOf(":")), stat = await call("stat", { container: state.container });
	const line = thinned(state.versions.filter((v) => v.branch === branch).reverse(), 1000), plot = (title, value, words) => chart(title, line.map((v, i) => [i, value(v)]), words);
	const facts = [["Points", stat.points], ["Stored", bytes(stat.stored_bytes)], ["Waiting", stat.queue], ["Lag", span(stat.lag_ns)],
		["Pause, median", span(stat.pause_median_ns)], ["Pause, 99%", span(stat.pause_p99_ns)], ["Pause, longest", span(stat.pause_max_ns)]];

	return [make("p", { class: "quiet" }, `${line.length} versions of ${branch}, oldest to newest. ${facts.map(([name, value]) => `${name} ${value}`).join("; ")}.`),
		...plot("Live", (v) => v.live_bytes, bytes), ...plot("Stored for each version", (v) => v.stored_bytes, bytes), ...plot("Pause", (v) => v.pause_ns, span),
		...(line.length > 1 ? chart("Points a second", rateOf(line), (n) => (n < 10 ? n.toFixed(2) : String(Math.round(n)))) : [])];
}

/* ---- changes, with softpm web --write ---- */

function changeMake() {
	const name = make("input", { "aria-label": "Name", placeholder: "name", size: 14 });
	const give = (what) => () => attempt(async () => {
		await call(what, { container: state.container, name: name.value, ref: state.chosen }, "POST");
		name.value = "";
		await versionsRead(state.limit);
	});
	const prune = () => attempt(async () => {
		if (!confirm("Drop now all versions that the container's attributes do not keep?"))
			return;
		await call("prune", { container: state.container }, "POST");
		await versionsRead(state.limit);
	});

	$("change").hidden = false;
	$("change").replaceChildren(make("form", { onsubmit: (event) => event.preventDefault() }, name, make("button", { type: "button", onclick: give("tag") }, "Tag"),
		make("button", { type: "button", onclick: give("branch") }, "Branch"), make("button", { type: "button", onclick: prune }, "Prune")));
}

/* ---- the beginning, and what happens meanwhile ---- */

async function containersRead() {
	const info = await call("info"), names = info.containers.map((c) => String(c.magic)), select = $("container");

	$("volume").textContent = `${info.volume}, ${bytes(info.bytes)}, ${bytes(info.free_bytes)} free`;
	if (names.join() !== [...select.options].map((o) => o.value).join())
		select.replaceChildren(...info.containers.map((c) => make("option", { value: c.magic, selected: String(c.magic) === state.container }, c.name ? `${c.magic} (${c.name})` : String(c.magic))));
	return info;
}

async function containerShow(magic) {
	Object.assign(state, { container: magic, versions: [], lanes: [], chosen: null, compared: null, isAll: false });
	$("list").scrollTop = 0;
	await versionsRead(FIRST_VERSIONS);
}

/* The newest version, and what there is of branches, in a word. */
function newsOf(info) {
	return JSON.stringify(info.containers.find((c) => String(c.magic) === state.container) || null);
}

async function refresh() {
	try {
		const info = await containersRead(), news = newsOf(info), wasAtTop = state.chosen === (state.versions[0] && keyOf(state.versions[0]));

		if (news !== state.newest && state.newest !== null) {
			await versionsRead(state.limit);
			if (wasAtTop && state.versions.length && $("list").scrollTop < ROW)
				choose(state.versions[0]);
		}
		state.newest = news;
		$("state").textContent = `live, ${new Date().toLocaleTimeString()}`;
		$("state").classList.add("live");
	} catch (error) {
		$("state").textContent = `not live: ${error.message}`;
		$("state").classList.remove("live");
	}
	setTimeout(refresh, REFRESH_MS);
}

async function begin() {
	for (const tab of Object.keys(panels))
		$(`tab-${tab}`).addEventListener("click", () => tabShow(tab));
	document.querySelector("[role=tablist]").addEventListener("keydown", tabKey);
	$("list").addEventListener("keydown", listKey);
	$("list").addEventListener("scroll", () => requestAnimationFrame(rowsShow));
	window.addEventListener("resize", rowsShow);
	$("container").addEventListener("change", (event) => attempt(() => containerShow(event.target.value)));
	tabShow("objects");
	const info = await attempt(containersRead);

	if (info && isWritable)
		changeMake();
	if (info && info.containers.length)
		await attempt(() => containerShow(String(info.containers[0].magic)));
	state.newest = info ? newsOf(info) : null;
	setTimeout(refresh, REFRESH_MS);
}

begin();
