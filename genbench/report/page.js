"use strict";
(() => {
  const missing = (cell) => cell.dataset.value === "";

  // Rows by one column: numbers by their raw values, words as people count; missing ones last.
  const sort = (table, column, direction) => {
    const body = table.tBodies[0];
    const sign = direction === "ascending" ? 1 : -1;
    const numeric = table.tHead.rows[0].cells[column].classList.contains("number");
    const compare = (a, b) => {
      const x = a.cells[column], y = b.cells[column];
      if (numeric) {
        if (missing(x) || missing(y)) return missing(x) - missing(y);
        return sign * (Number(x.dataset.value) - Number(y.dataset.value));
      }
      return sign * x.textContent.localeCompare(y.textContent, "en", { numeric: true });
    };
    body.append(...[...body.rows].sort(compare));
  };

  for (const table of document.querySelectorAll("table.data")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const up = head.getAttribute("aria-sort") !== "ascending";
        const direction = up ? "ascending" : "descending";
        for (const other of heads) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", direction);
        sort(table, column, direction);
      });
    });
  }

  for (const tools of document.querySelectorAll(".tools")) {
    const rows = [...document.getElementById(tools.dataset.for).tBodies[0].rows];
    const search = tools.querySelector("input[type=search]");
    const boxes = [...tools.querySelectorAll("input[type=checkbox]")];
    const count = tools.querySelector(".count");
    const update = () => {
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      const kinds = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
      let shown = 0;
      for (const row of rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = !kinds.has(row.dataset.group) || !words.every((w) => text.includes(w));
        shown += !row.hidden;
      }
      count.textContent = `${shown} of ${rows.length} rows`;
    };
    tools.addEventListener("input", update);
    tools.hidden = false;
    update();
  }

  const viewer = document.getElementById("viewer");
  const large = viewer.querySelector("img");
  const shots = [...document.querySelectorAll("img.shot")];
  const buttons = shots.map((shot, i) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "enlarge";
    button.setAttribute("aria-haspopup", "dialog");
    shot.replaceWith(button);
    button.append(shot);
    button.addEventListener("click", () => {
      show(i);
      viewer.showModal();
    });
    return button;
  });
  let at = 0;
  const show = (i) => {
    at = (i + shots.length) % shots.length;
    large.src = shots[at].src;
    large.alt = shots[at].alt;
    large.classList.toggle("wide", shots[at].classList.contains("wide"));
    document.getElementById("viewer-text").textContent = `${shots[at].alt} (${at + 1} of ${shots.length})`;
  };
  viewer.addEventListener("close", () => buttons[at].focus());
  viewer.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step) {
      event.preventDefault();
      show(at + step);
    }
  });
  viewer.addEventListener("click", (event) => {
    const go = event.target === viewer ? "0" : event.target.dataset.go;
    if (go === "0") viewer.close();
    else if (go) show(at + Number(go));
  });
})();
