"use strict";
// Fetches the page again and takes over its live parts. A new phase loads the whole page, since
// then there is other evidence, or something else to decide.
(() => {
  const main = document.querySelector("main[data-live]");
  if (!main) return;
  const PAUSE = Number(main.dataset.live);
  const PATIENCE = 20_000; // milliseconds for an answer
  const RESTART = 2; // looks that may fail without a word: the app may be starting again
  const lost = document.getElementById("lost");
  let failed = 0;

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
      try {
        const signal = AbortSignal.timeout(PATIENCE);
        const answer = await fetch(location.href, { headers: { "X-Live": "1" }, signal });
        failed = answer.ok ? 0 : failed + 1;
        if (answer.ok) {
          const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
          const next = fresh.querySelector("main");
          if (next && next.dataset.phase !== main.dataset.phase) {
            location.replace(location.href.split("#")[0]);
            return;
          }
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
