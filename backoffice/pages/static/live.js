// SPDX-License-Identifier: Apache-2.0
// Refreshes the hits where scripts run; without them the page reloads itself.
"use strict";
(() => {
  const rows = document.getElementById("rows");
  const button = document.getElementById("sound");
  const title = document.title;
  let audio = null;
  let newest = newest_alert();

  function alerts() {
    return [...rows.querySelectorAll("[data-alert]")];
  }

  // By the time of arrival, not by id: a row that moves in from the next page is no new alert.
  function newest_alert() {
    return Math.max(0, ...alerts().map((row) => Number(row.dataset.alert)));
  }

  function signature(node) {
    return [...node.querySelectorAll("[data-hit]")].map((row) => row.dataset.hit + row.dataset.state).join();
  }

  // Only ages change most of the time: rewriting the rows would fetch every picture again.
  function show(text) {
    const fresh = document.createElement("template");
    fresh.innerHTML = text;
    if (signature(fresh.content) !== signature(rows)) {
      const focused = document.activeElement.closest("[data-hit]");
      rows.replaceChildren(fresh.content);
      if (focused) rows.querySelector(`[data-hit="${focused.dataset.hit}"] a`)?.focus();
      return;
    }
    rows.querySelector(".count").replaceWith(fresh.content.querySelector(".count"));
    const held = rows.querySelectorAll("[data-hit]");
    fresh.content.querySelectorAll("[data-hit]").forEach((row, at) => {
      held[at].className = row.className;
      held[at].querySelector(".age").textContent = row.querySelector(".age").textContent;
    });
  }

  function chime() {
    if (!audio) return;
    [0, 0.22].forEach((at, i) => {
      const tone = audio.createOscillator();
      const gain = audio.createGain();
      tone.frequency.value = i ? 1174 : 880;
      gain.gain.setValueAtTime(0.18, audio.currentTime + at);
      gain.gain.exponentialRampToValueAtTime(0.001, audio.currentTime + at + 0.2);
      tone.connect(gain).connect(audio.destination);
      tone.start(audio.currentTime + at);
      tone.stop(audio.currentTime + at + 0.2);
    });
  }

  function show_count() {
    const count = alerts().length;
    document.title = count ? `(${count}) ${title}` : title;
  }

  async function refresh() {
    try {
      const reply = await fetch(rows.dataset.source, { redirect: "manual" });
      if (reply.type === "opaqueredirect") return location.reload();
      if (!reply.ok) throw new Error(String(reply.status));
      show(await reply.text());
      rows.classList.remove("lost");
      if (newest_alert() > newest) chime();
      newest = Math.max(newest, newest_alert());
      show_count();
    } catch (error) {
      rows.classList.add("lost");
    }
    setTimeout(refresh, 1500);
  }

  button.hidden = false;
  button.addEventListener("click", () => {
    audio = audio ? (audio.close(), null) : new AudioContext();
    button.textContent = audio ? "Sound on" : "Sound off";
    button.setAttribute("aria-pressed", String(Boolean(audio)));
    chime();
  });
  show_count();
  setTimeout(refresh, 1500);
})();
