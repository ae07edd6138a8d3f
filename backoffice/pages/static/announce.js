// SPDX-License-Identifier: Apache-2.0
// Announces new hits on every open page: a banner that stays until it is seen, a sound unless muted, the title.
"use strict";
(() => {
  const POLL_MS = 2000;
  const KEPT = 200; // ids remembered
  const NEW_HIT = [880, 1174], TAKEN_BACK = [440, 294]; // Hz
  const banner = document.getElementById("alarm");
  const text = document.getElementById("alarm-text");
  const look = document.getElementById("alarm-look");
  const button = document.getElementById("sound");
  const title = document.title;
  const held = recall(); // of this tab, so that going to another page neither repeats nor forgets an alert
  let news = null;
  let audio = null;
  let lost = false;

  function recall() {
    try {
      return { seen_us: null, told: [], opened: [], back: [], ...JSON.parse(sessionStorage.getItem("wayside-alarm")) };
    } catch {
      return { seen_us: null, told: [], opened: [], back: [] };
    }
  }

  function keep() {
    for (const list of ["told", "opened", "back"]) held[list] = held[list].slice(-KEPT);
    sessionStorage.setItem("wayside-alarm", JSON.stringify(held));
  }

  const unseen = () => news.alerts.filter((hit) => hit.received_us > held.seen_us && !held.opened.includes(hit.id));
  const withdrawn = () => held.back.filter((id) => !held.opened.includes(id));

  // --- sound ---------------------------------------------------------------------------------------

  const sounding = () => audio !== null && audio.state === "running";

  function tune(tones) {
    if (!sounding()) return;
    tones.forEach((frequency, i) => {
      const at = audio.currentTime + 0.24 * i;
      const tone = audio.createOscillator();
      const gain = audio.createGain();
      tone.frequency.value = frequency;
      gain.gain.setValueAtTime(0.18, at);
      gain.gain.exponentialRampToValueAtTime(0.001, at + 0.22);
      tone.connect(gain).connect(audio.destination);
      tone.start(at);
      tone.stop(at + 0.22);
    });
    document.documentElement.dataset.played = tones.join(" "); // what was heard last, for tests that have no ears
  }

  function say_sound() {
    const waits = audio !== null && !sounding();
    button.textContent = waits ? "Sound waits for a click" : audio ? "Sound on: mute" : "Sound muted: turn on";
    button.setAttribute("aria-pressed", String(sounding()));
  }

  function set_sound(on) {
    if (!on && audio) audio.close();
    audio = on ? new AudioContext() : null; // a browser lets it run only after a click on the page
    if (audio) audio.onstatechange = show;
    localStorage.setItem("wayside-sound", on ? "on" : "muted");
    if (news) show();
    say_sound();
  }

  // --- the banner ----------------------------------------------------------------------------------

  function words(fresh, back) {
    if (lost) return "No connection to the office: new hits are not announced here.";
    const said = [];
    if (fresh.length === 1) said.push(`New hit: ${fresh[0].words}. Verify before acting.`);
    if (fresh.length > 1) said.push(`${fresh.length} new hits, the newest: ${fresh[0].words}. Verify before acting.`);
    if (back.length) said.push(`Taken back: ${back.length === 1 ? "a hit" : `${back.length} hits`} announced before. Do not act on it.`);
    if (said.length && !sounding()) said.push("(The sound is muted.)");
    return said.join(" ");
  }

  function show() {
    const fresh = news ? unseen() : [];
    const back = withdrawn();
    const said = words(fresh, back);
    if (text.textContent !== said) text.textContent = said; // told once by a screen reader
    banner.hidden = !said;
    banner.className = `alarm${lost ? " lost-link" : fresh.length ? " fresh" : " back"}`;
    const target = fresh.length ? fresh[0].id : back[back.length - 1];
    look.hidden = lost || !target;
    if (target) look.href = look.dataset.base + target;
    const open = news && news.open ? `(${news.open}) ` : "";
    document.title = `${fresh.length ? "NEW HIT " : ""}${open}${title}`;
    mark(new Set(fresh.map((hit) => hit.id)));
    say_sound();
  }

  // On the list, the new rows say so in words.
  function mark(fresh) {
    for (const row of document.querySelectorAll("[data-hit]")) {
      const tag = row.querySelector(".tag.new");
      if (fresh.has(row.dataset.hit) && !tag) {
        const made = document.createElement("span");
        made.className = "tag new";
        made.textContent = "new";
        (row.querySelector(".when") ?? row).prepend(made);
      } else if (tag && !fresh.has(row.dataset.hit)) tag.remove();
    }
  }

  // --- news ----------------------------------------------------------------------------------------

  function take(reply) {
    news = reply;
    if (held.seen_us === null) held.seen_us = Math.max(0, ...news.alerts.map((hit) => hit.received_us));
    const fresh = unseen().filter((hit) => !held.told.includes(hit.id));
    const back = news.taken_back.filter((id) => held.told.includes(id) && !held.back.includes(id));
    held.told.push(...fresh.map((hit) => hit.id));
    held.back.push(...back);
    keep();
    show();
    if (back.length) tune(TAKEN_BACK);
    if (fresh.length) tune(NEW_HIT);
  }

  async function ask() {
    try {
      const reply = await fetch(banner.dataset.source, { redirect: "manual" });
      if (reply.type === "opaqueredirect" || reply.status === 403) return location.reload(); // logged out, or lapsed
      if (!reply.ok) throw new Error(String(reply.status));
      lost = false;
      take(await reply.json());
    } catch {
      lost = true;
      show();
    }
    setTimeout(ask, POLL_MS);
  }

  document.getElementById("alarm-seen").addEventListener("click", () => {
    held.seen_us = Math.max(held.seen_us ?? 0, ...(news ? news.alerts : []).map((hit) => hit.received_us));
    held.opened.push(...withdrawn());
    keep();
    show();
  });
  button.addEventListener("click", () => {
    if (audio && !sounding()) audio.resume();
    else set_sound(!audio);
    if (sounding()) tune(NEW_HIT);
  });
  for (const act of ["pointerdown", "keydown"])
    document.addEventListener(act, () => audio && !sounding() && audio.resume(), { capture: true });
  document.addEventListener("wayside:rows", () => news && show());
  const opened = document.querySelector("[data-shown-hit]");
  if (opened) held.opened.push(opened.dataset.shownHit);
  button.hidden = false;
  if (localStorage.getItem("wayside-sound") === "on") set_sound(true);
  say_sound();
  ask();
})();
