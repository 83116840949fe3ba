// Keeps the page fresh: asks for it every two seconds and swaps the parts that changed. Without it, reload by hand.
const EVERY_MS = 2000;
const button = document.querySelector("#pause");
const said = document.querySelector("#said");
let paused = false;

button.hidden = false;
button.addEventListener("click", () => {
  paused = !paused;
  button.setAttribute("aria-pressed", String(paused));
  say(paused ? "paused" : "live");
});

function say(word) {
  if (said.textContent !== word) said.textContent = word; // a repeated word would be read aloud again
}

async function refresh() {
  const answer = await fetch(location.href, { headers: { accept: "text/html" }, signal: AbortSignal.timeout(5000) });
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  const now = document.querySelector("main");
  const next = fresh.querySelector("main");
  if (next && now.innerHTML !== next.innerHTML && !now.contains(document.activeElement)) {
    now.replaceWith(document.adoptNode(next));
  }
}

async function keepFresh() {
  for (;;) {
    await new Promise((wake) => setTimeout(wake, EVERY_MS));
    if (paused || document.hidden) continue;
    try {
      await refresh();
      say("live");
    } catch {
      say("no answer; trying again");
    }
  }
}

keepFresh();
