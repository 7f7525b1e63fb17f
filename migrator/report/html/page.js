
"use strict";
(() => {
  // Tables with a search box: every word typed must be in the row.
  for (const box of document.querySelectorAll(".searchable")) {
    const input = box.querySelector("input");
    const found = box.querySelector("output");
    const rows = [...box.querySelectorAll("tbody tr")].map((row) => [row, row.textContent.toLowerCase()]);
    const search = () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      let count = 0;
      for (const [row, text] of rows) {
        const fits = words.every((word) => text.includes(word));
        row.hidden = !fits;
        count += fits;
      }
      found.value = words.length ? `${count} found` : "";
    };
    input.addEventListener("input", search);
    input.addEventListener("keydown", (event) => {
      if (event.key === "Escape") { input.value = ""; search(); }
    });
    box.querySelector(".search").hidden = false;
  }
  // Charts say the value under the pointer, and by arrow keys.
  for (const chart of document.querySelectorAll(".chart")) {
    const slices = [...chart.querySelectorAll(".slice")];
    const readout = chart.querySelector(".readout");
    let at = -1;
    const say = (place) => {
      if (slices[at]) slices[at].classList.remove("on");
      at = place;
      if (slices[at]) slices[at].classList.add("on");
      readout.value = slices[at] ? slices[at].dataset.say : "\u00a0";
    };
    slices.forEach((slice, place) => slice.addEventListener("pointerenter", () => say(place)));
    chart.addEventListener("pointerleave", () => say(-1));
    chart.querySelector("svg").addEventListener("keydown", (event) => {
      const steps = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: slices.length - 1, Escape: -1 };
      if (!(event.key in steps)) return;
      event.preventDefault();
      const place = steps[event.key];
      say(event.key === "Escape" ? -1 : Math.max(0, Math.min(place, slices.length - 1)));
    });
    chart.querySelector("svg").addEventListener("blur", () => say(-1));
  }
})();
