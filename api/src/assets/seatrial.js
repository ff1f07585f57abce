// Keeps a page current: every event of its stream fetches the page again and swaps the parts that
// changed. Without this script the pages work the same and load themselves again now and then.
'use strict';
(() => {
  const body = document.body;

  // Selects and boxes of a filter apply at once.
  document.addEventListener('change', (event) => {
    if (event.target.matches('[data-submit]')) event.target.form.requestSubmit();
  });

  // Ages and running times.
  const words = (s) => s < 60 ? `${s} s` : s < 3600 ? `${Math.floor(s / 60)} min ${s % 60} s`
    : `${Math.floor(s / 3600)} h ${Math.floor(s % 3600 / 60)} min`;
  const ago = (s) => s < 5 ? 'just now' : s < 60 ? `${s} s ago` : s < 3600 ? `${Math.floor(s / 60)} min ago`
    : s < 172800 ? `${Math.floor(s / 3600)} h ago` : `${Math.floor(s / 86400)} d ago`;
  const tick = () => {
    for (const time of document.querySelectorAll('time.since, time.age')) {
      const seconds = Math.max(0, Math.floor((Date.now() - Date.parse(time.dateTime)) / 1000));
      const text = time.classList.contains('since') ? words(seconds) : ago(seconds);
      if (time.textContent !== text) time.textContent = text;
    }
  };
  setInterval(tick, 1000);

  // Live parts.
  const swap = (fresh) => {
    for (const part of document.querySelectorAll('[data-part]')) {
      const next = fresh.getElementById(part.id);
      if (!next || part.contains(document.activeElement) && document.activeElement.matches('input, select')) continue;
      for (const details of next.querySelectorAll('details[id]')) {
        const shown = document.getElementById(details.id);
        if (shown) details.open = shown.open;
      }
      if (part.innerHTML === next.innerHTML) continue;
      const focus = part.contains(document.activeElement) ? document.activeElement.id : '';
      part.replaceChildren(...next.childNodes);
      if (focus) document.getElementById(focus)?.focus();
    }
    tick();
  };
  let loading = false, again = false;
  const refresh = async () => {
    if (loading) { again = true; return; }
    loading = true;
    try {
      const answer = await fetch(location.href, { headers: { 'x-seatrial-live': '1' }, redirect: 'manual' });
      if (answer.type === 'opaqueredirect') { location.reload(); return; }
      if (answer.ok) swap(new DOMParser().parseFromString(await answer.text(), 'text/html'));
    } catch { /* the stream says when the server is back */ } finally {
      setTimeout(() => { loading = false; if (again) { again = false; refresh(); } }, 300);
    }
  };
  if (body.dataset.events) {
    const mark = document.getElementById('live-mark');
    const events = new EventSource(body.dataset.events);
    let lost = false;
    events.onopen = () => { if (mark) mark.hidden = false; if (lost) refresh(); lost = false; };
    events.onerror = () => { if (mark) mark.hidden = true; lost = true; };
    events.onmessage = refresh;
  }

  // The log follows.
  const logs = document.getElementById('logs'), follow = document.getElementById('follow');
  if (logs && follow) {
    const log = document.getElementById('log');
    const KEPT = 20000;
    let stream = null, waiting = [];
    const atEnd = () => log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    const flush = () => {
      if (!waiting.length) return;
      const stick = atEnd();
      log.append(waiting.join(''));
      waiting = [];
      log.normalize();
      const text = log.textContent;
      if (text.length > 2000000) log.textContent = text.split('\n').slice(-KEPT).join('\n');
      if (stick) log.scrollTop = log.scrollHeight;
    };
    setInterval(flush, 150);
    const stop = (why) => {
      stream?.close(); stream = null;
      follow.setAttribute('aria-pressed', 'false'); follow.textContent = 'Follow';
      if (why) waiting.push(`— ${why}\n`);
    };
    follow.hidden = false;
    follow.addEventListener('click', () => {
      if (stream) { stop(); return; }
      log.hidden = false; log.textContent = ''; waiting = [];
      follow.setAttribute('aria-pressed', 'true'); follow.textContent = 'Following';
      stream = new EventSource(logs.dataset.follow);
      stream.onmessage = (event) => {
        const { line, end } = JSON.parse(event.data);
        if (end !== undefined) stop(end); else waiting.push(line + '\n');
      };
      stream.onerror = () => stop('The stream broke. Follow again to go on.');
    });
    log.scrollTop = log.scrollHeight;
  }
})();
