// Keep the page up to date while it is looked at. Without it everything works, only less lively.
"use strict";

// Milliseconds; and how many lines of the conversation.
const EVERY = 1000;
const BUSY_EVERY = 500;
const PATIENCE = 400;
const KEPT = 60;

const $ = (selector, inside = document) => inside.querySelector(selector);
const all = (selector, inside = document) => [...inside.querySelectorAll(selector)];

const parsed = (html) => {
  const template = document.createElement("template");
  template.innerHTML = html;
  return template.content;
};

// The text of an answer; null where nothing is new.
const ask = async (url, name, value) => {
  const response = await fetch(`${url}?${name}=${encodeURIComponent(value)}`, { cache: "no-store" });
  if (!response.ok) throw new Error(response.status);
  return response.status === 204 ? null : response.text();
};

// -- The conversation: new lines come on top, and those that are there are not touched ---------------

const listen = async () => {
  const list = $("#said");
  const html = await ask(list.dataset.news, "after", list.dataset.last);
  if (html === null) return;
  const lines = all("li", parsed(html)).filter((line) => !document.getElementById(line.id));
  if (!lines.length) return;
  list.prepend(...lines);
  list.dataset.last = lines[0].dataset.number;
  $("#silence").hidden = true;
  $("#heard").textContent = all("b, .outcome", $("summary", lines[0])).map((part) => part.textContent).join(": ");
  all("li", list).slice(KEPT).forEach((line) => $("[open]", line) || line.remove());
};

// -- The payment: the page is replaced where something has changed ----------------------------------

const follow = async () => {
  const visit = $("#visit[data-progress]");
  if (!visit) return;
  const bar = $("progress", visit);
  if (bar) bar.value += BUSY_EVERY / 1000;
  const html = await ask(visit.dataset.progress, "number", visit.dataset.number);
  if (html === null) return;
  const next = $("#visit", parsed(html));
  const hadFocus = visit.contains(document.activeElement);
  visit.replaceWith(next);
  const heading = $("h1", next);
  if (hadFocus) heading.focus({ preventScroll: true });
  document.title = document.title.replace(/^.* · /, `${heading.dataset.said} · `);
  const told = all("#doing, .outcome-line", next).map((part) => part.innerText);
  $("#told").textContent = [heading.dataset.said, ...told].join(". ");
};

// -- The next page may take a while ----------------------------------------------------------------

let waiting = 0;
const wait = () => {
  clearTimeout(waiting);
  waiting = setTimeout(() => {
    $("#waiting").hidden = false;
    $("#waiting").textContent = $("#waiting").dataset.said;
  }, PATIENCE);
};

document.addEventListener("click", (event) => {
  const link = event.target.closest("main a[href]");
  if (link && !(event.ctrlKey || event.metaKey || event.shiftKey)) wait();
});

// A form that was sent is not sent again by a second tap; sent twice it would do no harm.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.dataset.sent) event.preventDefault();
  form.dataset.sent = "yes";
  form.setAttribute("aria-busy", "true");
  wait();
});

window.addEventListener("pageshow", () => {
  clearTimeout(waiting);
  $("#waiting").hidden = true;
  all("form").forEach((form) => {
    delete form.dataset.sent;
    form.removeAttribute("aria-busy");
  });
});

const live = async () => {
  const sign = $("#live");
  sign.dataset.found ||= sign.textContent;
  if (!document.hidden) {
    try {
      await Promise.all([listen(), follow()]);
      sign.textContent = sign.dataset.found;
      sign.classList.remove("lost");
    } catch {
      sign.textContent = sign.dataset.lost;
      sign.classList.add("lost");
    }
    sign.hidden = false;
  }
  setTimeout(live, $("#visit .progress") ? BUSY_EVERY : EVERY);
};

// -- The bill: steps, and the sum ------------------------------------------------------------------

const number = (text) => Number(String(text).replace(/\s/g, "").replace(",", ".")) || 0;
const money = new Intl.NumberFormat(document.documentElement.lang, { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const point = money.formatToParts(0.5).find((part) => part.type === "decimal").value;
const written = (value) => String(Math.round(value * 1e6) / 1e6).replace(".", point);
const rounded = (value) => Math.round((value + Number.EPSILON) * 100) / 100;

const sum = (form) => {
  let worth = 0;
  for (const row of all(".rows li", form)) {
    const quantity = number($("input", row) ? $("input", row).value : row.dataset.most);
    const total = number(row.dataset.price) * quantity;
    $(".sum", row).textContent = money.format(total);
    row.classList.toggle("none", !quantity);
    worth += total;
  }
  if ($("[name=discount]:checked", form)) worth -= rounded(worth * number(form.dataset.percent) / 100);
  const tip = $("[name=tip]:checked", form);
  const own = tip && tip.value === "own" && number($("#own").value);
  return worth + (tip ? own || rounded(Math.max(worth, 0) * number(tip.value) / 100) : 0);
};

const add = (form) => {
  const place = $("[data-sum]", form);
  place.textContent = `${money.format(sum(form))}\u00a0${form.dataset.currency}`;
  place.hidden = false;
};

// The next step up or down; the last one ends at what is on the bill, whatever is left of a step.
const step = (row, by) => {
  const input = $("input", row);
  const [size, most, value] = [number(row.dataset.step), number(row.dataset.most), number(input.value)];
  const steps = by > 0 ? Math.floor(value / size + 1e-9) + 1 : Math.ceil(value / size - 1e-9) - 1;
  input.value = written(Math.min(Math.max(steps * size, 0), most));
};

const form = $("#order");
if (form) {
  all("[hidden]:not([type=hidden])", form).forEach((part) => { part.hidden = false; });
  form.addEventListener("input", () => add(form));
  form.addEventListener("click", (event) => {
    const button = event.target.closest("button[type=button]");
    if (!button) return;
    if (button.dataset.by) step(button.closest("li"), number(button.dataset.by));
    else all(".rows input", form).forEach((input) => {
      input.value = button.dataset.set === "most" ? written(number(input.closest("li").dataset.most)) : "0";
    });
    add(form);
  });
  if ($("#own")) $("#own").addEventListener("input", () => { $("[name=tip][value=own]", form).checked = true; });
  add(form);
}

live();
