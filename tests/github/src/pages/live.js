// Follows the changes of the stand-in and shows the page as it is now.
const script = document.currentScript;
let version = Number(script.dataset.version);

// What is being typed is not to be lost.
const busy = () =>
  [...document.querySelectorAll("textarea, input[type=text]")].some(
    (field) => field === document.activeElement || field.value !== field.defaultValue,
  );

async function show() {
  const response = await fetch(location.href);
  if (!response.ok) return;
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  const open = new Set([...document.querySelectorAll("details[open]")].map((one) => one.id));
  const old = document.querySelector("main");
  const fresh = page.querySelector("main");
  for (const one of fresh.querySelectorAll("details[id]")) {
    if (one.id && open.has(one.id)) one.open = true;
  }
  if (fresh.innerHTML !== old.innerHTML) old.replaceWith(fresh);
  document.title = page.title;
}

async function follow() {
  for (;;) {
    try {
      const response = await fetch(`/_control/changes?after=${version}&timeout_ms=25000`);
      const changed = (await response.json()).version;
      if (changed !== version && !busy()) await show();
      version = changed;
      await new Promise((resolve) => setTimeout(resolve, 300));
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 2000));
    }
  }
}
follow();
