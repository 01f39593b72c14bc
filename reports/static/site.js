/* Draws figures when they come into view, sorts and filters tables, opens what a link points to. No request is made
   but for the script beside the pages. Without this script every page still reads: numbers, tables and texts stand. */
(function () {
  "use strict";
  var root = document.documentElement;
  var source = document.currentScript && document.currentScript.dataset.plotly;
  var loading = null;
  var all = function (selector, within) { return Array.prototype.slice.call((within || document).querySelectorAll(selector)); };

  function stored(value) {
    try {
      if (value === undefined) { return localStorage.getItem("harness-theme"); }
      localStorage.setItem("harness-theme", value);
    } catch (error) { /* pages of file:// may have no storage */ }
    return null;
  }

  function paint(name) {
    if (name === "auto") { root.removeAttribute("data-theme"); } else { root.setAttribute("data-theme", name); }
    all("[data-theme-button]").forEach(function (button) {
      button.hidden = false;
      button.querySelector("span").textContent = name;
    });
    recolour();
  }

  function css(name) { return getComputedStyle(root).getPropertyValue(name).trim(); }

  function colours(layout) {
    var changes = { "font.color": css("--ink"), "font.family": css("--sans") };
    Object.keys(layout).forEach(function (key) {
      if (/^[xy]axis\d*$/.test(key)) {
        changes[key + ".gridcolor"] = css("--grid");
        changes[key + ".linecolor"] = css("--line");
        changes[key + ".tickcolor"] = css("--line");
      }
    });
    return changes;
  }

  function recolour() {
    all(".plot.drawn").forEach(function (plot) { window.Plotly.relayout(plot, colours(plot.layout)); });
  }

  function plotly() {
    if (window.Plotly) { return Promise.resolve(); }
    if (!loading) {
      loading = new Promise(function (resolve, reject) {
        var script = document.createElement("script");
        script.src = source;
        script.onload = resolve;
        script.onerror = reject;
        document.head.appendChild(script);
      });
    }
    return loading;
  }

  function set(target, path, value) {
    var keys = path.split(".");
    var last = keys.pop();
    keys.forEach(function (key) { target = target[key] = target[key] || {}; });
    target[last] = value;
  }

  function draw(plot) {
    if (plot.dataset.state) { return Promise.resolve(); }
    plot.dataset.state = "drawing";
    return plotly().then(function () {
      var spec = JSON.parse(document.getElementById(plot.dataset.figure).textContent);
      var changes = colours(spec.layout);
      Object.keys(changes).forEach(function (path) { set(spec.layout, path, changes[path]); });
      plot.textContent = "";
      return window.Plotly.newPlot(plot, spec.data, spec.layout, { displayModeBar: false, responsive: true, scrollZoom: false, doubleClick: "reset" });
    }).then(function () {
      plot.classList.add("drawn");
      plot.dataset.state = "drawn";
      plot.on("plotly_click", function (event) {
        var custom = event.points[0].customdata;
        var page = plot.closest(".page");
        var claim = custom && document.getElementById((page ? page.id + "--" : "") + "claim-" + custom[0]);
        if (claim) { location.hash = claim.id; }
      });
    }).catch(function () {
      plot.dataset.state = "failed";
      if (!plot.textContent) { plot.textContent = plot.getAttribute("aria-label"); }
    });
  }

  function watch() {
    var plots = all(".plot");
    if (!("IntersectionObserver" in window)) { plots.forEach(draw); return; }
    var observer = new IntersectionObserver(function (entries) {
      entries.forEach(function (entry) {
        if (entry.isIntersecting) { observer.unobserve(entry.target); draw(entry.target); }
      });
    }, { rootMargin: "300px" });
    plots.forEach(function (plot) { observer.observe(plot); });
  }

  function sortable(table) {
    all("thead th", table).forEach(function (head, column) {
      var button = document.createElement("button");
      button.type = "button";
      while (head.firstChild) { button.appendChild(head.firstChild); }
      head.appendChild(button);
      button.addEventListener("click", function () {
        var up = head.getAttribute("aria-sort") !== "ascending";
        all("thead th", table).forEach(function (other) { other.removeAttribute("aria-sort"); });
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        var body = table.tBodies[0];
        var value = function (row) {
          var cell = row.cells[column];
          var text = cell.dataset.sort || cell.textContent.trim().replace(/\u2212/g, "-").replace(/\u202f/g, "");
          return { text: text, number: text === "" ? NaN : Number(text) };
        };
        Array.prototype.slice.call(body.rows).map(function (row) { return [value(row), row]; }).sort(function (one, two) {
          var a = one[0], b = two[0];
          var order = isNaN(a.number) || isNaN(b.number) ? a.text.localeCompare(b.text, undefined, { numeric: true }) : a.number - b.number;
          return up ? order : -order;
        }).forEach(function (pair) { body.appendChild(pair[1]); });
      });
    });
  }

  function filter(bar) {
    var list = document.getElementById(bar.dataset.filter);
    var rows = list.matches("table") ? Array.prototype.slice.call(list.tBodies[0].rows) : Array.prototype.slice.call(list.children);
    var text = bar.querySelector("[data-filter-text]");
    var word = bar.querySelector("[data-filter-word]");
    var told = bar.querySelector("output");
    // Of a claim its line, not what it opens to.
    var said = rows.map(function (row) {
      return ((row.querySelector(":scope > summary") || row).textContent + " " + row.id).toLowerCase();
    });
    bar.hidden = false;
    function apply() {
      var wanted = text.value.toLowerCase().split(/\s+/).filter(Boolean);
      var shown = 0;
      rows.forEach(function (row, place) {
        var fits = wanted.every(function (one) { return said[place].indexOf(one) >= 0; }) && (!word || !word.value || row.dataset.word === word.value);
        row.hidden = !fits;
        shown += fits ? 1 : 0;
      });
      told.textContent = shown === rows.length ? "" : shown + " of " + rows.length;
    }
    text.addEventListener("input", apply);
    if (word) { word.addEventListener("change", apply); }
  }

  function reveal() {
    var id = decodeURIComponent(location.hash.slice(1));
    var target = id && document.getElementById(id);
    if (!target) { return; }
    for (var node = target; node; node = node.parentElement) {
      if (node.tagName === "DETAILS") { node.open = true; }
    }
    target.hidden = false;
    target.scrollIntoView();
  }

  function copying(button) {
    if (!navigator.clipboard) { return; }
    button.hidden = false;
    button.addEventListener("click", function () {
      navigator.clipboard.writeText(button.parentElement.querySelector("code").textContent).then(function () {
        button.textContent = "Copied";
        setTimeout(function () { button.textContent = "Copy"; }, 1500);
      }, function () { button.textContent = "Select and copy"; });
    });
  }

  var themes = ["auto", "light", "dark"];
  var initial = stored();
  if (themes.indexOf(initial) < 0) { initial = "auto"; }
  if (initial !== "auto") { root.setAttribute("data-theme", initial); }

  function start() {
    paint(initial);
    all("[data-theme-button]").forEach(function (button) {
      button.addEventListener("click", function () {
        initial = themes[(themes.indexOf(initial) + 1) % 3];
        stored(initial);
        paint(initial);
      });
    });
    all("table.sortable").forEach(sortable);
    all("[data-filter]").forEach(filter);
    all("[data-copy]").forEach(copying);
    watch();
    reveal();
    window.addEventListener("hashchange", reveal);
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour);
    window.matchMedia("print").addEventListener("change", recolour);
    window.addEventListener("beforeprint", function () { all(".plot").forEach(draw); });
  }
  if (document.readyState === "loading") { document.addEventListener("DOMContentLoaded", start); } else { start(); }
}());
