"use strict";
// Adds the reader's own time to each time in UTC, and keeps a page up to date that goes on: it is
// fetched again, and its live parts are taken over. A new phase loads the whole page, since then
// there is other evidence, or something else to decide.
(() => {
  const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", timeZoneName: "short" });
  const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });
  const utcDay = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric", timeZone: "UTC" });

  const addLocalTimes = (root) => {
    for (const time of root.querySelectorAll("time[datetime]")) {
      const at = new Date(time.dateTime);
      // Where the clock is at UTC there is nothing to add.
      if (Number.isNaN(at.getTime()) || at.getTimezoneOffset() === 0) continue;
      const date = day.format(at) === utcDay.format(at) ? "" : `${day.format(at)}, `;
      const local = root.createElement("span");
      local.className = "local";
      local.textContent = ` (${date}${clock.format(at)})`;
      time.append(local);
    }
  };
  addLocalTimes(document);

  const main = document.querySelector("main[data-live]");
  if (!main) return;
  const PAUSE = Number(main.dataset.live);
  // Each so many-th look fetches all of the page, with what a live look leaves out.
  const WHOLE = Number(main.dataset.whole || Infinity);
  const PATIENCE = 20_000; // milliseconds for an answer
  const RESTART = 2; // looks that may fail without a word: the app may be starting again
  const lost = document.getElementById("lost");
  let failed = 0;
  let looks = 0;

  const takeOver = (fresh) => {
    for (const part of document.querySelectorAll("[data-part]")) {
      const other = fresh.getElementById(part.id);
      // Untouched parts stay: focus, selection and screen readers are not disturbed.
      if (!other || other.outerHTML === part.outerHTML) continue;
      if (part.contains(document.activeElement)) continue;
      part.className = other.className;
      part.replaceChildren(...other.childNodes);
    }
    document.title = fresh.title;
  };

  const look = async () => {
    if (!document.hidden) {
      looks += 1;
      try {
        const signal = AbortSignal.timeout(PATIENCE);
        const headers = looks % WHOLE === 0 ? {} : { "X-Live": "1" };
        const answer = await fetch(location.href, { headers, signal });
        failed = answer.ok ? 0 : failed + 1;
        if (answer.ok) {
          const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
          const next = fresh.querySelector("main");
          if (next && next.dataset.phase !== main.dataset.phase) {
            location.replace(location.href.split("#")[0]);
            return;
          }
          addLocalTimes(fresh);
          takeOver(fresh);
        }
      } catch {
        failed += 1; // the next look will tell
      }
      if (lost) lost.hidden = failed <= RESTART;
    }
    setTimeout(look, PAUSE);
  };
  setTimeout(look, PAUSE);
})();
