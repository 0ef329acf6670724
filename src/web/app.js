// What scripts add to pages that work without them: the queue follows what happens, keys move
// through it, and the browser may tell. Nothing here decides: every decision is a form's POST.
"use strict";
(() => {
  const main = document.querySelector("main");
  const queue = () => document.querySelector("[data-queue]");
  const rows = () => [...document.querySelectorAll("[data-row]")];
  const pendingIds = () => rows().filter((row) => row.dataset.state === "pending").map((row) => row.dataset.row);
  let at = null;

  // The tab says how many wait.
  function count() {
    const list = queue();
    if (!list) return;
    const n = Number(list.dataset.pending);
    document.title = (n ? `(${list.dataset.pendingText}) ` : "") + list.dataset.title;
    const icon = document.querySelector('link[rel="icon"]');
    const dot = n ? '<circle cx="24" cy="8" r="8" fill="#c8321f"/>' : "";
    const mark = '<path d="M9 16.5l5 5 9-11" fill="none" stroke="#fff" stroke-width="3.4" stroke-linecap="round" stroke-linejoin="round"/>';
    const svg = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="8" fill="#2f5d50"/>${mark}${dot}</svg>`;
    if (icon) icon.href = `data:image/svg+xml,${encodeURIComponent(svg)}`;
  }

  // Keys.
  function mark(row) {
    rows().forEach((other) => other.classList.toggle("at", other === row));
    at = row ? row.dataset.row : null;
    if (row) {
      row.querySelector("a").focus({ preventScroll: true });
      row.scrollIntoView({ block: "nearest" });
    }
  }
  function move(by) {
    const all = rows();
    if (!all.length) return;
    const now = all.findIndex((row) => row.dataset.row === at);
    mark(all[now < 0 ? (by > 0 ? 0 : all.length - 1) : Math.min(Math.max(now + by, 0), all.length - 1)]);
  }
  const current = () => rows().find((row) => row.dataset.row === at);
  function help() {
    const box = document.querySelector("dialog");
    if (box) box.open ? box.close() : box.showModal();
  }
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select")) return;
    if (event.key === "?") return void (event.preventDefault(), help());
    const row = current();
    const open = (part) => row && location.assign(`/approvals/${row.dataset.row}${part}`);
    const here = (selector) => document.querySelector(selector)?.focus();
    const actions = queue()
      ? {
          j: () => move(1),
          k: () => move(-1),
          a: () => open("#decide"),
          r: () => open("#reason"),
          x: () => row?.querySelector('input[type="checkbox"]')?.click(),
        }
      : { a: () => here('.decide button[value="approve"], .decide a.primary'), r: () => here("#reason") };
    const action = actions[event.key];
    if (action) {
      event.preventDefault();
      action();
    }
  });
  if (location.hash === "#reason") document.querySelector("#reason")?.focus();

  // Selecting.
  function chosen() {
    const n = document.querySelectorAll('[data-row] input[type="checkbox"]:checked').length;
    document.querySelectorAll("[data-chosen]").forEach((place) => (place.textContent = n ? `${n} selected` : ""));
  }
  document.addEventListener("change", chosen);

  // Live.
  async function refresh() {
    const answer = await fetch(location.href, { headers: { accept: "text/html" } });
    if (!answer.ok || answer.redirected) return void location.reload();
    const next = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("main");
    if (!next) return;
    const before = new Set(pendingIds());
    const checked = new Set([...document.querySelectorAll('[data-row] input:checked')].map((box) => box.value));
    const typed = document.querySelector("#bulk-reason")?.value ?? "";
    const focused = document.activeElement?.id;
    main.replaceChildren(...next.childNodes);
    document.querySelectorAll('[data-row] input[type="checkbox"]').forEach((box) => (box.checked = checked.has(box.value)));
    const reason = document.querySelector("#bulk-reason");
    if (reason) reason.value = typed;
    if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
    else if (at) mark(current() ?? null);
    arm();
    chosen();
    count();
    tell(pendingIds().filter((id) => !before.has(id)));
  }
  function follow() {
    const events = new EventSource("/api/v1/events");
    let due = null;
    const soon = () => {
      due ??= setTimeout(() => {
        due = null;
        refresh().catch(() => {});
      }, 150);
    };
    events.addEventListener("approval", soon);
    // More changed than is told one by one: the list is read anew.
    events.addEventListener("missed", soon);
    // A connection that was lost may have missed something.
    let lost = false;
    events.addEventListener("error", () => (lost = true));
    events.addEventListener("open", () => {
      if (lost) refresh().catch(() => {});
      lost = false;
    });
  }

  // Notifications of the browser, where somebody asks for them.
  const wanted = "placet-notify";
  function tell(ids) {
    if (!ids.length || !document.hidden || localStorage.getItem(wanted) !== "yes" || Notification.permission !== "granted") return;
    const text = ids.length === 1 ? "A call waits for a decision" : `${ids.length} calls wait for a decision`;
    const note = new Notification("Placet", { body: text, tag: "placet" });
    note.onclick = () => window.focus();
  }
  function arm() {
    const button = document.querySelector("[data-notify]");
    if (!button || !("Notification" in window) || Notification.permission === "denied") return;
    const on = () => localStorage.getItem(wanted) === "yes" && Notification.permission === "granted";
    const word = () => (button.textContent = on() ? "Stop telling me in this browser" : "Tell me in this browser");
    button.hidden = false;
    word();
    button.onclick = async () => {
      if (on()) localStorage.removeItem(wanted);
      else if ((await Notification.requestPermission()) === "granted") localStorage.setItem(wanted, "yes");
      word();
    };
  }

  // One tap for a reason.
  document.addEventListener("click", (event) => {
    const preset = event.target.closest("[data-preset]");
    const field = document.querySelector("#reason");
    if (preset && field) {
      field.value = preset.textContent;
      // A phone's keyboard would come up over the buttons.
      if (event.pointerType !== "touch") field.focus();
    }
  });
  document.querySelectorAll("[data-presets]").forEach((list) => (list.hidden = false));

  // A passkey: made under Settings, and asked for where a rule wants one to approve.
  async function ceremony(form) {
    const [maker, api] = ["make" in form.dataset, window.PublicKeyCredential];
    if (!api || !api.parseRequestOptionsFromJSON) throw new Error("This browser has no passkeys for this page.");
    const answer = await fetch(form.dataset.passkey, { method: "POST", body: new URLSearchParams(new FormData(form)) });
    const options = await answer.json();
    if (!answer.ok) throw new Error(options.detail);
    const credential = maker
      ? await navigator.credentials.create({ publicKey: api.parseCreationOptionsFromJSON(options) })
      : await navigator.credentials.get({ publicKey: api.parseRequestOptionsFromJSON(options) });
    form.elements.passkey.value = JSON.stringify(credential);
  }
  document.querySelectorAll("form[data-passkey]").forEach((form) => {
    // Who comes back to the page is asked again.
    window.addEventListener("pageshow", () => (form.elements.passkey.value = ""));
    form.addEventListener("submit", (event) => {
      const button = event.submitter;
      if (form.elements.passkey.value || button?.value === "reject") return;
      event.preventDefault();
      const wrong = form.querySelector("[data-wrong]");
      wrong.hidden = true;
      ceremony(form).then(
        () => form.requestSubmit(button),
        (error) => {
          wrong.textContent = error.name === "NotAllowedError" ? "No passkey was given; nothing was decided." : error.message;
          wrong.hidden = false;
        }
      );
    });
  });

  // What is on the page, taken elsewhere.
  document.querySelectorAll("[data-copy]").forEach((button) => {
    button.hidden = !navigator.clipboard;
    button.onclick = () =>
      navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent).then(
        () => (button.textContent = "Copied"),
        () => (button.textContent = "Not copied: the browser refused")
      );
  });

  count();
  if (queue()) {
    arm();
    chosen();
    follow();
  }
})();
