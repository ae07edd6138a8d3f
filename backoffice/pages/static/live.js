// SPDX-License-Identifier: Apache-2.0
// Refreshes the list of hits where scripts run; without them the page reloads itself. announce.js tells what is new.
"use strict";
(() => {
  const rows = document.getElementById("rows");

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

  async function refresh() {
    try {
      const reply = await fetch(rows.dataset.source, { redirect: "manual" });
      if (reply.type === "opaqueredirect") return location.reload();
      if (!reply.ok) throw new Error(String(reply.status));
      show(await reply.text());
      rows.classList.remove("lost");
      document.dispatchEvent(new Event("wayside:rows"));
    } catch (error) {
      rows.classList.add("lost");
    }
    setTimeout(refresh, 1500);
  }

  setTimeout(refresh, 1500);
})();
